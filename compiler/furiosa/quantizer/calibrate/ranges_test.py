"""Calibration and its file."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from furiosa.compiler.errors import InvalidConfig, InvalidFormat, InvalidModel
from furiosa.compiler.frontend.onnx.testing import model
from furiosa.quantizer.calibrate.ranges import calibrate, from_json, to_json
from furiosa.quantizer.graph.load import load
from furiosa.quantizer.samples import Sample
from furiosa.quantizer.testing import network, samples


@pytest.fixture(scope="module")
def data() -> bytes:
    return network()


def test_order_and_split_leave_the_same_bytes(data: bytes):
    graph, given = load(data), samples(data)
    whole = to_json(calibrate(graph, given))
    assert to_json(calibrate(load(data), given[::-1])) == whole
    parts = [calibrate(graph, given[i::3]) for i in range(3)]
    merged = from_json(to_json(parts[2]), "part")
    merged.merge(parts[0])
    merged.merge(parts[1])
    assert to_json(merged) == whole
    assert to_json(from_json(whole, "whole")) == whole


def test_every_float_tensor_has_its_ends(data: bytes):
    graph = load(data)
    (sample,) = samples(data, 1)
    found = calibrate(graph, [sample])
    assert set(found.tensors) == {"x", *(op.outputs[0].name for op in graph.operators)}
    assert (found.tensors["x"].low, found.tensors["x"].high) == (sample.arrays["x"].min(), 12)
    assert found.tensors["r1"].low == 0 and found.tensors["r1"].zeros > 0


def test_memory_does_not_grow_with_samples(data: bytes):
    graph, given = load(data), samples(data, 4)
    calibrate(graph, given)

    def peak(count: int) -> int:
        tracemalloc.start()
        calibrate(graph, (given[i % 4] for i in range(count)))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(40) < 1.2 * peak(4)


def test_samples_that_are_none(data: bytes):
    with pytest.raises(InvalidConfig, match="no sample"):
        calibrate(load(data), [])
    bad = samples(data, 2)
    bad[1].arrays["x"][0, 0, 0, 0] = np.nan
    with pytest.raises(InvalidModel, match="sample 2: tensor 'x' has values that are NaN"):
        calibrate(load(data), bad)
    log = load(model("g (float[1,4] x) => (float[1,4] y) { y = Log(x) }"))
    with pytest.raises(InvalidModel, match="sample 1: tensor 'y' has values that are infinite"):
        calibrate(log, [Sample("sample 1", {"x": np.zeros((1, 4), np.float32)})])


def test_another_model_is_told(data: bytes):
    first, second = (calibrate(load(m), samples(m, 1)) for m in (data, network(9)))
    with pytest.raises(InvalidConfig, match="different models"):
        first.merge(second)


def edited(data: bytes, **changes: object) -> bytes:
    found = calibrate(load(data), samples(data, 1))
    content = json.loads(to_json(found))
    content["tensors"]["x"] |= changes
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"bins": [0, 1, 0, 1]},
        {"bins": [0, -1]},
        {"bins": [1, 1] * 5000},
        {"bins": [[1 << 70, 1]]},
        {"bins": [1.5]},
        {"min": "NaN"},
        {"max": None},
        {"min": 5.0, "max": 1.0},
        {"exponent": 10**9},
        {"zeros": -1},
    ],
)
def test_a_damaged_file_is_told(data: bytes, changes: dict[str, object]):
    with pytest.raises(InvalidFormat, match="^f.json: not a calibration file, or a damaged one"):
        from_json(edited(data, **changes), "f.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"format": 3}', b"[" * 100_000])
def test_no_calibration_at_all(content: bytes):
    with pytest.raises(InvalidFormat, match="^f.json: not a calibration file"):
        from_json(content, "f.json")
