"""The rule that compares a compiled model with its reference runtime."""

load(":model_data.bzl", "data_lines")
load(":npu_model_info.bzl", "NpuModelInfo")
load(":samples.bzl", "PREPROCESSING_DOC", "SAMPLE_FILES")
load(":test_launcher.bzl", "TEST_ATTRS", "test_launcher")
load(":vendor_command.bzl", "refuse_vendor_enf")

_DOC = """\
Runs a compiled model on the NPU simulator and each of its layers on the reference runtime of its format (onnxruntime, LiteRT), from the values
that the simulator has before it, and fails where an element is wrong: neither the reference's, nor nearest to the real number where the
reference computes in floating point, nor what the reference makes without its optimiser. The log names the first layer that is wrong.

What is run is the ENF of `model`, not one that is compiled for the test. `compare.json` and `compare.html` are among the test's outputs
(`bazel-testlogs/*/test.outputs`).
"""

_ATTRS = TEST_ATTRS | {
    "inputs": attr.label_list(
        doc = "Files of samples, one inference each: `.npy` for a model of one input, `.npz` with an array for each " +
              "input's name, one or a batch; or images, with `preprocessing`. Left out: three inferences on random tensors of the inputs' quantised range.",
        allow_files = SAMPLE_FILES,
    ),
    "max_lsb": attr.int(
        doc = "How far a wrong element of any compared tensor may be off, in units of the last place.",
    ),
    "model": attr.label(
        doc = "The `npu_model` target.",
        mandatory = True,
        providers = [NpuModelInfo],
    ),
    "preprocessing": attr.label(
        doc = PREPROCESSING_DOC,
        allow_single_file = [".json"],
    ),
    "reference": attr.label(
        doc = "The model file to compare with, byte for byte the one that was compiled; left out: the `src` of `model`.",
        allow_single_file = [".onnx", ".tflite"],
    ),
    "seed": attr.int(
        doc = "Of the random inputs.",
    ),
}

_TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

# What the shell of the test knows: where its outputs go.
_OPTIONS = '''\
  ${outputs:+--json "$outputs/compare.json" --html "$outputs/compare.html"} \\
  ${XML_OUTPUT_FILE:+--junit-xml "$XML_OUTPUT_FILE"} \\
'''

def _check(ctx):
    for name in ("max_lsb", "seed"):
        if getattr(ctx.attr, name) < 0:
            fail("%s is %d, but must not be negative" % (name, getattr(ctx.attr, name)))
    if ctx.attr.seed and ctx.files.inputs:
        fail("seed and inputs exclude each other: a seed is for random inputs")
    if ctx.files.preprocessing and not ctx.files.inputs:
        fail("preprocessing is for inputs that are images, and there are no inputs")

def _impl(ctx):
    _check(ctx)
    info = ctx.attr.model[NpuModelInfo]
    refuse_vendor_enf("model", info, "npu_model_test")
    reference = ctx.file.reference or info.source
    lines = [
        info.enf.short_path,
        "--source",
        reference.short_path,
        "--max-lsb",
        str(ctx.attr.max_lsb),
        "--seed",
        str(ctx.attr.seed),
    ]
    lines += data_lines(info.source, info.data)
    for f in ctx.files.inputs:
        lines += ["--inputs", f.short_path]
    for f in ctx.files.preprocessing:
        lines += ["--preprocessing", f.short_path]
    files = [info.enf, reference] + info.data + ctx.files.inputs + ctx.files.preprocessing
    return test_launcher(ctx, ctx.toolchains[_TOOLS_TYPE].npu_tools.compare, lines, files, options = _OPTIONS)

npu_model_test = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    test = True,
    toolchains = [_TOOLS_TYPE],
)
