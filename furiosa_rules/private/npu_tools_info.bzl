"""Provider of the tools beside the compiler."""

NpuToolsInfo = provider(
    doc = """\
The tools beside the compiler; the field `npu_tools` of a resolved toolchain. Each is a struct of `executable`, a File, `tools`, what an action that runs it
has as such, and `runfiles`.""",
    fields = {
        "accuracy": "struct: measures a model on samples.",
        "budget": "struct: compares a report with a budget.",
        "bundler": "struct: packs, checks and unpacks bundles, and writes layers.",
        "compare": "struct: compares a model with its reference runtime.",
        "lint": "struct: reports what runs on the host.",
        "quantizer": "struct: makes an int8 model of a float one.",
        "reproduce": "struct: compiles again in other surroundings.",
    },
)
