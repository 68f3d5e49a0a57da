"""Provider of an NPU compiler."""

NpuCompilerInfo = provider(
    doc = "An NPU compiler and what it can do; the field `npu_compiler` of a resolved toolchain.",
    fields = {
        "compiler": "struct: the compiler, for the machine that builds: `executable`, a File, `tools`, what an action that runs it has as such, and `runfiles`.",
        "env": "dict: environment variables of the compiler.",
        "ignores": "list of strings: attributes of `npu_model` that the vendor's compiler has no option for and that are left out.",
        "onnx_compiler": "struct, as `compiler`: what compiles ONNX models.",
        "supports_data": "bool: `compile` and `tune` take `--hermetic` and `--data [LOCATION=]FILE`.",
        "supports_dot_graph": "bool: `compile` takes `--dot-graph FILE`.",
        "supports_pages": "bool: `enf report FILE REPORT` writes pages and a trace of an ENF and its report.",
        "supports_report": "bool: `compile` takes `--report-json FILE`.",
        "supports_tune": "bool: `tune` predicts what a model does at many batch sizes.",
        "supports_verify": "bool: `enf verify FILE --stamp STAMP` checks an ENF.",
        "target_npus": "list of strings: the NPUs it compiles for.",
        "verifier": "struct, as `compiler`: what runs `enf verify FILE --stamp STAMP`; the compiler where it is no other.",
        "vendor_command": "string: which of the vendor's commands it is, e.g. `furiosa-compiler`; empty for a compiler with this repository's command line.",
        "worker_protocol": "string: `json` or `proto` where it runs as a persistent worker, else empty.",
    },
)

def compiler_of(toolchain, source):
    """The program that compiles a model file.

    Args:
      toolchain: NpuCompilerInfo
      source: File, the model file

    Returns:
      the struct of it
    """
    return toolchain.onnx_compiler if source.extension == "onnx" else toolchain.compiler
