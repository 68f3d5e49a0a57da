"""Splitting big constants off a serialised model and putting them back."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest

from furiosa.compiler.frontend.onnx import wire
from furiosa.compiler.frontend.onnx.testing import model, tensor

BIG = np.arange(1000, dtype=np.float32)


@pytest.fixture(scope="module")
def data() -> bytes:
    return model(
        "g (float[1000] x) => (float[1000] z) { y = Add(x, big)  z = Mul(y, small) }",
        tensor("small", [2.0], "float32"),
        tensor("big", BIG),
    )


def test_split_and_join(data: bytes) -> None:
    small, big = wire.split(memoryview(data))
    assert list(big) == [1] and len(small) < len(data) - BIG.nbytes + 16
    assert np.array_equal(np.frombuffer(big[1], np.float32), BIG)
    assert np.shares_memory(np.frombuffer(big[1], np.uint8), np.frombuffer(data, np.uint8))
    proto = onnx.ModelProto.FromString(small)
    expected = onnx.ModelProto.FromString(data)
    head = proto.graph.initializer.pop(1).SerializeToString()
    assert onnx.ModelProto.FromString(wire.join(proto.SerializeToString(), [(head, big[1])])) == expected


def test_a_graph_in_two_pieces(data: bytes) -> None:
    """Protobuf merges repeated occurrences of a message field; initialisers are counted through them."""
    small, big = wire.split(memoryview(data))
    proto = onnx.ModelProto.FromString(small)
    head = proto.graph.initializer.pop(1).SerializeToString()
    pieces = wire.join(proto.SerializeToString(), [(head, big[1])])
    assert list(wire.split(memoryview(pieces))[1]) == [1]


def test_damaged_bytes_are_malformed_or_harmless(data: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.split(memoryview(data[: len(data) // 2]))
    with pytest.raises(wire.Malformed, match="cut off"):
        wire.split(memoryview(b"\xff" * 20))
    r = random.Random(0)
    for _ in range(2000):
        damaged = bytearray(data[:300])
        damaged[r.randrange(len(damaged))] = r.randrange(256)
        try:
            wire.split(memoryview(bytes(damaged)))
        except wire.Malformed:
            pass
