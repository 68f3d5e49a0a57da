"""Imports an ONNX model as a dfg: every tensor typed, every shape static, constants as views of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import onnx
from google.protobuf.message import DecodeError

from furiosa.compiler import limits
from furiosa.compiler.dfg.graph import HOST_REGION, Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidConfig, InvalidFormat, InvalidModel, ShapesDisagree
from furiosa.compiler.frontend import ends, open_dims
from furiosa.compiler.frontend.borders import can_cross, check_borders
from furiosa.compiler.frontend.onnx import (
    attributes,
    bodies,
    checks,
    consistency,
    cut,
    dynamic,
    functions,
    inputs,
    regions,
    shapes,
    wire,
)
from furiosa.compiler.frontend.onnx.constants import CODES, Constants, check_size, dtype_name
from furiosa.compiler.frontend.onnx.inference import Inference
from furiosa.compiler.model_files import ModelFiles, Undeclared
from furiosa.compiler.selection import EVERYTHING, Selection, argument, written
from furiosa.enf import filetypes


@dataclass(slots=True, eq=False)
class Source:
    """What a host cluster needs of its model: versions, and the operator sets by domain ("" is the standard one)."""

    ir_version: int
    opsets: dict[str, int]


def import_onnx(
    data: bytes | memoryview,
    *,
    batch_size: int = 1,
    selection: Selection = EVERYTHING,
    files: ModelFiles | None = None,
) -> Graph:
    """Imports an ONNX model.

    Operators keep the names and semantics of the model's opset (``graph.source.opsets[""]``), with every attribute
    that their schema gives a default; tensor attributes are numpy arrays, subgraphs stay messages.  Constant nodes
    and initialisers are constants, Identity and inference-time Dropout vanish, arithmetic on shapes and what quantises weights is
    folded.
    An operator with subgraphs lists the outer tensors that they read after its own inputs.  ``Operator.source`` is
    the NodeProto.

    A tensor whose type numpy lacks ("bfloat16", "int4", …) has that name as its dtype, and a constant of it the
    stored bytes as data, uint8 [n]; values that are no tensors have dtype "sequence", "map" or "optional", shape ().
    Operators around values that cannot be handed over are one operator "HostRegion", see ``regions``.

    Args:
        data: the bytes of the file; big constants stay views of them.
        batch_size: multiplies dimension 0 of every input and output.
        selection: sizes of open dimensions, and where the model is cut; an open dimension 0 that it leaves out is 1.
        files: where external data are read from; None refuses them.

    Raises:
        InvalidFormat: not a whole ONNX file.
        InvalidModel: an input or output of dynamic shape, an unknown operator, a reference to what is not there.
        InvalidConfig: the batch size is below 1, or the selection does not fit the model.
        IoError: external data are missing, or may not be read.
    """
    if batch_size < 1:
        raise InvalidConfig(f"the batch size is {batch_size}; it must be at least 1")
    reader = Constants(files or ModelFiles())
    model, big = _parse(memoryview(data).toreadonly())
    source = Source(model.ir_version, checks.opsets(model))
    with _naming_all(model):
        model, chosen = _select(model, big, reader, selection)
        reader.take_in(model)
        with _telling_shapes(chosen):
            inference = Inference(model, big, reader)
            inference.run()
            graph = _Importer(model, source, reader, inference.constants, inference.types).graph()
    graph.selection = chosen
    if batch_size != 1:
        from furiosa.compiler.frontend.onnx.batch import apply_batch

        apply_batch(graph, batch_size)
    return graph


def selected_model(
    data: bytes,
    selection: Selection,
    *,
    files: ModelFiles | None = None,
) -> bytes:
    """The model file with a selection in it: cut, and its inputs of static shapes; the file itself where it is that already.

    Raises:
        CompileError: as ``import_onnx``.
    """
    model, big = _parse(memoryview(data).toreadonly())
    inputs.without_constants(model.graph)
    is_static = all(open_dims.is_static(inputs.declared_dims(value)) for value in model.graph.input)
    if is_static and not (selection.inputs or selection.outputs):
        return data
    model, _ = _select(model, big, Constants(files or ModelFiles()), selection)
    constants = list(model.graph.initializer)
    del model.graph.initializer[:]
    model.graph.initializer.extend(t for i, t in enumerate(constants) if i not in big)
    whole = [(constants[i].SerializeToString(deterministic=True), raw) for i, raw in big.items()]
    return wire.join(model.SerializeToString(deterministic=True), whole)


def _select(
    model: onnx.ModelProto, big: dict[int, memoryview], reader: Constants, selection: Selection
) -> tuple[onnx.ModelProto, Selection]:
    """The checked part of a model that is meant, its inputs of static shapes; and the selection as it was found."""
    model.ir_version = max(model.ir_version, 4)  # since when an initialiser need not be an input as well
    if model.functions:
        model = functions.inline(model)
    limits.check_operators(sum(1 for _ in checks.walk(model.graph)))
    checks.check_text(model)
    done = cut.cut(model, selection, lambda head: _types(head, big, reader))
    checks.check_operators(model, checks.opsets(model))
    shapes = inputs.fix_inputs(model, done.words)
    shapes |= {v.name: inputs.declared_dims(v) for v in model.graph.input if v.name in done.new}
    return model, replace(done.names, input_shapes={n: tuple(s) for n, s in shapes.items()})


def _types(head: onnx.ModelProto, big: dict[int, memoryview], reader: Constants) -> dict[str, onnx.TypeProto]:
    inference = Inference(head, big, reader)
    try:
        inference.run()
    except InvalidModel:  # what is cut off need not be valid
        return {}
    kinds = {
        n: onnx.helper.make_tensor_type_proto(CODES[t.dtype], t.shape) for n, t in inference.constants.items()
    }
    return inference.types | kinds


@contextmanager
def _naming_all(model: onnx.ModelProto) -> Iterator[None]:
    """Lets an error that a file may not be read name all those of the model, not the first."""
    try:
        yield
    except Undeclared as e:
        raise e.of_all(checks.external_locations(model)) from None


@contextmanager
def _telling_shapes(chosen: Selection) -> Iterator[None]:
    """Lets an error that shapes do not go together say which of them the user has chosen."""
    try:
        yield
    except ShapesDisagree as e:
        if not chosen.input_shapes:
            raise
        given = " ".join(
            argument("--input-shape", f"{n}={written(s)}") for n, s in chosen.input_shapes.items()
        )
        raise ShapesDisagree(
            f"with {given}, {e}; the model may take other sizes only, such as multiples of its strides"
        ) from None


def check_form(data: memoryview) -> None:
    """Refuses bytes that hold no ONNX graph; raises InvalidFormat."""
    _parse(data)


def _parse(data: memoryview) -> tuple[onnx.ModelProto, dict[int, memoryview]]:
    try:
        small, big = wire.split(data)
        model = onnx.ModelProto.FromString(small)
    except (wire.Malformed, DecodeError) as e:
        raise _no_model(data, f"not a whole ONNX or TFLite file ({len(data)} bytes): {e}") from None
    if not model.ir_version or not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise _no_model(data, f"not an ONNX or TFLite file: its {len(data)} bytes hold no ONNX graph")
    return model, big


def _no_model(data: memoryview, otherwise: str) -> InvalidFormat:
    """What to say of bytes that are no model: what they are, where that can be told."""
    known = filetypes.what_is(bytes(data[: filetypes.HEAD]))
    return InvalidFormat(f"not an ONNX or TFLite file: {known}" if known else otherwise)


class _Importer:
    def __init__(
        self,
        model: onnx.ModelProto,
        source: Source,
        reader: Constants,
        constants: dict[str, Tensor],
        types: dict[str, onnx.TypeProto],
    ) -> None:
        self.model = model
        self.source = source
        self.reader = reader
        self.types = types
        self.tensors = constants  # by name; grows to all tensors
        self.captured: set[str] = set()  # names that subgraphs read
        self.names: set[str] = set()
        self.bodies = bodies.Bodies(model.ir_version, source.opsets, reader)

    def graph(self) -> Graph:
        graph = self.model.graph
        for value in graph.input:
            self._define(self._typed(value.name, "input"))
        inputs = [self.tensors[value.name] for value in graph.input]
        outputs = {value.name for value in graph.output}
        self.fixed = set(self.tensors)  # names of inputs and constants
        live = _live(graph)
        self._check_outputs(live)
        nodes, self.functions = regions.enclose(live, outputs, self._can_cross, self.source.opsets)
        if self.functions:  # nobody else looks into them
            self._check_values(live)
        for node in nodes:
            self.captured.update(checks.free_names(node))
        operators = []
        for i, node in enumerate(nodes):
            if not self._fold_trivial(node, outputs):
                operators.append(self._operator(i, node))
        result = []
        for value in graph.output:
            if value.name not in self.tensors:
                raise InvalidModel(f'the output "{value.name}" is computed by no operator')
            result.append(self.tensors[value.name])
        check_borders(inputs, "the input")
        return Graph("onnx", graph.name or "main", inputs, result, operators, self.source)

    def _define(self, tensor: Tensor) -> None:
        if tensor.name in self.tensors:
            raise InvalidModel(f'tensor "{tensor.name}" is defined twice')
        self.tensors[tensor.name] = tensor

    def _check_values(self, nodes: list[onnx.NodeProto]) -> None:
        """Checks names and sizes of what nodes make, of unknown shape or not."""
        for name in (n for node in nodes for n in node.output if n):
            if name in self.fixed:
                raise InvalidModel(f'tensor "{name}" is defined twice')
            if shapes.static_shape(self.types.get(name)) is not None:
                self._typed(name, "inside")

    def _typed(self, name: str, where: str) -> Tensor:
        """A tensor of the inferred type."""
        value = self.types.get(name)
        kind = value.WhichOneof("value") if value is not None else None
        if kind in ("sequence_type", "map_type", "optional_type"):
            return Tensor(name, (), kind.removesuffix("_type"))
        shape = shapes.static_shape(value)
        if shape is None:
            raise InvalidModel(f'tensor "{name}" ({where}) has the dynamic shape {dynamic.shape_text(value)}')
        dtype = dtype_name(value.tensor_type.elem_type, f'tensor "{name}"')
        if any(d < 0 for d in shape):  # which onnx computes without a word
            raise ShapesDisagree(
                f'tensor "{name}" would be of shape {list(shape)}: the window of the operator that makes it is larger than what it '
                f"reads; give the inputs larger shapes (--input-shape)"
            )
        check_size(name, shape, dtype)
        return Tensor(name, shape, dtype)

    def _can_cross(self, name: str) -> bool:
        """Whether the result of a node is a dense tensor of known shape and of a type that may be handed over."""
        value = self.types.get(name)
        if shapes.static_shape(value) is None:
            return False
        return can_cross(dtype_name(value.tensor_type.elem_type, f'tensor "{name}"'))

    def _check_outputs(self, nodes: list[onnx.NodeProto]) -> None:
        """Refuses what cannot be handed over, and says where the model can end instead."""
        names = [value.name for value in self.model.graph.output]
        made = {name for node in nodes for name in node.output}
        for name in names:
            if name in made and not self._can_cross(name):
                steps = dynamic.steps(nodes)
                cut = ends.proposal(names, steps, self._can_cross, self.fixed)
                if not shapes.is_known(self.types.get(name)):
                    shapes.infer(self.model, {}, set(), strict=True)  # which may know a better reason
                    regions.check_order(nodes, self.fixed)
                    raise InvalidModel(dynamic.unknown_shape(name, steps, self.types, self._is_known) + cut)
                check_borders([self._typed(name, "output")], "the output", cut)

    def _is_known(self, name: str) -> bool:
        return name in self.fixed or shapes.is_known(self.types.get(name))

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
        function = self.functions.get(node.op_type) if node.domain == regions.DOMAIN else None
        scope = bodies.scope_of(self.tensors, self.types)
        if function is not None:
            inside = self.bodies.of_function(function, scope)
            op = Operator(name, HOST_REGION, inputs, outputs, {"function": function}, node, inside)
        else:
            stated = attributes.complete(node, self.reader, self.source.opsets)
            op = Operator(name, node.op_type, inputs, outputs, stated, node, self.bodies.of(node, scope))
        consistency.check(op)
        return op


def _live(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on."""
    needed = {value.name for value in graph.output}
    live = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            live.append(node)
            needed.update((*node.input, *checks.free_names(node)))
            needed.discard("")
    return live[::-1]
