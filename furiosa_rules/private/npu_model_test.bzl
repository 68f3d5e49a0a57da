"""The rule that compares a compiled model with its reference runtime."""

load(":npu_model_info.bzl", "NpuModelInfo")
load(":vendor_command.bzl", "refuse_vendor_enf")

_DOC = """\
Runs a compiled model on the NPU simulator and its source on the reference runtime of its format (onnxruntime, LiteRT), on the same inputs,
and fails where an element of any tensor that both make is more than `max_lsb` off. The log names the first layer that differs.

What is run is the ENF of `model`, not one that is compiled for the test. `compare.json` and `compare.html` are among the test's outputs
(`bazel-testlogs/*/test.outputs`).
"""

_ATTRS = {
    "inputs": attr.label_list(
        doc = "Files with inputs, one inference each: `.npy` for a model of one input, `.npz` with an array for each " +
              "input's name. Left out: three inferences on random tensors of the inputs' quantised range.",
        allow_files = [".npy", ".npz"],
    ),
    "max_lsb": attr.int(
        doc = "How far any element of any compared tensor may be off, in units of the last place.",
    ),
    "model": attr.label(
        doc = "The `npu_model` target.",
        mandatory = True,
        providers = [NpuModelInfo],
    ),
    "reference": attr.label(
        doc = "The model file to compare with, byte for byte the one that was compiled; left out: the `src` of `model`.",
        allow_single_file = [".onnx", ".tflite"],
    ),
    "seed": attr.int(
        doc = "Of the random inputs.",
    ),
    "_compare": attr.label(
        default = "//runtime:furiosa_compare",
        cfg = "target",
        executable = True,
    ),
}

# Paths are those of runfiles, in which Bazel starts a test; further arguments are the user's (--test_arg).
_LAUNCHER = """\
#!/bin/sh
outputs=${TEST_UNDECLARED_OUTPUTS_DIR:-}
exec '%s' '@%s' \\
  ${outputs:+--json "$outputs/compare.json" --html "$outputs/compare.html"} \\
  ${XML_OUTPUT_FILE:+--junit-xml "$XML_OUTPUT_FILE"} "$@"
"""

def _check(ctx):
    for name in ("max_lsb", "seed"):
        if getattr(ctx.attr, name) < 0:
            fail("%s is %d, but must not be negative" % (name, getattr(ctx.attr, name)))
    if ctx.attr.seed and ctx.files.inputs:
        fail("seed and inputs exclude each other: a seed is for random inputs")

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
    for f in ctx.files.inputs:
        lines += ["--inputs", f.short_path]
    arguments = ctx.actions.declare_file(ctx.label.name + ".arguments")
    ctx.actions.write(arguments, "\n".join(lines) + "\n")
    launcher = ctx.actions.declare_file(ctx.label.name)
    tool = ctx.executable._compare
    for path in (tool.short_path, arguments.short_path):
        if "'" in path:
            fail("the path %s has a quote in it, which no shell script can name; rename the target or its package" % path)
    ctx.actions.write(launcher, _LAUNCHER % (tool.short_path, arguments.short_path), is_executable = True)

    files = [arguments, info.enf, reference] + info.data + ctx.files.inputs
    runfiles = ctx.runfiles(files).merge(ctx.attr._compare[DefaultInfo].default_runfiles)
    return [DefaultInfo(executable = launcher, runfiles = runfiles)]

npu_model_test = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    test = True,
)
