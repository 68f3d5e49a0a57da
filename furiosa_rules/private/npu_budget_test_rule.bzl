"""The rule of the test that compares the figures of a compiled model with a budget; the macro of its name (npu_budget_test.bzl) takes its attributes
in more forms."""

load(":display_form.bzl", "display_form")
load(":npu_model_info.bzl", "NpuModelInfo")
load(":share.bzl", "check_share")
load(":test_launcher.bzl", "TEST_ATTRS", "test_launcher")
load(":vendor_command.bzl", "refuse_vendor_enf")

# Of these more than Bazel's largest integer may be meant, so the rule takes digits.
_LARGE = {
    "max_dram_bytes": "Bytes of the NPU's DRAM: constants and working memory.",
    "max_dram_traffic_bytes": "Bytes that one run reads from and writes to the NPU's DRAM, together.",
}

# -1: any
_INTS = {
    "max_enf_bytes": "Bytes of the ENF.",
    "max_host_operators": "Operators of the model that run on the host.",
    "max_latency_us": "Estimated microseconds of one run.",
    "max_sram_bytes": "Bytes of SRAM, by highest address.",
    "min_throughput_per_s": "Estimated samples a second of one card.",
}

_TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

_BUDGETS = sorted(_LARGE.keys() + _INTS.keys() + ["min_npu_coverage"])

def _impl(ctx):
    info = ctx.attr.model[NpuModelInfo]
    refuse_vendor_enf("model", info, "npu_budget_test")
    if not info.report:
        fail("model: the compiler of %s writes no report, which npu_budget_test needs" % display_form(ctx.attr.model.label))
    check_share("min_npu_coverage", ctx.attr.min_npu_coverage)
    lines = []
    for name in _BUDGETS:
        value = getattr(ctx.attr, name)
        if name in _INTS:
            if value < -1:
                fail("%s is %d, but must not be negative" % (name, value))
            value = "" if value == -1 else str(value)
        elif name in _LARGE and value.strip("0123456789"):
            fail("%s is '%s', but must be a number of bytes, like 12000000 or '8589934592'" % (name, value))
        if value:
            lines += ["--" + name.replace("_", "-"), value]
    if not lines:
        fail("no budget is given; set at least one of %s" % ", ".join(_BUDGETS))
    return test_launcher(ctx, ctx.toolchains[_TOOLS_TYPE].npu_tools.budget, [info.report.short_path] + lines, [info.report])

npu_budget_test = rule(
    implementation = _impl,
    doc = "Fails where a figure of the compiler's report of a model is over its budget.",
    attrs = TEST_ATTRS | {name: attr.int(doc = doc, default = -1) for name, doc in _INTS.items()} | {
        name: attr.string(doc = doc)
        for name, doc in _LARGE.items()
    } | {
        "min_npu_coverage": attr.string(doc = "The least share of the model's multiply-accumulates that the NPU must do."),
        "model": attr.label(
            doc = "The `npu_model` target.",
            mandatory = True,
            providers = [NpuModelInfo],
        ),
    },
    test = True,
    toolchains = [_TOOLS_TYPE],
)
