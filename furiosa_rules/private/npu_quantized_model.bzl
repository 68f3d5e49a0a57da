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
        doc = "An `npu_calibration` of the same model, or a file that `furiosa calibrate` wrote. Shapes and cuts are those of the calibration.",
        allow_single_file = [".json"],
        cfg = reset_transition,
        mandatory = True,
    ),
    "exclude": attr.string_list(
        doc = "Operators that stay in float, by name, or all of a type.",
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
    for name in ctx.attr.exclude:
        if not name or "\n" in name:
            fail("exclude: %r names no operator" % name)

def _impl(ctx):
    _check(ctx)
    output = ctx.actions.declare_file(ctx.label.name + ".onnx")
    args = arguments(ctx, "quantize", output)
    args.add("--calibration", ctx.file.calibration)
    args.add("--method", ctx.attr.method)
    if ctx.attr.percentage:
        args.add("--percentage", ctx.attr.percentage)
    args.add_all(ctx.attr.exclude, format_each = "--exclude=%s")
    run(ctx, args, [ctx.file.calibration], output, "NpuQuantize", "Quantising %{label} by " + ctx.attr.method)
    return [DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output]))]

npu_quantized_model = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    toolchains = [TOOLS_TYPE],
)
