"""The rule that quantises a float model."""

load(":default_npu.bzl", "reset_transition")
load(":quantizer.bzl", "QUANTIZER_ATTRS", "TOOLS_TYPE", "arguments", "run")

_METHODS = [kind + end for kind in ("min-max", "entropy", "percentile", "mse", "sqnr") for end in ("", "-sym")]

_DOC = """\
Quantises a float model to int8: `furiosa quantize` as a build step (docs/quantize.md).

A target `x` writes `x.onnx`, an ONNX model with QuantizeLinear and DequantizeLinear, for `src` of `npu_model`. All is quantised that the NPU takes. The model is not run: another method,
or another exclusion, takes seconds.
"""

_ATTRS = QUANTIZER_ATTRS | {
    "calibration": attr.label(
        doc = "An `npu_calibration` of the same model, or a file that `furiosa calibrate` wrote. Shapes and cuts are those of the calibration. Left out for a model that holds ranges in its metadata, as the vendor's quantizer (0.10) writes it.",
        allow_single_file = [".json"],
        cfg = reset_transition,
    ),
    "exclude": attr.string_list(
        doc = "Operators that stay in float, by name, or all of a type.",
    ),
    "io_types": attr.string_dict(
        doc = "Inputs and outputs that are integers with the scale of their tensor, not float: `{\"image\": \"uint8\"}`; `int8` or `uint8`.",
    ),
    "method": attr.string(
        doc = "How ranges are chosen.",
        default = "min-max",
        values = _METHODS,
    ),
    "percentage": attr.string(
        doc = "Of 100 values those within the range, for the percentile methods; left out: `99.99`. A string, as Bazel's attributes know no fractions.",
    ),
}

def _check(ctx):
    percentage = ctx.attr.percentage
    if percentage:
        whole, point, fraction = percentage.partition(".")
        digits = whole + fraction
        is_number = whole and (fraction or not point) and digits.isdigit() and len(digits) < 20
        if not is_number or not digits.strip("0") or int(whole) > 100 or int(whole) == 100 and fraction.strip("0"):
            fail("percentage is '%s', but must be a number above 0 and up to 100" % percentage)
        if not ctx.attr.method.startswith("percentile"):
            fail("percentage goes with the methods percentile and percentile-sym, not with %s" % ctx.attr.method)
    if not ctx.file.calibration and ctx.attr.method != _METHODS[0]:
        fail("method goes with calibration; without one the ranges are those that the model holds")
    for name, kind in ctx.attr.io_types.items():
        if not name or "\n" in name or kind not in ("int8", "uint8"):
            fail("io_types: %r of %r is not \"int8\" or \"uint8\" of a name" % (kind, name))
    for name in ctx.attr.exclude:
        if not name or "\n" in name:
            fail("exclude: %r names no operator" % name)

def _impl(ctx):
    _check(ctx)
    output = ctx.actions.declare_file(ctx.label.name + ".onnx")
    args = arguments(ctx, "quantize", output)
    given = [ctx.file.calibration] if ctx.file.calibration else []
    args.add_all(given, before_each = "--calibration")
    args.add("--method", ctx.attr.method)
    if ctx.attr.percentage:
        args.add("--percentage", ctx.attr.percentage)
    args.add_all(ctx.attr.exclude, format_each = "--exclude=%s")
    args.add_all(["%s=%s" % item for item in sorted(ctx.attr.io_types.items())], format_each = "--io-type=%s")
    run(ctx, args, given, output, "NpuQuantize", "Quantising %{label} by " + ctx.attr.method)
    return [DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output]))]

npu_quantized_model = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    toolchains = [TOOLS_TYPE],
)
