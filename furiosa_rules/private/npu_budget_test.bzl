"""The macro of the test that compares the figures of a compiled model with a budget."""

load(":npu_budget_test_rule.bzl", _npu_budget_test = "npu_budget_test")

def npu_budget_test(
        name,
        model,
        max_latency_us = None,
        min_throughput_per_s = None,
        min_npu_coverage = None,
        max_host_operators = None,
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
      max_host_operators: operators of the model that run on the host
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
        max_host_operators = max_host_operators,
        max_latency_us = max_latency_us,
        max_sram_bytes = max_sram_bytes,
        min_npu_coverage = min_npu_coverage,
        min_throughput_per_s = min_throughput_per_s,
        **kwargs
    )

def _digits(value):
    return str(value) if type(value) == "int" else value
