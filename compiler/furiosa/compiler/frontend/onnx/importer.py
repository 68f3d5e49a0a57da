"""Imports an ONNX model as a dfg: every tensor typed, every shape static, constants as views of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidConfig, InvalidFormat, InvalidModel
from furiosa.compiler.frontend.onnx import checks, fold, shapes, wire
from furiosa.compiler.frontend.onnx.constants import CODES, Constants, check_size, dtype_name


@dataclass(slots=True, eq=False)
class Source:
    """What a host cluster needs of its model: versions, and the operator sets by domain ("" is the standard one)."""

    ir_version: int
    opsets: dict[str, int]


def import_onnx(
    data: bytes | memoryview,
    *,
    batch_size: int = 1,
    folder: str | None = None,
    real_folder: str | None = None,
) -> Graph:
    """Imports an ONNX model of opset 7 or newer.

    Operators keep the names and semantics of the model's opset (``graph.source.opsets[""]``), with every attribute
    that their schema gives a default; tensor attributes are numpy arrays, subgraphs stay messages.  Constant nodes
    and initialisers are constants, Identity and inference-time Dropout vanish, arithmetic on shapes is folded.
    An operator with subgraphs lists the outer tensors that they read after its own inputs.  ``Operator.source`` is
    the NodeProto.

    A tensor whose type numpy lacks ("bfloat16", "int4", …) has that name as its dtype, and a constant of it the
    stored bytes as data, uint8 [n]; values that are no tensors have dtype "sequence", "map" or "optional", shape ().

    Args:
        data: the bytes of the file; big constants stay views of them.
        batch_size: multiplies dimension 0 of every input and output; an open dimension 0 counts as 1.
        folder: where external data may lie; None refuses them.
        real_folder: where the model itself lies when ``folder`` holds links, as build sandboxes do.

    Raises:
        InvalidFormat: not a whole ONNX file.
        InvalidModel: a dynamic shape, an unknown operator, a reference to what is not there.
        InvalidConfig: the batch size is below 1.
        IoError: external data are missing.
    """
    if batch_size < 1:
        raise InvalidConfig(f"the batch size is {batch_size}; it must be at least 1")
    model, big = _parse(memoryview(data).toreadonly())
    source = Source(model.ir_version, checks.opsets(model))
    model.ir_version = max(model.ir_version, 4)  # since when an initialiser need not be an input as well
    if model.functions:
        model = checks.inline_functions(model)
    checks.check_text(model)
    checks.check_operators(model, source.opsets)
    checks.fix_inputs(model.graph)
    graph = _Importer(model, big, source, Constants(folder, real_folder)).graph()
    if batch_size != 1:
        from furiosa.compiler.frontend.onnx.batch import apply_batch

        apply_batch(graph, batch_size)
    return graph


def _parse(data: memoryview) -> tuple[onnx.ModelProto, dict[int, memoryview]]:
    try:
        small, big = wire.split(data)
        model = onnx.ModelProto.FromString(small)
    except (wire.Malformed, DecodeError) as e:
        raise InvalidFormat(f"not a whole ONNX or TFLite file ({len(data)} bytes): {e}") from None
    if not model.ir_version or not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InvalidFormat(f"not an ONNX or TFLite file: its {len(data)} bytes hold no ONNX graph")
    return model, big


class _Importer:
    def __init__(
        self, model: onnx.ModelProto, big: dict[int, memoryview], source: Source, constants: Constants
    ) -> None:
        self.model = model
        self.big = big
        self.source = source
        self.constants = constants
        self.types: dict[str, onnx.TypeProto] = {}
        self.tensors: dict[str, Tensor] = {}
        self.captured: set[str] = set()  # names that subgraphs read
        self.fixed: set[str] = set()  # names of inputs and constants
        self.names: set[str] = set()

    def graph(self) -> Graph:
        graph = self.model.graph
        for i, message in enumerate(graph.initializer):
            dtype, shape, data = self.constants.read(message, self.big.get(i))
            self._define(Tensor(message.name, shape, dtype, data=data))
        self.types = shapes.infer(self.model)
        while self._fold() and not self._all_known():
            self.types = shapes.infer(self.model)
        for value in graph.input:
            self._define(self._typed(value.name, "input"))
        inputs = [self.tensors[value.name] for value in graph.input]
        outputs = {value.name for value in graph.output}
        self.fixed = set(self.tensors)
        for node in graph.node:
            self.captured.update(checks.free_names(node))
        operators = []
        for i, node in enumerate(graph.node):
            if not self._fold_trivial(node, outputs):
                operators.append(self._operator(i, node))
        result = []
        for value in graph.output:
            if value.name not in self.tensors:
                raise InvalidModel(f'the output "{value.name}" is computed by no operator')
            result.append(self.tensors[value.name])
        live = _live(operators, result)
        return Graph("onnx", graph.name or "main", inputs, result, live, self.source)

    def _all_known(self) -> bool:
        names = (name for node in self.model.graph.node for name in node.output if name)
        return all(name in self.types and shapes.static_shape(self.types[name]) is not None for name in names)

    def _fold(self) -> bool:
        """Makes the results of nodes on constants initialisers; whether that was so for any node."""
        graph = self.model.graph
        kept = []
        for node in graph.node:
            tensor = self._folded(node)
            if tensor is None:
                kept.append(node)
                continue
            self._define(tensor)
            message = onnx.TensorProto(name=tensor.name, dims=tensor.shape, data_type=CODES[tensor.dtype])
            if tensor.data.nbytes <= wire.SMALL:
                message.raw_data = tensor.data.tobytes()
            graph.initializer.append(message)
        if len(kept) == len(graph.node):
            return False
        del graph.node[:]
        graph.node.extend(kept)
        return True

    def _folded(self, node: onnx.NodeProto) -> Tensor | None:
        if checks.domain_of(node.domain) or len(node.output) != 1:
            return None
        name = node.output[0]
        if node.op_type == "Constant":
            return self._constant(node)
        known = shapes.static_shape(self.types[name]) if name in self.types else None
        attributes = {a.name: self._value(a, node.op_type) for a in node.attribute}
        if node.op_type in ("Shape", "Size"):
            source = self.types.get(node.input[0])
            shape = shapes.static_shape(source) if source is not None else None
            if shape is None:
                return None
            data = fold.shape_of(node.op_type, shape, attributes)
        else:
            inputs = [self.tensors.get(n) if n else None for n in node.input]
            if any(n and (t is None or not t.is_constant) for n, t in zip(node.input, inputs)):
                return None
            try:
                data = fold.fold(node.op_type, inputs, known, attributes)
            except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as e:
                raise InvalidModel(
                    f'operator "{node.name}" ({node.op_type}) on constants is invalid: {e}'
                ) from None
            if data is None:
                return None
        return Tensor(name, data.shape, data.dtype.name, data=data)

    def _define(self, tensor: Tensor) -> None:
        if tensor.name in self.tensors:
            raise InvalidModel(f'tensor "{tensor.name}" is defined twice')
        self.tensors[tensor.name] = tensor

    def _typed(self, name: str, where: str) -> Tensor:
        """A tensor of the inferred type."""
        value = self.types.get(name)
        kind = value.WhichOneof("value") if value is not None else None
        if kind in ("sequence_type", "map_type", "optional_type"):
            return Tensor(name, (), kind.removesuffix("_type"))
        shape = shapes.static_shape(value) if kind == "tensor_type" else None
        if shape is None:
            raise InvalidModel(self._dynamic(name, where, value))
        dtype = dtype_name(value.tensor_type.elem_type, f'tensor "{name}"')
        check_size(name, shape, dtype)
        return Tensor(name, shape, dtype)

    def _dynamic(self, name: str, where: str, value: onnx.TypeProto | None) -> str:
        shape = ""
        if value is not None and value.tensor_type.HasField("shape"):
            dims = [
                d.dim_param or ("?" if not d.HasField("dim_value") else d.dim_value)
                for d in value.tensor_type.shape.dim
            ]
            shape = f" [{', '.join(map(str, dims))}]"
        reason = shapes.why_unknown(self.model)
        return (
            f'tensor "{name}" ({where}) has the dynamic shape{shape or " (not even a rank is known)"}: '
            f"export the model with fixed shapes" + (f" ({reason})" if reason else "")
        )

    def _fold_trivial(self, node: onnx.NodeProto, outputs: set[str]) -> bool:
        """Takes Identity and inference-time Dropout out of the graph where nobody can tell."""
        if checks.domain_of(node.domain) or node.op_type not in ("Identity", "Dropout"):
            return False
        if any(node.input[2:]) or any(node.output[1:]):  # Dropout in training mode, or its mask
            return False
        source, target = node.input[0], node.output[0]
        if {source, target} & self.captured or source not in self.tensors:
            return False
        tensor = self.tensors[source]
        if target in outputs:
            # An output needs a tensor of its own name, so the tensor takes that name, if it is free to.
            if tensor.name in outputs or tensor.name in self.fixed or tensor.name != source:
                return False
            tensor.name = target
        if target in self.tensors:
            raise InvalidModel(f'tensor "{target}" is defined twice')
        self.tensors[target] = tensor
        return True

    def _constant(self, node: onnx.NodeProto) -> Tensor | None:
        """A Constant node's value; strings and sparse tensors are left to the host."""
        if len(node.attribute) != 1:
            raise InvalidModel(
                f'operator "{node.name}" (Constant) must have one attribute, not {len(node.attribute)}'
            )
        (attribute,) = node.attribute
        name = node.output[0]
        if attribute.name == "value":
            message = attribute.t
        elif attribute.name in ("value_float", "value_floats", "value_int", "value_ints"):
            value = onnx.helper.get_attribute_value(attribute)
            kind = onnx.TensorProto.FLOAT if "float" in attribute.name else onnx.TensorProto.INT64
            many = attribute.name.endswith("s")
            message = onnx.helper.make_tensor(
                name, kind, [len(value)] if many else [], value if many else [value]
            )
        else:
            return None
        dtype, shape, data = self.constants.read(message, name=name)
        return Tensor(name, shape, dtype, data=data) if dtype != "string" else None

    def _operator(self, index: int, node: onnx.NodeProto) -> Operator:
        name = node.name or next((o for o in node.output if o), f"{node.op_type}:{index}")
        if name in self.names:
            name = f"{name}:{index}"
        self.names.add(name)
        where = f'operator "{name}" ({node.op_type})'
        inputs: list[Tensor | None] = []
        for n in (*node.input, *checks.free_names(node)):
            if n and n not in self.tensors:
                raise InvalidModel(f'{where} reads tensor "{n}" before anything has written it')
            inputs.append(self.tensors[n] if n else None)
        outputs = []
        for n in node.output:
            tensor = self._typed(n, f"output of {where}") if n else Tensor("", (), "float32")
            if n:
                self._define(tensor)
            outputs.append(tensor)
        return Operator(name, node.op_type, inputs, outputs, self._attributes(node, where), source=node)

    def _attributes(self, node: onnx.NodeProto, where: str) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        schema = checks.schema_of(node, self.source.opsets)
        if schema is not None:
            for name, a in schema.attributes.items():
                if a.default_value.name:
                    attributes[name] = self._value(a.default_value, where)
        for a in node.attribute:
            attributes[a.name] = self._value(a, where)
        if checks.domain_of(node.domain):
            attributes["domain"] = node.domain
        return attributes

    def _value(self, attribute: onnx.AttributeProto, where: str) -> Any:
        kind = attribute.type
        if kind == attribute.STRING:
            return attribute.s.decode("utf-8", "backslashreplace")
        if kind == attribute.STRINGS:
            return [s.decode("utf-8", "backslashreplace") for s in attribute.strings]
        if kind == attribute.TENSOR:
            return self.constants.read(attribute.t, name=attribute.name)[2]
        if kind == attribute.TENSORS:
            return [self.constants.read(t, name=attribute.name)[2] for t in attribute.tensors]
        try:
            value = onnx.helper.get_attribute_value(attribute)
        except ValueError:
            raise InvalidModel(
                f"{where} has the attribute {attribute.name} of the unknown type {kind}"
            ) from None
        return list(value) if kind in (attribute.INTS, attribute.FLOATS) else value


def _live(operators: list[Operator], outputs: list[Tensor]) -> list[Operator]:
    """The operators that the outputs depend on."""
    needed = {id(t) for t in outputs}
    live = []
    for op in reversed(operators):
        if any(id(t) in needed for t in op.outputs):
            live.append(op)
            needed.update(id(t) for t in op.inputs if t is not None)
    return live[::-1]
