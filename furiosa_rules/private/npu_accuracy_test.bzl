"""The rule that measures a compiled model on labelled samples."""

load(":model_data.bzl", "data_lines")
load(":npu_model_info.bzl", "NpuModelInfo")
load(":samples.bzl", "PREPROCESSING_DOC", "SAMPLE_FILES")
load(":test_launcher.bzl", "TEST_ATTRS", "test_launcher")
load(":vendor_command.bzl", "refuse_vendor_enf")

_DOC = """\
Runs a compiled model on the NPU simulator over labelled samples, and the float model beside it, and fails where its value is below `min_value`, or lower than
the float model's by more than `max_drop`: `furiosa accuracy` as a test (docs/measure.md). At least one of the two is needed.

What is run is the ENF of `model`, in batches of its own size. With `shard_count` N each shard takes every N-th sample and gates its own part, so leave
room for how parts scatter. `accuracy.json` is among the test's outputs (`bazel-testlogs/*/test.outputs`).
"""

_TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

_METRICS = ["top1", "top5", "miou", "agreement", "sqnr"]

# Of which the float model is a part.
_OF_FLOAT = ["agreement", "sqnr"]

_ATTRS = TEST_ATTRS | {
    "data": attr.label_list(
        doc = "The samples: `.npz` with an array for each input and one of `labels`, `.npy` for a model of one input, or images, with `preprocessing`.",
        allow_empty = False,
        allow_files = SAMPLE_FILES,
        mandatory = True,
    ),
    "float_data": attr.label_list(
        doc = "Files of external data of `float_model`.",
        allow_files = True,
    ),
    "float_model": attr.label(
        doc = "The float model, which runs in onnxruntime or LiteRT on the same samples.",
        allow_single_file = [".onnx", ".tflite"],
    ),
    "labels": attr.label(
        doc = "The labels of all samples in their order, where the files of `data` hold none: `.npy`.",
        allow_single_file = [".npy"],
    ),
    "max_drop": attr.string(
        doc = "By how much the value may be below that of `float_model`, e.g. `0.005`.",
    ),
    "metric": attr.string(
        doc = "What is measured.",
        default = "top1",
        values = _METRICS,
    ),
    "min_value": attr.string(
        doc = "The least value, e.g. `0.97`; of `sqnr` in dB.",
    ),
    "model": attr.label(
        doc = "The `npu_model` target.",
        mandatory = True,
        providers = [NpuModelInfo],
    ),
    "output": attr.string(
        doc = "The name of the output that counts; left out: the first, for `sqnr` and a scorer all.",
    ),
    "preprocessing": attr.label(
        doc = PREPROCESSING_DOC,
        allow_single_file = [".json"],
    ),
    "scorer": attr.label(
        doc = "In the place of `metric`: a `py_binary` or another program, or a Python file, that gets a folder of predictions and prints the value.",
        allow_files = [".py"],
        cfg = "target",
        executable = True,
    ),
}

# What the shell of the test knows: where its outputs go, and which shard it is.
_OPTIONS = '''\
  ${outputs:+--json "$outputs/accuracy.json"} \\
  ${TEST_TOTAL_SHARDS:+--shard "$TEST_SHARD_INDEX/$TEST_TOTAL_SHARDS"} \\
'''

def _check(attr):
    for name in ("max_drop", "min_value"):
        value = getattr(attr, name)
        digits = value.removeprefix("-" if name == "min_value" else "").replace(".", "", 1)
        if value and (not digits or digits.strip("0123456789")):
            fail("%s is '%s', but must be a number, like '0.97'%s" % (name, value, "" if name == "min_value" else ", of at least 0"))
    if not attr.max_drop and not attr.min_value:
        fail("no gate is given: without min_value or max_drop the test could not fail")
    if attr.scorer and attr.metric != "top1":
        fail("scorer and metric exclude each other: a scorer measures in its own way")
    if not attr.float_model:
        if attr.max_drop:
            fail("max_drop needs float_model, from whose value a drop is counted")
        if attr.metric in _OF_FLOAT:
            fail("metric '%s' needs float_model, with which it compares" % attr.metric)
        if attr.float_data:
            fail("float_data are data of float_model, which is not given")
    elif attr.max_drop and attr.metric in _OF_FLOAT:
        fail("metric '%s' is a comparison with the float model already: it has no drop, use min_value" % attr.metric)

def _impl(ctx):
    _check(ctx.attr)
    info = ctx.attr.model[NpuModelInfo]
    refuse_vendor_enf("model", info, "npu_accuracy_test")
    lines = [info.enf.short_path]
    files = [info.enf] + ctx.files.data
    for f in ctx.files.data:
        lines += ["--data", f.short_path]
    if ctx.file.labels:
        lines += ["--data", "labels=" + ctx.file.labels.short_path]
    if ctx.file.preprocessing:
        lines += ["--preprocessing", ctx.file.preprocessing.short_path]
    if ctx.file.float_model:
        lines += ["--float-model", ctx.file.float_model.short_path]
        lines += [
            line.replace("--data=", "--model-data=", 1)
            for line in data_lines(ctx.file.float_model, ctx.files.float_data)
        ]
    runfiles = []
    if ctx.attr.scorer:
        lines += ["--scorer", ctx.executable.scorer.short_path]
        files.append(ctx.executable.scorer)
        runfiles.append(ctx.attr.scorer[DefaultInfo].default_runfiles)
    else:
        lines += ["--metric", ctx.attr.metric]

    # of values that may begin with "-"
    lines += ["--%s=%s" % (option, value) for option, value in [
        ("output", ctx.attr.output),
        ("min", ctx.attr.min_value),
        ("max-drop", ctx.attr.max_drop),
    ] if value]
    files += ctx.files.labels + ctx.files.preprocessing + ctx.files.float_model + ctx.files.float_data
    return test_launcher(ctx, ctx.toolchains[_TOOLS_TYPE].npu_tools.accuracy, lines, files, options = _OPTIONS, runfiles = runfiles)

npu_accuracy_test = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    test = True,
    toolchains = [_TOOLS_TYPE],
)
