"""Operators of a TFLite file as they are, unchecked, as a graph of which ``extract`` makes models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.dfg.graph import Operator, Quantization, Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.select import Part, dtype_name, placeholder
from furiosa.compiler.frontend.tflite.tables import Table, builtin_code, names
from furiosa.compiler.selection import Shape


def type_name(model: Table, op: Table) -> str:
    """The type of an operator."""
    codes = model["operator_codes"]
    if op["opcode_index"] >= len(codes):
        raise InvalidModel(
            f"an operator refers to operator code {op['opcode_index']}, but the model has {len(codes)}"
        )
    code = codes[op["opcode_index"]]
    number = builtin_code(code)
    return names(schema.BuiltinOperator).get(number, f"operator code {number}")


class Raw:
    """The tensors of a part, made where they are first asked for; ``shapes`` and ``values`` take the place of the file's."""

    def __init__(self, part: Part) -> None:
        self._source, self._tables = part.source, part.tables
        # what is no constant
        self._computed = {i for _, op in part.operators for i in op["outputs"].tolist()}
        self._computed.update(i for _, i in part.entry.inputs)
        self.shapes: dict[int, Shape] = {}
        self.values: dict[int, np.ndarray] = {}  # bytes, uint8 [n]
        self._tensors: dict[int, Tensor] = {}

    def tensor(self, index: int) -> Tensor:
        """A tensor; the same for the same number.

        Raises:
            InvalidModel: there is none of this number, or its constant leads out of the file.
        """
        if index not in self._tensors:
            self._tensors[index] = self.new(index)
        return self._tensors[index]

    def new(self, index: int) -> Tensor:
        """A tensor of its own; raises as ``tensor``."""
        self.check(index)
        table = self._tables[index]
        shape = self.shapes.get(index, placeholder(table))
        data = self.constant(index)
        return Tensor(table["name"] or "", shape, dtype_name(table), _quantization(table), data)

    def check(self, index: int) -> None:
        """Raises InvalidModel where there is no tensor of this number."""
        if not 0 <= index < len(self._tables):
            raise InvalidModel(
                f"an operator refers to tensor {index}, but the model has {len(self._tables)} tensors"
            )

    def constant(self, index: int) -> np.ndarray | None:
        """The bytes of a constant, uint8 [n]; None of what is none."""
        if index in self.values:
            return self.values[index]
        table = self._tables[index]
        if index in self._computed or table["is_variable"]:
            return None
        data = self._source.buffer(table["buffer"], f'tensor "{table["name"]}"')
        # what has no elements needs no bytes: such is the new shape of a RESHAPE to a scalar
        return np.empty(0, np.uint8) if data is None and 0 in table["shape"] else data

    def operator(self, number: int, op: Table, outputs: Sequence[Tensor]) -> Operator:
        """An operator that makes these tensors; a variable is nobody's Tensor."""
        inputs = [None if i < 0 or self._is_variable(i) else self.tensor(i) for i in op["inputs"].tolist()]
        options = op["builtin_options"]
        attributes = {"new_shape": options["new_shape"].tolist()} if "new_shape" in (options or {}) else {}
        return Operator("", type_name(self._source.model, op), inputs, list(outputs), attributes, number)

    def _is_variable(self, index: int) -> bool:
        return index < len(self._tables) and bool(self._tables[index]["is_variable"])


def _quantization(table: Table) -> Quantization | None:
    q = table["quantization"]
    if q is None or not len(q["scale"]) or len(q["scale"]) != len(q["zero_point"]):
        return None
    return Quantization(q["scale"], q["zero_point"], q["quantized_dimension"])
