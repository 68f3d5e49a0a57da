"""The rule that calibrates a float model."""

load(":default_npu.bzl", "reset_transition")
load(":npu_calibration_info.bzl", "NpuCalibrationInfo")
load(":quantizer.bzl", "QUANTIZER_ATTRS", "TOOLS_TYPE", "arguments", "run")
load(":samples.bzl", "PREPROCESSING_DOC", "SAMPLE_FILES")
load(":selection.bzl", "SELECTION_ATTRS", "selection_arguments")

_DOC = """\
Runs a float model over samples and counts the values of each of its tensors: `furiosa calibrate` as a build step (docs/quantize.md).

A target `x` writes `x.json`, from which `npu_quantized_model` chooses ranges by any method, without running the model again. Neither the order of the
samples nor `parts` changes a byte of it.
"""

_ATTRS = {name: attribute for name, attribute in SELECTION_ATTRS.items() if name != "signature"} | QUANTIZER_ATTRS | {
    "data": attr.label_list(
        doc = "The samples: `.npz` with an array for each input, `.npy` for a model of one input, each with one sample or many; or images, with `preprocessing` (docs/samples.md).",
        allow_empty = False,
        allow_files = SAMPLE_FILES,
        cfg = reset_transition,
        mandatory = True,
    ),
    "preprocessing": attr.label(
        doc = PREPROCESSING_DOC,
        allow_single_file = [".json"],
        cfg = reset_transition,
    ),
    "parts": attr.int(
        doc = "In how many actions the files of `data` are counted, which run side by side; their counts are added in one more.",
        default = 1,
    ),
}

def _selection(ctx):
    return selection_arguments(struct(
        dims = ctx.attr.dims,
        input_shapes = ctx.attr.input_shapes,
        inputs = ctx.attr.inputs,
        outputs = ctx.attr.outputs,
        signature = "",
    ))

def _count(ctx, samples, output, which):
    args = arguments(ctx, "calibrate", output)
    args.add_all(_selection(ctx))
    args.add_all(samples, before_each = "--data")
    declared = ctx.files.preprocessing
    args.add_all(declared, before_each = "--preprocessing")
    run(ctx, args, samples + declared, output, "NpuCalibrate", "Calibrating %%{label}%s" % which, is_heavy = True)

def _impl(ctx):
    files = ctx.files.data
    parts = ctx.attr.parts
    if parts < 1 or parts > len(files):
        fail("parts is %d, but must be at least 1 and no more than the files of data, %d" % (parts, len(files)))
    output = ctx.actions.declare_file(ctx.label.name + ".json")
    if parts == 1:
        _count(ctx, files, output, "")
    else:
        counted = [ctx.actions.declare_file("%s.part%d.json" % (ctx.label.name, i + 1)) for i in range(parts)]
        for i, part in enumerate(counted):
            _count(ctx, files[i::parts], part, ", part %d of %d" % (i + 1, parts))
        args = arguments(ctx, "calibrate", output)
        args.add_all(_selection(ctx))
        args.add_all(counted, before_each = "--merge")
        run(ctx, args, counted, output, "NpuCalibrate", "Adding the parts of %{label}")
    return [
        DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output])),
        NpuCalibrationInfo(calibration = output, source = ctx.file.src, source_data = ctx.files.model_data),
    ]

npu_calibration = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    provides = [NpuCalibrationInfo],
    toolchains = [TOOLS_TYPE],
)
