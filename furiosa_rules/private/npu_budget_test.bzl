"""The test that compares the figures of a compiled model with a budget."""

load(":npu_model_info.bzl", "NpuModelInfo")
load(":share.bzl", "check_share")
load(":test_launcher.bzl", "test_launcher")
load(":vendor_command.bzl", "refuse_vendor_enf")

# Of these more than Bazel's largest integer may be meant, so the rule takes digits.
_LARGE = ["max_dram_bytes", "max_dram_traffic_bytes"]

_INTS = ["max_enf_bytes", "max_latency_us", "max_sram_bytes", "min_throughput_per_s"]

_TOOLS_TYPE = Label("//furiosa_rules:tools_toolchain_type")

_BUDGETS = sorted(_LARGE + _INTS + ["min_npu_coverage"])

def npu_budget_test(
        name,
        model,
        max_latency_us = None,
        min_throughput_per_s = None,
        min_npu_coverage = None,
        max_sram_bytes = None,
        max_dram_bytes = None,
        max_dram_traffic_bytes = None,
        max_enf_bytes = None,
        **kwargs):
    """Fails where a figure of the compiler's report of a model is over its budget, with a table of all that have one.

    Latency and throughput are the compiler's estimates, and the table says what they are worth: good for noticing that a change makes a
    model slower.

    At least one budget is needed; what is left out may be anything. Each may be a `select()`.

    Args:
      name: the name of the test
      model: the `npu_model` target
      max_latency_us: estimated microseconds of one run
      min_throughput_per_s: estimated samples a second of one card
      min_npu_coverage: string, the least share of the model's multiply-accumulates that the NPU must do, e.g. `0.95`; `npu_model` refuses to
        build below its own, this test lets the build pass
      max_sram_bytes: bytes of SRAM, by highest address
      max_dram_bytes: bytes of the NPU's DRAM: constants and working memory. An int, or a string of digits, as Bazel's integers end at
        2147483647; in a `select()` a string
      max_dram_traffic_bytes: bytes that one run reads from and writes to the NPU's DRAM, together; int or string likewise
      max_enf_bytes: bytes of the ENF
      **kwargs: what every test takes: `size`, `tags`, ...
    """
    _npu_budget_test(
        name = name,
        model = model,
        max_dram_bytes = _digits(max_dram_bytes),
        max_dram_traffic_bytes = _digits(max_dram_traffic_bytes),
        max_enf_bytes = max_enf_bytes,
        max_latency_us = max_latency_us,
        max_sram_bytes = max_sram_bytes,
        min_npu_coverage = min_npu_coverage,
        min_throughput_per_s = min_throughput_per_s,
        **kwargs
    )

def _digits(value):
    return str(value) if type(value) == "int" else value

def _impl(ctx):
    info = ctx.attr.model[NpuModelInfo]
    refuse_vendor_enf("model", info, "npu_budget_test")
    if not info.report:
        fail("model: the compiler of %s writes no report, which npu_budget_test needs" % ctx.attr.model.label)
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

_npu_budget_test = rule(
    implementation = _impl,
    doc = "What npu_budget_test makes; its attributes are described there.",
    attrs = {name: attr.int(default = -1) for name in _INTS} | {name: attr.string() for name in _LARGE} | {
        "min_npu_coverage": attr.string(),
        "model": attr.label(mandatory = True, providers = [NpuModelInfo]),
    },
    test = True,
    toolchains = [_TOOLS_TYPE],
)
