"""Cuts operators out of an imported TFLite model as a TFLite model of their own, for the reference runtime."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.builder import BuilderSizeError

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.borders import check_borders
from furiosa.compiler.frontend.tflite import variables
from furiosa.compiler.frontend.tflite.source import Source
from furiosa.compiler.frontend.tflite.tables import guarded

_IDENTIFIER = b"TFL3"
_OMITTED = -1  # the index of an optional input that is left out
_ROOM = 1 << 16  # bytes for what is no constant, to begin with
_ALIGNMENT = 16  # of Buffer.data, which the schema declares with force_align: 16


def extract(graph: Graph, operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor]) -> bytes:
    """Builds a TFLite model of ``operators`` (in execution order) with the given inputs and outputs.

    Options, quantisation, constants and names are those of the imported file; shapes, constants' values and the
    new shape of a RESHAPE are those of the dfg, which a batch size may have changed.  The same arguments give the same bytes.

    Raises:
        InvalidModel: a string, or state (a resource tensor), would have to cross the model's border; a subgraph refers
            to what is not there; the operators' constants take 2 GiB.
    """
    check_borders((*inputs, *outputs), "between host and NPU")
    model = _Extractor(graph.source).model(operators, inputs, outputs)
    size = sum(b.data.size for b in model.buffers if b.data is not None)
    try:
        builder = flatbuffers.Builder(size + _ROOM)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
    except BuilderSizeError:
        raise InvalidModel(
            f"operators for the host have {size} bytes of constants; the limit is 2 GiB"
        ) from None
    return bytes(builder.Output())


class _Buffer(schema.BufferT):
    def Pack(self, builder: flatbuffers.Builder) -> int:
        if self.data is not None:
            builder.Prep(_ALIGNMENT, self.data.size)
        return super().Pack(builder)


class _Extractor:
    def __init__(self, source: Source) -> None:
        self.source = source
        with guarded(source.data):
            self.file = schema.Model.GetRootAs(source.data, 0)
            self.subgraph = self.file.Subgraphs(source.subgraph)
        self.tensors: list[schema.TensorT] = []
        self.index: dict[int, int] = {}  # id of a Tensor, or ~index of a variable of the source -> index
        self.codes: dict[int, int] = {}
        self.buffers = [_Buffer()]  # by convention buffer 0 is empty
        self.stored: dict[tuple[int, int], int] = {}  # (address, length) of a constant -> buffer

    def model(self, operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor]) -> schema.ModelT:
        operators = variables.opened(operators)
        with guarded(self.source.data):
            tables = [schema.OperatorT.InitFromObj(self.subgraph.Operators(op.source)) for op in operators]
        for op, table in zip(operators, tables, strict=True):
            self._operator(op, table)
        main = schema.SubGraphT(
            tensors=self.tensors,
            inputs=_int32([self._boundary(t) for t in inputs]),
            outputs=_int32([self._boundary(t) for t in outputs]),
            operators=tables,
            name="main",
        )
        subgraphs = [main, *self._called(tables)]
        with guarded(self.source.data):
            codes = [schema.OperatorCodeT.InitFromObj(self.file.OperatorCodes(k)) for k in self.codes]
        return schema.ModelT(
            version=self.source.model["version"],
            operatorCodes=codes,
            subgraphs=subgraphs,
            buffers=self.buffers,
        )

    def _operator(self, op: Operator, table: schema.OperatorT) -> None:
        """Rewrites what an operator of the source refers to."""
        self._complete(table)
        table.inputs = self._operands(table.inputs, op.inputs)
        table.outputs = self._operands(table.outputs, op.outputs)
        if table.intermediates is not None:
            table.intermediates = _int32([self._tensor(~i, i) for i in table.intermediates.tolist()])
        if op.op_type == "RESHAPE" and table.builtinOptions is not None:
            table.builtinOptions.newShape = _int32(op.attributes["new_shape"])

    def _complete(self, table: schema.OperatorT) -> None:
        """Renumbers the operator code, and moves custom options from behind the flatbuffer into it."""
        known = len(self.source.model["operator_codes"])
        if table.opcodeIndex >= known:
            raise InvalidModel(
                f"an operator refers to operator code {table.opcodeIndex}, but the model has {known}"
            )
        table.opcodeIndex = self.codes.setdefault(table.opcodeIndex, len(self.codes))
        offset, size = table.largeCustomOptionsOffset, table.largeCustomOptionsSize
        table.largeCustomOptionsOffset = table.largeCustomOptionsSize = 0
        if table.customOptions is None and offset > 1:
            table.customOptions = self.source.behind(offset, size, "an operator's custom options")

    def _operands(self, indices: np.ndarray | None, operands: list[Tensor | None]) -> np.ndarray:
        result = []
        for i, tensor in zip([] if indices is None else indices.tolist(), operands, strict=True):
            if tensor is not None:
                result.append(self._tensor(id(tensor), i, tensor))
            else:
                result.append(self._tensor(~i, i) if i >= 0 else _OMITTED)
        return _int32(result)

    def _tensor(self, key: int, i: int, tensor: Tensor | None = None) -> int:
        """The new index of tensor ``i`` of the source; a variable of the source has no Tensor."""
        if key in self.index:
            return self.index[key]
        table = self._table(i)
        signature = table.shapeSignature if i in self.source.open else None
        index = self._add(key, table, tensor)
        table.shapeSignature = signature
        details = table.quantization.details if table.quantization is not None else None
        for name in ("scales", "zeroPoints"):
            parameter = getattr(details, name, _OMITTED)  # the number of a tensor
            if parameter >= 0:
                setattr(details, name, self._parameter(parameter))
        return index

    def _table(self, i: int) -> schema.TensorT:
        known = len(self.source.model["subgraphs"][self.source.subgraph]["tensors"])
        if not 0 <= i < known:
            raise InvalidModel(f"an operator refers to tensor {i}, but the model has {known} tensors")
        with guarded(self.source.data):
            return schema.TensorT.InitFromObj(self.subgraph.Tensors(i))

    def _parameter(self, i: int) -> int:
        """The new index of a constant that the quantisation of a tensor refers to."""
        if ~i in self.index:
            return self.index[~i]
        table = self._table(i)
        data = self.source.buffer(table.buffer, f"the quantisation of a tensor by tensor {i}")
        table.quantization = None
        index = self._add(~i, table, None)
        table.buffer = 0 if data is None else self._buffer(data)
        return index

    def _boundary(self, tensor: Tensor) -> int:
        """The index of an input or output, which no operator needs to touch."""
        if id(tensor) in self.index:
            return self.index[id(tensor)]
        table = schema.TensorT(name=tensor.name, type=getattr(schema.TensorType, tensor.dtype.upper()))
        if tensor.quantization is not None:
            q = tensor.quantization
            table.quantization = schema.QuantizationParametersT(
                scale=q.scale, zeroPoint=q.zero_point.astype(np.int64), quantizedDimension=q.axis or 0
            )
        return self._add(id(tensor), table, tensor)

    def _add(self, key: int, table: schema.TensorT, tensor: Tensor | None) -> int:
        table.buffer, table.shapeSignature = 0, None
        table.name = _utf8(table.name)
        if tensor is not None:
            table.shape = _int32(tensor.shape)
            table.isVariable = False  # a variable that is only read is a constant
            if tensor.data is not None:
                table.buffer = self._buffer(tensor.data)
        self.index[key] = len(self.tensors)
        self.tensors.append(table)
        return self.index[key]

    def _buffer(self, data: np.ndarray) -> int:
        data = np.ascontiguousarray(data)
        if not data.nbytes:
            return 0
        key = (data.__array_interface__["data"][0], data.nbytes)
        if key not in self.stored:
            self.stored[key] = len(self.buffers)
            self.buffers.append(_Buffer(data=data.reshape(-1).view(np.uint8)))
        return self.stored[key]

    def _called(self, tables: list[schema.OperatorT]) -> list[schema.SubGraphT]:
        """The subgraphs that operators run, directly or through others, in the file's order; calls get the new numbers."""
        count = len(self.source.model["subgraphs"])
        calls = [call for table in tables for call in _calls(table)]
        found: dict[int, schema.SubGraphT] = {}
        for options, name in calls:  # which grows
            for i in np.atleast_1d(getattr(options, name)).tolist():
                if 0 <= i < count and i != self.source.subgraph and i not in found:
                    found[i] = self._subgraph(i)
                    calls += [call for table in found[i].operators or () for call in _calls(table)]
        numbers = {i: n for n, i in enumerate([self.source.subgraph, *sorted(found)])}
        for options, name in calls:
            old = getattr(options, name)
            new = [numbers.get(i, i) for i in np.atleast_1d(old).tolist()]
            setattr(options, name, new[0] if isinstance(old, int) else _int32(new))
        return [found[i] for i in sorted(found)]

    def _subgraph(self, i: int) -> schema.SubGraphT:
        """A subgraph as it is in the file but for the numbers of buffers and operator codes."""
        with guarded(self.source.data):
            subgraph = schema.SubGraphT.InitFromObj(self.file.Subgraphs(i))
        for table in subgraph.tensors or ():
            buffer = self.source.buffer(table.buffer, f"a tensor of subgraph {i}")
            table.buffer = 0 if buffer is None else self._buffer(buffer)
        for table in subgraph.operators or ():
            self._complete(table)
        return subgraph


def _utf8(name: bytes | str | None) -> bytes | str | None:
    """A name that the runtime can decode; one that is UTF-8 stays as it is."""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name


def _int32(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int32)


def _calls(table: schema.OperatorT) -> list[tuple[object, str]]:
    """The options, and the names of those of their fields, by which an operator names subgraphs (IF, WHILE, CALL_ONCE, STABLEHLO_REDUCE, …)."""
    options = [o for o in (table.builtinOptions, table.builtinOptions2) if o is not None]
    return [
        (o, name)
        for o in options
        for name, value in vars(o).items()
        if "subgraph" in name.lower() and value is not None
    ]
