"""Cuts operators out of an imported TFLite model as a TFLite model of their own, for the reference runtime."""

from __future__ import annotations

from typing import Any

import numpy as np

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.borders import check_borders
from furiosa.compiler.frontend.tflite.flatbuffer import Table, Writer
from furiosa.compiler.frontend.tflite.schema import members

_IDENTIFIER = b"TFL3"
_OMITTED = -1  # the index of an optional input that is left out


def extract(graph: Graph, operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor]) -> bytes:
    """Builds a TFLite model of ``operators`` (in execution order) with the given inputs and outputs.

    Options, quantisation, constants and names are those of the imported file; shapes, constants' values and the
    new shape of a RESHAPE are those of the dfg, which a batch size may have changed.  The same arguments give the same bytes.

    Raises:
        InvalidModel: a string, or state (a resource tensor), would have to cross the model's border.
    """
    check_borders((*inputs, *outputs), "between host and NPU")
    return _Extractor(graph.source.model, graph.source.data).model(operators, inputs, outputs)


class _Extractor:
    def __init__(self, source: Table, data: memoryview) -> None:
        self.source = source
        self.data = data
        self.tensors: list[Table] = []
        self.index: dict[int, int] = {}  # id of a Tensor, or ~index of a variable of the source -> index
        self.codes: dict[int, int] = {}
        self.buffers: list[Table] = [{}]  # by convention buffer 0 is empty
        self.stored: dict[tuple[int, int], int] = {}  # (address, length) of a constant -> buffer

    def model(self, operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor]) -> bytes:
        subgraph = self.source["subgraphs"][0]
        tables = [self._operator(op, subgraph) for op in operators]
        main = {
            "tensors": self.tensors,
            "inputs": [self._boundary(t) for t in inputs],
            "outputs": [self._boundary(t) for t in outputs],
            "operators": tables,
            "name": "main",
        }
        others = self.source["subgraphs"][1:] if any(map(_calls_subgraph, tables)) else []
        model = {
            "version": self.source["version"],
            "subgraphs": [main, *map(self._subgraph, others)],
            "buffers": self.buffers,
        }
        model["operator_codes"] = [self.source["operator_codes"][k] for k in self.codes]
        return Writer(_IDENTIFIER).finish(model, "Model")

    def _operator(self, op: Operator, subgraph: Table) -> Table:
        table: Table = subgraph["operators"][op.source]
        changes: Table = {
            "opcode_index": self._code(table),
            "inputs": self._operands(table.get("inputs", ()), op.inputs, subgraph),
            "outputs": self._operands(table.get("outputs", ()), op.outputs, subgraph),
        }
        if "intermediates" in table:
            changes["intermediates"] = [
                self._tensor(~i, subgraph["tensors"][i]) for i in table["intermediates"].tolist()
            ]
        if op.op_type == "RESHAPE" and "builtin_options" in table:
            changes["builtin_options"] = {"new_shape": op.attributes["new_shape"]}
        return self._with_custom_options(table | changes)

    def _with_custom_options(self, table: Table) -> Table:
        """Moves custom options that lie behind the flatbuffer into it."""
        offset = table.pop("large_custom_options_offset", 0)
        size = table.pop("large_custom_options_size", 0)
        if offset > 1:
            if size > len(self.data) - offset:
                raise InvalidModel(f"custom options lead out of the file (offset {offset}, {size} bytes)")
            table["custom_options"] = np.frombuffer(self.data, np.uint8, size, offset)
        return table

    def _code(self, table: Table) -> int:
        return self.codes.setdefault(table.get("opcode_index", 0), len(self.codes))

    def _operands(self, indices: Any, operands: list[Tensor | None], subgraph: Table) -> list[int]:
        result = []
        for i, tensor in zip(indices, operands, strict=True):
            if tensor is not None:
                result.append(self._tensor(id(tensor), subgraph["tensors"][i], tensor))
            elif i >= 0:
                result.append(self._tensor(~int(i), subgraph["tensors"][i]))
            else:
                result.append(_OMITTED)
        return result

    def _tensor(self, key: int, table: Table, tensor: Tensor | None = None) -> int:
        """The index of a tensor; a variable of the source has no Tensor."""
        if key not in self.index:
            table = {k: v for k, v in table.items() if k not in ("buffer", "shape_signature")}
            if tensor is not None:
                table |= {"shape": tensor.shape}
                if tensor.data is not None:
                    table["buffer"] = self._buffer(tensor.data)
            self.index[key] = len(self.tensors)
            self.tensors.append(table)
        return self.index[key]

    def _boundary(self, tensor: Tensor) -> int:
        """The index of an input or output, which no operator needs to touch."""
        table: Table = {"name": tensor.name, "type": members("TensorType").index(tensor.dtype.upper())}
        if tensor.quantization is not None:
            q = tensor.quantization
            table["quantization"] = {
                "scale": q.scale,
                "zero_point": q.zero_point,
                "quantized_dimension": q.axis or 0,
            }
        return self._tensor(id(tensor), table, tensor)

    def _buffer(self, data: np.ndarray) -> int:
        data = np.ascontiguousarray(data)
        if not data.nbytes:
            return 0
        key = (data.__array_interface__["data"][0], data.nbytes)
        if key not in self.stored:
            self.stored[key] = len(self.buffers)
            self.buffers.append({"data": data.reshape(-1).view(np.uint8)})
        return self.stored[key]

    def _subgraph(self, subgraph: Table) -> Table:
        """A subgraph that control flow calls, unchanged but for the numbers of buffers and operator codes."""
        tensors = []
        for table in subgraph.get("tensors", []):
            buffer = self.source["buffers"][table.get("buffer", 0)].get("data")
            tensors.append(table | {"buffer": 0 if buffer is None else self._buffer(buffer)})
        operators = [
            self._with_custom_options(table | {"opcode_index": self._code(table)})
            for table in subgraph.get("operators", [])
        ]
        return subgraph | {"tensors": tensors, "operators": operators}


def _calls_subgraph(table: Table) -> bool:
    """Whether an operator names another subgraph (IF, WHILE, CALL_ONCE, STABLEHLO_REDUCE, …)."""
    options = table.get("builtin_options", {}) | table.get("builtin_options2", {})
    return any("subgraph" in name for name in options)
