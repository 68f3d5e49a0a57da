"""Provider of a compiled model."""

NpuModelInfo = provider(
    doc = "A model compiled for an NPU, by `npu_model`.",
    fields = {
        "auto_batch_size": "bool: the compiler chooses the batch size; which it is say the ENF and the report.",
        "batch_size": "int: samples in one inference; 0 where the compiler chooses.",
        "compile_options": "list of strings: the arguments that the compiler got, without files.",
        "compatibility": "string: the release of the vendor's SDK whose operators the NPU may take, e.g. `0.6.3`, or `latest`.",
        "data": "list of Files: what the source refers to, in or below its folder.",
        "dot_graph": "File or None: the graph of the compiled model in Graphviz dot.",
        "enf": "File: the executable (ENF).",
        "label": "Label: the target that compiles the model.",
        "model_name": "string: the model's name in a bundle, which is the target's without a trailing `_enf`.",
        "report": "File or None: the compiler's report in JSON.",
        "selection": "list of strings: of `compile_options` those that say what of the source is compiled: shapes of open dimensions, cuts.",
        "source": "File: the model file that was compiled (.onnx or .tflite).",
        "target_npu": "string: the NPU it was compiled for, e.g. `warboy-2pe`.",
        "vendor_command": "string: the vendor's command that compiled it, e.g. `furiosa-compiler`; empty where the ENF is of this repository's format.",
    },
)
