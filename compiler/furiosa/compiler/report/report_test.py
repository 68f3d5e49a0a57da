"""The report: its keys, its figures, its order."""

from __future__ import annotations

import hashlib
import json

import pytest

from furiosa.compiler.ldfg.coverage import Coverage
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.report.report import report, to_json
from furiosa.enf import container, enf_pb2
from furiosa.enf.target import load_target

KEYS = [
    "model",
    "source_format",
    "source_sha256",
    "compiler_version",
    "target_npu",
    "batch_size",
    "auto_batch_size",
    "compatibility",
    "latency_us",
    "latency_note",
    "npu_coverage",
    "npu_coverage_of",
    "npu_macs",
    "total_macs",
    "npu_operators",
    "host_operators",
    "sram_peak_bytes",
    "sram_lower_bound_bytes",
    "dram_bytes",
    "working_dram_bytes",
    "host_memory_bytes",
    "enf_bytes",
    "host_cost_note",
    "operators",
]


def reported(data: bytes, batch_size: int = 1) -> dict:
    c = Compilation(data, Options("warboy", batch_size)).run()
    return json.loads(to_json(report(c, "m.onnx", len(container.to_bytes(c.enf)))))


def test_figures(quantized_model):
    r = reported(quantized_model, batch_size=2)
    assert list(r) == KEYS
    assert r["model"] == "m.onnx" and r["source_format"] == "onnx"
    assert r["source_sha256"] == hashlib.sha256(quantized_model).hexdigest()
    assert (r["target_npu"], r["batch_size"]) == ("warboy", 2)
    # 2 images of 8 x 8 pixels, 4 channels, each 3 x 3 x 3 products
    assert r["npu_macs"] == r["total_macs"] == 2 * 8 * 8 * 4 * 27
    assert (r["npu_coverage"], r["npu_coverage_of"]) == (1.0, "macs")
    assert (r["npu_operators"], r["host_operators"]) == (7, 1) and len(r["operators"]) == 8
    assert r["latency_us"] > 0 and "not calibrated" in r["latency_note"]
    assert 0 < r["sram_lower_bound_bytes"] <= r["sram_peak_bytes"] <= 16 << 20
    assert r["dram_bytes"] > r["working_dram_bytes"] > 0


def test_commands_are_named_after_what_computes(quantized_model):
    """The commands of DequantizeLinear, Conv, QuantizeLinear are those of the Conv; of a quantisation alone, its own."""
    debug = enf_pb2.DebugMap.FromString(Compilation(quantized_model, Options()).run().enf["debug"])
    names = [debug.operators[i].name for i in debug.command_operator]
    assert list(dict.fromkeys(names)) == [
        "conv",
        "quantize_x",
        "dequantize_conv",
    ]  # setup loads weights first


def test_operators(quantized_model):
    operators = {o["name"]: o for o in reported(quantized_model)["operators"]}
    conv = {"name": "conv", "op_type": "Conv", "placed_on": "npu", "macs": 8 * 8 * 4 * 27}
    conv |= {"host_us": 0.0, "transfer_us": 0.0, "reasons": []}
    assert operators["conv"] == conv
    sinh = operators["sinh"]
    assert (sinh["op_type"], sinh["placed_on"], sinh["macs"]) == ("Sinh", "host", 0)
    assert sinh["host_us"] > 0
    # it reads and writes float32 [1, 4, 8, 8]; only what it reads comes from the NPU
    assert sinh["transfer_us"] == round(4 * 8 * 8 * 4 / load_target("warboy").pcie_bytes_per_s * 1e6, 3)
    assert [list(r) for r in sinh["reasons"]] == [["rule", "message", "actual", "allowed", "hint"]]
    assert (sinh["reasons"][0]["rule"], sinh["reasons"][0]["actual"]) == ("operator-table", "Sinh")


def test_a_host_model(float_model):
    r = reported(float_model)
    assert (r["npu_coverage"], r["npu_coverage_of"]) == (0.0, "operators")
    assert (r["npu_operators"], r["host_operators"]) == (0, 1)
    assert r["latency_us"] == r["operators"][0]["host_us"] > 0  # nothing crosses


def test_the_estimate_has_what_crosses_between_npu_and_host(quantized_model):
    """float32 [1, 3, 8, 8] to the NPU, [1, 4, 8, 8] from it to the host's operator, whose result stays there."""
    c = Compilation(quantized_model, Options("warboy")).run()
    rest = c.target._replace(pcie_bytes_per_s=10**18)
    with_transfers = c.latency_us
    c.target, pcie = rest, c.target.pcie_bytes_per_s
    del c.performance
    assert with_transfers - c.latency_us == pytest.approx((3 + 4) * 64 * 4 / pcie * 1e6, abs=2e-3)


@pytest.mark.parametrize(
    ("figures", "coverage"),
    [
        ((1, 3, 9, 1), (0.333333, "macs")),
        ((0, 0, 9, 1), (0.9, "operators")),
        ((0, 0, 0, 0), (0.0, "operators")),
    ],
)
def test_coverage(figures, coverage):
    assert (Coverage(*figures).share, Coverage(*figures).basis) == coverage


def test_any_name_is_ascii():
    assert json.loads(to_json({"model": "\udc80é\n"}).encode("ascii")) == {"model": "\udc80é\n"}
