"""The rule that compares the figures of a compiled model with a budget."""

load(":npu_model_info.bzl", "NpuModelInfo")
load(":share.bzl", "check_share")
load(":test_launcher.bzl", "test_launcher")
load(":vendor_command.bzl", "refuse_vendor_enf")

_DOC = """\
Fails where a figure of the compiler's report of a model is over its budget, with a table of all that have one.

The latency is the compiler's estimate, which is not calibrated against hardware: good for noticing that a change makes a model slower, not
for promising a time.
"""

# attribute: what it limits
_LIMITS = {
    "max_dram_bytes": "Bytes of the NPU's DRAM: constants and working memory.",
    "max_enf_bytes": "Bytes of the ENF.",
    "max_latency_us": "Estimated microseconds of one run.",
    "max_sram_bytes": "Bytes of SRAM, by highest address.",
}

_ATTRS = {
    name: attr.int(
        default = -1,
        doc = doc + " Left out: any.",
    )
    for name, doc in _LIMITS.items()
} | {
    "min_npu_coverage": attr.string(
        doc = "The least share of the model's multiply-accumulates that the NPU must do, e.g. `0.95`. Left out: any.",
    ),
    "model": attr.label(
        doc = "The `npu_model` target.",
        mandatory = True,
        providers = [NpuModelInfo],
    ),
    "_budget": attr.label(
        default = "//compiler:furiosa_budget",
        cfg = "target",
        executable = True,
    ),
}

def _impl(ctx):
    info = ctx.attr.model[NpuModelInfo]
    refuse_vendor_enf("model", info, "npu_budget_test")
    if not info.report:
        fail("model: the compiler of %s writes no report, which npu_budget_test needs" % ctx.attr.model.label)
    check_share("min_npu_coverage", ctx.attr.min_npu_coverage)
    lines = []
    for name in _LIMITS:
        value = getattr(ctx.attr, name)
        if value < -1:
            fail("%s is %d, but must not be negative" % (name, value))
        if value >= 0:
            lines += ["--" + name.replace("_", "-"), str(value)]
    if ctx.attr.min_npu_coverage:
        lines += ["--min-npu-coverage", ctx.attr.min_npu_coverage]
    if not lines:
        fail("no budget is given; set at least one of %s, min_npu_coverage" % ", ".join(_LIMITS))
    return test_launcher(ctx, ctx.attr._budget, [info.report.short_path] + lines, [info.report])

npu_budget_test = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    test = True,
)
