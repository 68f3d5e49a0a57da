"""The report: its keys, its figures, its order."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fastjsonschema
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
    "optimize",
    "selection",
    "latency_us",
    "latency_note",
    "throughput_per_s",
    "npu_us",
    "transfer_us",
    "host_us",
    "overhead_us",
    "setup_us",
    "dram_bytes_read",
    "dram_bytes_written",
    "npu_coverage",
    "npu_coverage_of",
    "npu_macs",
    "total_macs",
    "unknown_macs",
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
    "layers",
]
DOCS = Path(__file__).parents[4] / "docs"


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
    assert (r["npu_operators"], r["host_operators"]) == (6, 2) and len(r["operators"]) == 8
    assert r["latency_us"] > 0 and r["latency_note"].startswith("an estimate, off by at most ")
    assert 0 < r["sram_lower_bound_bytes"] <= r["sram_peak_bytes"] <= 16 << 20
    assert r["dram_bytes"] > r["working_dram_bytes"] > 0


@pytest.mark.parametrize("model", ["quantized_model", "float_model"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_reports_follow_their_schema(model, batch_size, request):
    schema = json.loads((DOCS / "report.schema.json").read_text("ascii"))
    validate = fastjsonschema.compile(schema)
    r = reported(request.getfixturevalue(model), batch_size)
    validate(r)
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validate(r | {"latency_us": "1"})


def test_schema_and_documentation_know_every_key(quantized_model):
    """No key of a report is unknown to the schema or to report.md, and neither has another one."""
    schema = json.loads((DOCS / "report.schema.json").read_text("ascii"))
    page = (DOCS / "report.md").read_text("utf-8")
    r = reported(quantized_model)
    host = next(o for o in r["operators"] if o["placed_on"] == "host")
    for name, example in (("operator", host), ("layer", r["layers"][0])):
        assert list(schema["definitions"][name]["properties"]) == list(example)
        assert schema["definitions"][name]["required"] == list(example)
    assert list(schema["properties"]) == schema["required"] == KEYS
    assert [k for k in (*r, *host, *r["layers"][0], *host["reasons"][0]) if f"`{k}`" not in page] == []


def test_layers_and_their_bounds(quantized_model):
    r = reported(quantized_model)
    layers = {x["name"]: x for x in r["layers"]}
    # the last: what it reads is brought to the host's layout
    assert list(layers) == ["quantize_x", "conv", "sinh"]
    assert layers["conv"]["op_type"] == "Conv" and layers["conv"]["macs"] == 8 * 8 * 4 * 27
    for x in r["layers"]:
        assert max(x["compute_bound_us"], x["memory_bound_us"]) <= x["simulated_us"]
        assert 0 <= x["utilization"] <= 1
    assert sum(x["busy_us"] for x in r["layers"]) == pytest.approx(r["npu_us"], abs=1e-3)
    assert r["latency_us"] == pytest.approx(
        r["npu_us"] + r["transfer_us"] + r["host_us"] + r["overhead_us"], abs=2e-3
    )
    assert sum(x["dram_bytes_read"] for x in r["layers"]) == r["dram_bytes_read"] > 0


def test_commands_are_named_after_what_computes(quantized_model):
    """The commands of DequantizeLinear, Conv, QuantizeLinear are those of the Conv; of a quantisation alone, its own."""
    debug = enf_pb2.DebugMap.FromString(Compilation(quantized_model, Options()).run().enf["debug"])
    names = [debug.operators[i].name for i in debug.command_operator]
    assert list(dict.fromkeys(names)) == [
        "conv",
        "quantize_x",
        "sinh",
    ]  # setup loads weights first


def test_operators(quantized_model):
    operators = {o["name"]: o for o in reported(quantized_model)["operators"]}
    conv = {"name": "conv", "op_type": "Conv", "placed_on": "npu", "macs": 8 * 8 * 4 * 27}
    conv |= {"host_us": 0.0, "transfer_us": 0.0, "reasons": []}
    assert operators["conv"] == conv
    sinh, dequantize = operators["sinh"], operators["dequantize_conv"]
    assert (sinh["op_type"], sinh["placed_on"], sinh["macs"]) == ("Sinh", "host", 0)
    assert sinh["host_us"] > 0 and sinh["transfer_us"] == 0
    # only what is dequantised for it comes from the NPU, int8 [1, 4, 8, 8]
    assert dequantize["transfer_us"] == round(4 * 8 * 8 / load_target("warboy").pcie_bytes_per_s * 1e6, 3)
    assert (dequantize["placed_on"], dequantize["reasons"][0]["rule"]) == ("host", "beside-host")
    assert [list(r) for r in sinh["reasons"]] == [["rule", "message", "actual", "allowed", "hint"]]
    assert (sinh["reasons"][0]["rule"], sinh["reasons"][0]["actual"]) == ("operator-table", "Sinh")


def test_a_host_model(float_model):
    r = reported(float_model)
    assert (r["npu_coverage"], r["npu_coverage_of"]) == (0.0, "operators")
    assert (r["npu_operators"], r["host_operators"]) == (0, 1)
    assert r["latency_us"] == r["operators"][0]["host_us"] > 0  # nothing crosses


def test_the_estimate_has_what_crosses_between_npu_and_host(quantized_model):
    """float32 [1, 3, 8, 8] to the NPU, int8 [1, 4, 8, 8] from it to the host's operator, whose result stays there."""
    c = Compilation(quantized_model, Options("warboy")).run()
    rest = c.target._replace(pcie_bytes_per_s=10**18)
    with_transfers = c.latency_us
    c.target, pcie = rest, c.target.pcie_bytes_per_s
    del c.performance
    assert with_transfers - c.latency_us == pytest.approx((3 * 4 + 4) * 64 / pcie * 1e6, abs=2e-3)


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
