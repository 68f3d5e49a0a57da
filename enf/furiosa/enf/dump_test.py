"""A program as text and as JSON."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa.enf import dump, enf_pb2
from furiosa.enf.testing.programs import COMPUTING, Program, lookup, ranged, tensor, typical


def hosted() -> Program:
    p = lookup()
    p.host_models = b"model"
    p.dram.append((128, 64))
    call = enf_pb2.HostCall(format="onnx", size=5, estimated_us=2.5)
    call.inputs.append(tensor("y", 64, 64))
    call.outputs.append(tensor("z", 128, 16, dtype="float32"))
    p.steps = [ranged(0, 4), enf_pb2.Step(host_call=call)]
    p.outputs = [tensor("z", 128, 4, 4, dtype="float32")]
    p.inputs[0].quantization.scale, p.inputs[0].quantization.zero_point = 0.1, -3
    p.inputs[0].axes = "NHWC"
    p.debug.operators.add(name="look\tup", op_type="Table", placed_on="npu", macs=7)
    p.debug.command_operator.extend([0] * 4)
    return p


def test_summary():
    text = "\n".join(dump.summary(hosted().load()))
    for line in (
        "ENF 1.1, 8448 bytes, for warboy-2pe, batch size 1",
        "compiler 1.2.3, from onnx 000102",
        "multiply-accumulates: 4, 75.0 % of them on the NPU",
        "memory: 384 bytes of SRAM at most, 448 of DRAM, 192 of it working",
        "  x  int8[1x1x1x64]  NHWC  scale 0.1 zero point -3  dram[0x0]",
        "  z  float32[4x4]      dram[0x80]",
        "  0  commands 0 to 3",
        "  1  host, onnx model of 5 bytes, 2.5 us: y -> z",
        "  LOAD          2",
        "  sram  3  384 bytes together",
    ):
        assert line in text


def test_summary_of_nothing():
    text = "\n".join(dump.summary(Program().load()))
    assert "inputs: none" in text and "commands: none" in text


def test_commands():
    lines = list(dump.commands(hosted().load()))
    assert len(lines) == 4
    assert lines[0].split() == [
        *("0", "load", "LOAD", "source=dram[0x0]:int8[1x1x1x64]", "destination=sram[0x0]:int8[1x1x1x64]"),
        *(";", r"look\tup"),
    ]
    assert lines[2].split() == [
        *("2", "pe", "after", "load", "2", "TABLE_LOOKUP", "input=sram[0x0]:int8[1x1x1x64]"),
        *("table=sram[0x40]:uint8[1x256]", "output=sram[0x140]:int8[1x1x1x64]", ";", r"look\tup"),
    ]


@given(st.floats(width=32, allow_nan=False))
def test_float_parameters_are_told_apart(value):
    text = dump.number_text(value)
    assert struct.pack("<f", float(text)) == struct.pack("<f", value) and len(text) <= 16


def test_parameters_are_shown():
    assert dump.number_text(struct.unpack("<f", struct.pack("<f", 0.1))[0]) == "0.1"
    (line,) = list(dump.commands(typical("DEQUANTIZE").load()))[-1:]
    assert "scale=0.5 zero_point=0" in line


@pytest.mark.parametrize("name", COMPUTING)
def test_every_instruction_can_be_shown(name):
    enf = typical(name).load()
    assert len(list(dump.commands(enf))) == len(enf.commands)
    command = json.loads(json.dumps(dump.as_json(enf)))["commands"][-1]
    assert command["instruction"] == name
    assert list(command["params"]) == list(enf.commands[-1].instruction.param_names)


def test_json():
    out = json.loads(json.dumps(dump.as_json(hosted().load()), allow_nan=False))
    assert out["metadata"]["source_sha256"] == bytes(range(32)).hex()
    assert out["metadata"]["working_dram_bytes"] == 192
    assert out["interface"]["inputs"][0]["dtype"] == "int8"
    assert out["interface"]["inputs"][0]["quantization"]["zero_point"] == -3
    assert "quantization" not in out["interface"]["outputs"][0]
    assert out["plan"]["steps"][0] == {"commands": {"first": 0, "count": 4}}
    assert out["plan"]["steps"][1]["host_call"]["outputs"][0]["space"] == "dram"
    assert out["memory"]["sram_size"] == [64, 256, 64]
    assert out["debug"]["operators"] == [
        {"name": "look\tup", "op_type": "Table", "placed_on": "npu", "macs": 7, "unknown_macs": False}
    ]
    assert out["commands"][2]["waits"] == {"load": 2}
    assert out["commands"][3]["operands"]["destination"] == {
        "space": "dram",
        "dtype": "int8",
        "address": 64,
        "shape": [1, 1, 1, 64],
        "strides": [64, 64, 64, 1],
    }
    assert [s["name"] for s in out["sections"]][-1] == "constants"
