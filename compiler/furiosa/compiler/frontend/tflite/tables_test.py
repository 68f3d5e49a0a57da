"""Reading of tables: the fields that the reference runtime's own classes see, and what malformed bytes may not do."""

from __future__ import annotations

import random
import re
import struct
import time
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.errors import CompileError, InvalidFormat, InvalidModel
from furiosa.compiler.frontend.tflite.tables import Table, defaults, names, read_model
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, conv_model


def read(data: bytes) -> Table:
    return read_model(memoryview(data))


@pytest.fixture(scope="module")
def model() -> bytes:
    return conv_model(np.random.default_rng(0))


def same(ours: Any, theirs: Any) -> bool:
    """Whether a value equals what the object API of the reference runtime's schema has read."""
    if isinstance(ours, dict):
        return all(same(value, getattr(theirs, camel(name))) for name, value in ours.items())
    if isinstance(ours, list):
        return len(ours) == len(theirs or ()) and all(map(same, ours, theirs or ()))
    if isinstance(ours, np.ndarray):
        return ours.tolist() == ([] if theirs is None else theirs.tolist())
    return (ours.encode() if isinstance(ours, str) else ours) == theirs


def camel(name: str) -> str:
    return re.sub("_([a-z])", lambda m: m[1].upper(), name)


def test_tables_are_as_the_reference_classes_read_them(model: bytes) -> None:
    theirs = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    assert same(read(model), theirs)
    theirs.subgraphs[0].operators[0].builtinOptions.strideH += 1
    assert not same(read(model), theirs)


@pytest.mark.parametrize("union", [schema.BuiltinOptions, schema.BuiltinOptions2], ids=lambda u: u.__name__)
def test_defaults_of_all_options(union: type) -> None:
    for value, name in names(union).items():
        if value:
            assert same(defaults(name), getattr(schema, f"{name}T")()), name


def test_constants_are_views_of_the_file(model: bytes) -> None:
    data = read(model)["buffers"][1]["data"]
    assert np.shares_memory(np.frombuffer(model, np.uint8), data) and not data.flags.writeable


class _NewerCode(schema.OperatorCodeT):
    """Has a field that nobody knows yet."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        builder.StartObject(9)
        builder.PrependInt32Slot(8, 1, 0)
        return builder.EndObject()


class _NewerOperator(schema.OperatorT):
    """Has options of a kind that nobody knows yet."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        builder.StartObject(0)
        unknown = builder.EndObject()
        schema.OperatorStart(builder)
        schema.OperatorAddBuiltinOptions2Type(builder, 99)
        schema.OperatorAddBuiltinOptions2(builder, unknown)
        return schema.OperatorEnd(builder)


def test_newer_files_are_refused() -> None:
    b = ModelBuilder()
    b.model.operatorCodes.append(_NewerCode())
    with pytest.raises(InvalidModel, match="a OperatorCode uses a field that this compiler's"):
        read(b.build([], []))
    b = ModelBuilder()
    b.graph.operators.append(_NewerOperator())
    with pytest.raises(InvalidModel, match="BuiltinOptions2 has member 99 that this"):
        read(b.build([], []))


def test_every_truncation_and_many_edits_end_in_a_clean_error(model: bytes) -> None:
    for n in range(0, len(model), 7):
        with pytest.raises(InvalidFormat, match=f"not a whole TFLite file \\({n} bytes\\)"):
            read(model[:n])
    r = random.Random(0)
    for _ in range(500):
        damaged = bytearray(model)
        damaged[r.randrange(len(model))] = r.randrange(256)
        try:
            read(bytes(damaged))
        except CompileError:
            pass


def test_parts_reached_many_times_are_limited() -> None:
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
    with pytest.raises(InvalidFormat, match="more tables, vectors and strings than it has room for"):
        read(bytes(out))
    assert time.perf_counter() - begin < 20


def test_shared_strings_are_limited() -> None:
    """1000 metadata entries, all with the one name of 100,000 characters."""

    class SharedName(schema.MetadataT):
        def Pack(self, builder: flatbuffers.Builder) -> int:
            name = builder.CreateSharedString(self.name)
            schema.MetadataStart(builder)
            schema.MetadataAddName(builder, name)
            return schema.MetadataEnd(builder)

    b = ModelBuilder()
    b.model.metadata = [SharedName(name="n" * 100_000)] * 3
    assert [m["name"] for m in read(b.build([], []))["metadata"]] == ["n" * 100_000] * 3
    b.model.metadata *= 333
    with pytest.raises(InvalidFormat, match="than it has room for"):
        read(b.build([], []))
