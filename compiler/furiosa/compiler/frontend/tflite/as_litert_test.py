"""What a file may state, field by field: accepted where LiteRT accepts it and refused where that does, with the same meaning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from furiosa.compiler.errors import CompileError
from furiosa.compiler.frontend.tflite import versions
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder

Change = Callable[[ModelBuilder], None]


def _maximum(change: Change = lambda b: None) -> bytes:
    """y = max(x, w) of int8 [1, 4], changed."""
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], scale=0.5), b.tensor("y", [1, 4], scale=0.5)
    w = b.tensor("w", [1, 4], data=[1, 2, 3, 4], scale=0.5)
    b.operator("MAXIMUM", [x, w], [y])
    change(b)
    return b.build([x], [y])


def _of_w(**fields: object) -> Change:
    return lambda b: [setattr(b.graph.tensors[2], *item) for item in fields.items()] and None


def _quantization(**fields: object) -> Change:
    return lambda b: [setattr(b.graph.tensors[2].quantization, *item) for item in fields.items()] and None


def _buffer(**fields: object) -> Change:
    return lambda b: [setattr(b.model.buffers[1], *item) for item in fields.items()] and None


def _code(**fields: object) -> Change:
    return lambda b: [setattr(b.model.operatorCodes[0], *item) for item in fields.items()] and None


def _bytes(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


# name: (change, whether LiteRT takes it)
CASES: dict[str, tuple[Change, bool]] = {
    "as it is": (lambda b: None, True),
    "no zero point": (_quantization(zeroPoint=None), False),
    "an empty vector of zero points": (_quantization(zeroPoint=np.zeros(0, np.int64)), False),
    "more zero points than scales": (_quantization(zeroPoint=np.zeros(2, np.int64)), False),
    "neither": (_quantization(zeroPoint=None, scale=None), True),
    "a dimension beyond the rank, of one scale": (_quantization(quantizedDimension=2), False),
    "a negative dimension": (_quantization(quantizedDimension=-1), False),
    "another dimension, of one scale": (_quantization(quantizedDimension=1), True),
    "scales of another number": (
        _quantization(scale=np.ones(3, np.float32), zeroPoint=np.zeros(3, np.int64), quantizedDimension=1),
        False,
    ),
    "a buffer that is not there": (_of_w(buffer=9), False),
    "too few bytes": (_buffer(data=_bytes(1, 2, 3)), False),
    "no bytes": (_buffer(data=_bytes()), False),
    "more bytes than needed": (_buffer(data=_bytes(1, 2, 3, 4, 5)), True),
    "data and an offset": (_buffer(offset=3, size=4), True),
    "an offset out of the file": (_buffer(data=None, offset=1 << 20, size=4), False),
    "a variable with data": (_of_w(isVariable=True), False),
    "a variable": (_of_w(isVariable=True, buffer=0), True),
    "data in another file, too": (_of_w(externalBuffer=1), False),
    "a negative size": (_of_w(shape=[1, -4]), False),
    "a size of the signature's": (_of_w(shapeSignature=[-1, 4]), True),
    "no name": (_of_w(name=None), True),
    "version 0": (_code(version=0), False),
    "a version of the future": (_code(version=99), False),
    "an unknown operator": (_code(builtinCode=999), False),
    "an operator without a kernel": (_code(builtinCode=29, deprecatedBuiltinCode=29), False),
    "a custom operator without a name": (_code(builtinCode=32, deprecatedBuiltinCode=32), False),
    "schema version 4": (lambda b: setattr(b.model, "version", 4), False),
    "no subgraph": (
        lambda b: (
            b.model.subgraphs.append(b.model.subgraphs.pop()) or setattr(b.model.subgraphs[0], "tensors", [])
        ),
        False,
    ),
    "a tensor that is not there": (lambda b: setattr(b.graph.operators[0], "inputs", [0, 7]), False),
    "a code that is not there": (lambda b: setattr(b.graph.operators[0], "opcodeIndex", 7), False),
    "an unknown type": (_of_w(type=99), False),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_file_may_state(name: str) -> None:
    change, is_taken = CASES[name]
    model = _maximum(change)

    def is_taken_by(load: Callable[[bytes], object], *errors: type[Exception]) -> bool:
        try:
            load(model)
        except errors:
            return False
        return True

    def litert(model: bytes) -> None:
        Interpreter(model_content=model).allocate_tensors()

    assert is_taken_by(litert, ValueError, RuntimeError) is is_taken
    assert is_taken_by(import_tflite, CompileError) is is_taken


def test_values_are_those_that_litert_has() -> None:
    """Of a buffer in the file's body, behind it, and longer than needed."""
    behind = _maximum(_buffer(data=None, offset=2, size=4))
    behind = _maximum(_buffer(data=None, offset=len(behind), size=4)) + bytes([1, 2, 3, 4])
    longer = _maximum(_buffer(data=_bytes(1, 2, 3, 4, 5)))
    for model in (_maximum(), behind, longer, _maximum(_buffer(offset=3, size=4))):
        interpreter = Interpreter(model_content=model)
        interpreter.allocate_tensors()
        (constant,) = (t for op in import_tflite(model).operators for t in op.inputs if t.is_constant)
        np.testing.assert_array_equal(interpreter.get_tensor(2), constant.data)
        assert constant.data.tolist() == [[1, 2, 3, 4]]


def _versions(name: str) -> list[int]:
    """Those that this LiteRT has a kernel for."""
    b = ModelBuilder()
    b.tensor("x", [1])
    number = getattr(schema.BuiltinOperator, name)
    found = []
    for version in range(20):
        code = schema.OperatorCodeT(
            builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=version
        )
        b.model.operatorCodes = [code]
        try:
            Interpreter(model_content=b.build([0], [0]))
        except ValueError:
            continue
        found.append(version)
    return found


def test_versions_are_those_of_the_runtime() -> None:
    numbers = {n: v for n, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    for name in numbers.keys() - {"CUSTOM", "PLACEHOLDER_FOR_GREATER_OP_CODES"}:
        ours = range(versions.OLDEST.get(name, 1), versions.NEWEST.get(name, -1) + 1)
        assert _versions(name) == [*ours], name
