"""Ranges in a model's metadata: their text, and a model that compiles by them."""

from __future__ import annotations

import onnx
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.pipeline import compile_model
from furiosa.quantizer.affine import Range
from furiosa.quantizer.calibrate.ranges import calibrate
from furiosa.quantizer.graph.load import load
from furiosa.quantizer.int8 import quantize
from furiosa.quantizer.stated import RANGES_KEY, format_ranges, parse_ranges, plan_stated, stated
from furiosa.quantizer.testing import network, samples

NAMES = ["x", "a/b:0", "with space", 'quo"te', "it's", "- dash", "é", "-start", "a: b", "[", "1", "true"]


def test_what_is_written_is_read():
    ranges = {n: Range(-float(i), i / 3) for i, n in enumerate(NAMES)}
    assert parse_ranges(format_ranges(ranges)) == ranges


@pytest.mark.parametrize(
    "text",
    [
        "a: [-1.5, 2]\nb/c:0: [0, 1e-3]\n",
        "---\n# ranges\na:\n- -1.5\n- 2\nb/c:0:\n  - 0.0\n  - 1.0e-3\n",
        "'a': [-1.5,2.0]\n\n\"b/c:0\": [0, 0.001]",
        '{"a": [-1.5, 2], "b/c:0": [0, 0.001]}',
    ],
)
def test_forms_of_other_writers(text: str):
    assert parse_ranges(text) == {"a": (-1.5, 2.0), "b/c:0": (0.0, 0.001)}


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("a: [1]", "'a' has 1, not two numbers"),
        ("a: [1, 2, 3]", "not two numbers"),
        ("a:\n- 1\n", "not two numbers"),
        ("a: [x, 2]", "not two numbers"),
        ("a: [2, 1]", "2 to 1 of 'a' is no range"),
        ("a: [.nan, 1]", "not two numbers"),
        ("a: [nan, 1]", "is no range"),
        ("a: [0, inf]", "is no range"),
        ("a", "line 1 is not of the form"),
        ("- 1\n", "line 1 is not of the form"),
        ('"a\\q": [0, 1]', "has an escape that is not known"),
        ("{", "is not JSON"),
        ('{"a": 1}', r"'a' has no \[min, max\]"),
    ],
)
def test_text_of_another_form(text: str, sentence: str):
    with pytest.raises(InvalidModel, match=f"^{RANGES_KEY}.*{sentence}"):
        parse_ranges(text)


def with_properties(data: bytes, **properties: str) -> bytes:
    proto = onnx.ModelProto.FromString(data)
    for key, value in properties.items():
        proto.metadata_props.add(key=key.replace("_", "."), value=value)
    return proto.SerializeToString()


def test_a_model_compiles_by_its_ranges():
    data = network()
    graph = load(data)
    found = calibrate(graph, samples(data, 4))
    ranges = {n: Range(h.low, h.high) for n, h in found.tensors.items()}
    carrying = with_properties(data, FurisoaAI_CalibrationResult=format_ranges(ranges))
    by_hand = quantize(graph, found).model
    enf, expected = compile_model(carrying, min_npu_coverage=1.0), compile_model(by_hand)
    assert len(enf) == len(expected) and enf != expected  # but for the digest of the source
    batch = compile_model(carrying, batch_size=2, min_npu_coverage=1.0)
    assert batch != enf


def test_ranges_that_lack_a_tensor():
    carrying = with_properties(network(), FurisoaAI_CalibrationResult="x: [0, 1]\n")
    with pytest.raises(InvalidModel, match="there is no range for the tensor"):
        compile_model(carrying)


@pytest.mark.parametrize(
    "types", ["[]", "{", '{"x": {}}', '{"x": {"type": "int4"}}', '{"x": {"type": "int8", "range": 3}}']
)
def test_types_of_another_form(types: str):
    carrying = with_properties(
        network(), FurisoaAI_CalibrationResult="x: [0, 1]\n", furiosa_quantizer_types=types
    )
    with pytest.raises(InvalidModel, match="the metadata furiosa.quantizer.types"):
        stated(carrying)


def test_a_model_without_ranges_states_nothing():
    assert stated(network()) is None
    assert stated(b"no model") is None


def test_a_fixed_range_wins():
    data = network()
    ranges = format_ranges(
        {n: Range(-1, 1) for n in ("x", *(op.outputs[0].name for op in load(data).operators))}
    )
    types = '{"y": {"type": "uint8", "range": [0, 0.5]}}'
    carrying = with_properties(data, FurisoaAI_CalibrationResult=ranges, furiosa_quantizer_types=types)
    plan = plan_stated(carrying, stated(carrying))
    by = {t.name: a for t, a in plan.affines().items()}
    assert by["y"].scale == pytest.approx(0.5 / 255) and by["y"].zero_point == -128
