"""Cuts an ONNX model at tensors that the user names, before anything else looks at it: what is cut off may be of any kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import onnx

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend import ends, open_dims
from furiosa.compiler.frontend.onnx import dynamic
from furiosa.compiler.frontend.onnx.inputs import declared_dims, set_shape, without_constants
from furiosa.compiler.frontend.open_dims import Dim
from furiosa.compiler.selection import EVERYTHING, Selection

# gives the types of the main graph's tensors as far as they can be told
Types = Callable[[onnx.ModelProto], Mapping[str, onnx.TypeProto]]

_MADE_UP = re.compile(r"unk__\d+")  # what onnx's inference calls a dimension of which it knows nothing


class Cut(NamedTuple):
    """What was done: ``words`` are the shapes and dimensions that still have to be applied to the inputs, ``names`` those at the cut,
    none where the file's own ends are meant; ``new`` are the inputs that were none."""

    words: Selection
    names: Selection
    new: tuple[str, ...]


def cut(model: onnx.ModelProto, chosen: Selection, types: Types) -> Cut:
    """Leaves of the main graph what lies between the chosen inputs and outputs.

    Args:
        model: is changed; initialisers stay, as others know them by their numbers.
        types: is called with the part of the model ahead of new inputs, which has to tell what they are.

    Raises:
        InvalidConfig: a tensor that does not exist, or inputs and outputs that do not go together.
        InvalidModel: of a new input not even the type is known.
    """
    graph = model.graph
    without_constants(graph)
    words = Selection(chosen.input_shapes, chosen.dims)
    if not (chosen.inputs or chosen.outputs):
        return Cut(words, EVERYTHING, ())
    steps = dynamic.steps(graph.node)
    own_inputs, own_outputs = ([v.name for v in values] for values in (graph.input, graph.output))
    part = ends.part(steps, own_inputs, own_outputs, chosen)
    if part is None:
        return Cut(words, EVERYTHING, ())
    values = {v.name: v for v in graph.input}
    if part.new:
        found, before = _new_inputs(model, part.new, steps, words, types)
        values |= found
        words = _left(words, before, {n: declared_dims(values[n]) for n in part.inputs})
    _keep(graph, part.steps, [values[n] for n in part.inputs], part.outputs, part.new)
    return Cut(words, part.cut, part.new)


def _new_inputs(
    model: onnx.ModelProto, new: Sequence[str], steps: Sequence[ends.Step], words: Selection, types: Types
) -> tuple[dict[str, onnx.ValueInfoProto], dict[str, list[Dim] | None]]:
    """Tensors that nodes made and that become inputs, by name; and the dimensions of the file's inputs that they depend on."""
    head = onnx.ModelProto()
    head.CopyFrom(model)
    made = {name: i for i, step in enumerate(steps) for name in step.makes}
    kept, read = ends.needed(steps, made, new, ())
    before = {v.name: declared_dims(v) for v in model.graph.input if v.name in read}
    _keep(
        head.graph,
        kept,
        [v for v in model.graph.input if v.name in before and v.type.HasField("tensor_type")],
        new,
        (),
    )
    said = Selection(
        {n: s for n, s in words.input_shapes.items() if n in before},
        {n: s for n, s in words.dims.items() if n in _open_names(before)},
    )
    # what is given for a new input need not agree with what the file's own inputs are where nothing is said
    found = _types(head, open_dims.partly(before, said, with_batch=False), types)
    asked = [n for n in new if n not in words.input_shapes]
    if any(n not in found or not open_dims.is_static(_dims(found[n])) for n in asked):
        usual = _types(head, open_dims.partly(before, said), types)
        found |= {n: usual[n] for n in asked if n in usual}
    stated = {v.name: v.type for v in (*model.graph.value_info, *model.graph.output)}
    values = {}
    for name in new:
        value = onnx.ValueInfoProto(name=name, type=found.get(name, stated.get(name)))
        if not value.type.tensor_type.elem_type:
            raise InvalidModel(
                f'--inputs: the type of tensor "{name}" cannot be told; cut the model at another tensor, or state the type in its value_info'
            )
        for dim in value.type.tensor_type.shape.dim:
            if _MADE_UP.fullmatch(dim.dim_param):
                dim.Clear()
        values[name] = value
    return values, before


def _types(
    head: onnx.ModelProto, shapes: Mapping[str, Sequence[Dim] | None], types: Types
) -> dict[str, onnx.TypeProto]:
    """What can be told of the head's results, its inputs having these shapes."""
    model = onnx.ModelProto()
    model.CopyFrom(head)
    for value in model.graph.input:
        if shapes[value.name] is not None:
            set_shape(value, shapes[value.name])
    found = types(model)
    return {
        v.name: found[v.name]
        for v in head.graph.output
        if found.get(v.name, onnx.TypeProto()).tensor_type.elem_type
    }


def _dims(kind: onnx.TypeProto) -> list[Dim] | None:
    return declared_dims(onnx.ValueInfoProto(type=kind))


def _open_names(declared: Mapping[str, Sequence[Dim] | None]) -> set[str]:
    return {d for dims in declared.values() for d in dims or () if isinstance(d, str)}


def _left(
    words: Selection, before: Mapping[str, Sequence[Dim] | None], after: Mapping[str, Sequence[Dim] | None]
) -> Selection:
    """The words without those that only the file's own inputs, now cut off, needed."""
    done, open_ = _open_names(before), _open_names(after)
    return Selection(
        {n: s for n, s in words.input_shapes.items() if n in after or n not in before},
        {n: s for n, s in words.dims.items() if n in open_ or n not in done},
    )


def _keep(
    graph: onnx.GraphProto,
    kept: Sequence[int],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    new: Sequence[str],
) -> None:
    """Leaves only these nodes, inputs and outputs; a node that stays gives another name to what is an input now."""
    nodes = [onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in kept]
    for node in nodes:
        node.output[:] = [f"{n}/cut off" if n in new else n for n in node.output]
    stated = {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}
    finals = [stated.get(n, onnx.ValueInfoProto(name=n)).SerializeToString() for n in outputs]
    begins = [v.SerializeToString() for v in inputs]
    others = [v.SerializeToString() for v in graph.value_info if v.name not in (*new, *outputs)]
    for values, texts in ((graph.input, begins), (graph.output, finals), (graph.value_info, others)):
        del values[:]
        values.extend(map(onnx.ValueInfoProto.FromString, texts))
    del graph.node[:]
    graph.node.extend(nodes)
