"""Round trips of the flatbuffer reader and writer, and what malformed bytes may not do."""

from __future__ import annotations

import random
import struct
import time

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as official

from furiosa.compiler.frontend.tflite.flatbuffer import Malformed, Reader, UnknownField, Writer
from furiosa.compiler.frontend.tflite.testing import conv_model


def read(data: bytes) -> dict:
    return Reader(memoryview(data)).root("Model")


@pytest.fixture(scope="module")
def model() -> bytes:
    return conv_model(np.random.default_rng(0))


def test_written_model_reads_back_the_same(model: bytes) -> None:
    tables = read(model)
    again = Writer(b"TFL3").finish(tables, "Model")
    assert repr(read(again)) == repr(tables)
    assert again[4:8] == b"TFL3"
    assert Writer(b"TFL3").finish(tables, "Model") == again


def test_reference_classes_read_what_is_written(model: bytes) -> None:
    again = Writer(b"TFL3").finish(read(model), "Model")
    theirs = official.ModelT.InitFromObj(official.Model.GetRootAs(again))
    op = theirs.subgraphs[0].operators[0]
    assert (op.builtinOptions.strideH, op.builtinOptions.fusedActivationFunction) == (2, 3)
    weights = theirs.subgraphs[0].tensors[1]
    assert weights.name == b"w" and weights.quantization.scale.dtype == np.float32
    original = official.ModelT.InitFromObj(official.Model.GetRootAs(model))
    assert np.array_equal(theirs.buffers[weights.buffer].data, original.buffers[weights.buffer].data)


def test_big_data_are_aligned_to_16_bytes(model: bytes) -> None:
    again = Writer(b"TFL3").finish(read(model), "Model")
    start = np.frombuffer(again, np.uint8).ctypes.data
    for buffer in read(again)["buffers"][1:]:
        assert (buffer["data"].ctypes.data - start) % 16 == 0


def test_constants_are_views_of_the_file(model: bytes) -> None:
    whole = np.frombuffer(model, np.uint8)
    data = read(model)["buffers"][1]["data"]
    assert np.shares_memory(whole, data) and not data.flags.writeable


def test_every_truncation_and_many_edits_end_in_a_clean_error(model: bytes) -> None:
    r = random.Random(0)
    for n in range(0, len(model), 7):
        with pytest.raises((Malformed, UnknownField)):
            read(model[:n])
    for _ in range(2000):
        damaged = bytearray(model)
        damaged[r.randrange(len(model))] = r.randrange(256)
        try:
            read(bytes(damaged))
        except (Malformed, UnknownField):
            pass


def test_tables_reached_many_times_are_limited() -> None:
    """One subgraph named by 100,000 offsets, each of which would unfold its 100,000 tensors."""
    n = 100_000
    # root -> Model(subgraphs in slot 2); the vectors point at one SubGraph (tensors in slot 0) and one empty Tensor.
    out = bytearray(struct.pack("<I4s", 20, b"TFL3"))
    out += struct.pack("<5H2x", 10, 8, 0, 0, 4)  # vtable of Model at 8
    model_at = len(out)
    out += struct.pack("<iI", model_at - 8, 4)
    subgraphs_at = len(out)
    out += struct.pack("<I", n) + bytes(4 * n)
    vtable = len(out)
    out += struct.pack("<3H2x", 6, 8, 4)
    subgraph_at = len(out)
    out += struct.pack("<iI", subgraph_at - vtable, 4)
    tensors_at = len(out)
    out += struct.pack("<I", n) + bytes(4 * n)
    empty = len(out)
    out += struct.pack("<2H", 4, 4)
    tensor_at = len(out)
    out += struct.pack("<i", tensor_at - empty)
    for at, target in ((subgraphs_at, subgraph_at), (tensors_at, tensor_at)):
        slots = np.arange(at + 4, at + 4 + 4 * n, 4)
        out[at + 4 : at + 4 + 4 * n] = (target - slots).astype("<u4").tobytes()
    struct.pack_into("<I", out, 0, model_at)
    begin = time.perf_counter()
    with pytest.raises(Malformed, match="more tables"):
        read(bytes(out))
    assert time.perf_counter() - begin < 20
