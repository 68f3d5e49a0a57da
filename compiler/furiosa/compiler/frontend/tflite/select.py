"""What of a TFLite model is compiled: the part between tensors that the user names, and the shapes of its inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.errors import InvalidConfig, InvalidModel
from furiosa.compiler.frontend import ends, open_dims
from furiosa.compiler.frontend.ends import Step
from furiosa.compiler.frontend.open_dims import Dim
from furiosa.compiler.frontend.tflite import signatures, tables
from furiosa.compiler.frontend.tflite.source import Source
from furiosa.compiler.frontend.tflite.tables import Table
from furiosa.compiler.selection import EVERYTHING, Selection, Shape, argument, listed, names

Dims = list[Dim] | None  # of an input; None: not even the rank is known


MAX_TENSOR_BYTES = 2**31 - 1  # a flatbuffer ends there, and so do the reference runtime's int32 dimensions
# Bits of an element where the type's name does not end with them.
_BITS = {"bool": 8, "resource": 0, "variant": 0, "string": 0, "unknown": 0}


@dataclass(slots=True, eq=False)
class Part:
    """The operators of one subgraph that are compiled, by their numbers in the file, and what they lie between.

    ``names`` are what users call the tensors of the subgraph.  ``shapes`` are those of inputs that differ from what the file states, by
    number; ``is_open_within`` says that there are some, or that an input's dimension other than its batch is open in the file.  ``selection`` is
    what was chosen, as it was found.
    """

    source: Source
    entry: signatures.Entry
    names: list[str]
    operators: list[tuple[int, Table]]
    is_cut: bool = False
    shapes: dict[int, Shape] = field(default_factory=dict)
    is_open_within: bool = False
    selection: Selection = EVERYTHING
    _used: set[int] | None = None

    @property
    def tables(self) -> list[Table]:
        """The tensors of the subgraph, with their numbers."""
        return self.source.model["subgraphs"][self.entry.subgraph]["tensors"]

    def has(self, index: int) -> bool:
        """Whether there is a tensor of this number."""
        return 0 <= index < len(self.names)

    def uses(self, index: int) -> bool:
        """Whether a tensor matters: in a cut part those that nobody there reads or makes do not."""
        if self.is_cut and self._used is None:
            operands = (i for _, op in self.operators for k in ("inputs", "outputs") for i in op[k].tolist())
            self._used = {*operands, *(i for _, i in (*self.entry.inputs, *self.entry.outputs))}
        return self._used is None or index in self._used

    @property
    def needs_resizing(self) -> bool:
        """Whether the shapes that the file states may not hold: those of results are placeholders where more than a batch is open."""
        return self.is_open_within or any(_is_open(t, 1) for t in self._made())

    @property
    def is_open(self) -> bool:
        """Whether the file leaves a dimension of a result open."""
        return any(_is_open(t, 0) for t in self._made())

    def _made(self) -> Iterator[Table]:
        """The tensors that operators make."""
        for _, op in self.operators:
            for i in op["outputs"].tolist():
                if self.has(i):
                    yield self.tables[i]

    def steps(self) -> list[Step]:
        """The operators as steps from tensors to tensors."""
        return [
            Step(self._first(op), "", self._called(op["inputs"]), self._called(op["outputs"]))
            for _, op in self.operators
        ]

    def _called(self, indices: np.ndarray) -> list[str]:
        return [self.names[i] for i in indices.tolist() if self.has(i)]

    def _first(self, op: Table) -> str:
        return next(iter(self._called(op["outputs"])), "")


def select(source: Source, entry: signatures.Entry, chosen: Selection) -> Part:
    """The part that is meant, and the shapes that its inputs have to get.

    Raises:
        InvalidConfig: a tensor that does not exist, inputs and outputs that do not go together, shapes that contradict the model.
        InvalidModel: a dimension is still open; the error says which option is missing.
    """
    subgraph = source.model["subgraphs"][entry.subgraph]
    whole = Part(
        source, entry, _names(subgraph["tensors"], entry), list(enumerate(subgraph["operators"])),
        selection=Selection(signature=chosen.signature),
    )  # fmt: skip
    if chosen.dims:
        raise InvalidConfig(_no_names(whole, chosen))
    words = Selection(chosen.input_shapes)
    part, new = _cut(whole, chosen) if chosen.inputs or chosen.outputs else (whole, ())
    declared = {part.names[i]: _declared(part, i, words) for _, i in part.entry.inputs if part.has(i)}
    words = _words_for_new(whole, part, new, declared, words)
    shapes = open_dims.fix(declared, words)
    numbers = {part.names[i]: i for _, i in part.entry.inputs if part.has(i)}
    stated = {name: tuple(part.tables[i]["shape"].tolist()) for name, i in numbers.items()}
    part.shapes = {numbers[name]: shape for name, shape in shapes.items() if shape != stated[name]}
    part.is_open_within = bool(part.shapes) or any(_is_open(part.tables[i], 1) for i in numbers.values())
    for name, i in numbers.items():
        check_size(name, shapes[name], dtype_name(part.tables[i]))
    recorded = {name: s for name, s in shapes.items() if name in new or s != stated[name]}
    part.selection = replace(part.selection, input_shapes=recorded)
    return part


def _names(stated: Sequence[Table], entry: signatures.Entry) -> list[str]:
    """What users call tensors: names of the signature that is compiled, else those in the file; each another one."""
    given: dict[str, int] = {}
    for name, i in (*entry.inputs, *entry.outputs) if entry.is_named else ():
        if i not in given.values():
            given.setdefault(name, i)
    called = {i: name for name, i in given.items()}
    known = set(given)
    found = []
    for index, table in enumerate(stated):
        name = called.get(index, table["name"] or "")
        if index not in called:
            if not name or name in known:
                name = f"{name}:{index}"
            known.add(name)
        found.append(name)
    return found


def _cut(whole: Part, chosen: Selection) -> tuple[Part, tuple[str, ...]]:
    """The part between the tensors that are named; and which of its inputs an operator makes."""
    entry, number = whole.entry, {name: i for i, name in enumerate(whole.names)}
    steps = whole.steps()
    own_inputs, own_outputs = (
        list(dict.fromkeys(whole.names[i] for _, i in named if whole.has(i)))
        for named in (entry.inputs, entry.outputs)
    )
    made = dict.fromkeys([*own_inputs, *(n for step in steps for n in step.makes), *own_outputs])

    def meant(option: str, texts: Iterable[str], given: Sequence[tuple[str, int]]) -> tuple[str, ...]:
        """The tensors that texts stand for; a signature may have names of its own for its outputs, and several for one."""
        known = {n: n for n in made} | {n: whole.names[i] for n, i in given if n and whole.has(i)}
        return tuple(dict.fromkeys(known[n] for n in names(option, texts, known)))

    said = Selection(
        inputs=meant("--inputs", chosen.inputs, entry.inputs),
        outputs=meant("--outputs", chosen.outputs, entry.outputs),
    )
    found = ends.part(steps, own_inputs, own_outputs, said)
    if found is None:
        return whole, ()
    outputs = [(n, number[n]) for n in found.outputs] if found.cut.outputs else list(entry.outputs)
    part = replace(
        whole,
        entry=entry._replace(inputs=[(n, number[n]) for n in found.inputs], outputs=outputs),
        operators=[whole.operators[i] for i in found.steps],
        is_cut=True,
        selection=replace(whole.selection, inputs=found.cut.inputs, outputs=found.cut.outputs),
    )
    _make_apart(part, {number[n] for n in found.new})
    return part, found.new


def _make_apart(part: Part, new: set[int]) -> None:
    """An operator that stays although one of its results is an input now makes another tensor instead."""
    known = part.tables
    for k, (number, op) in enumerate(part.operators):
        outputs = op["outputs"].tolist()
        if new.isdisjoint(outputs):
            continue
        for at, i in enumerate(outputs):
            if i in new:
                outputs[at] = len(known)
                known.append(dict(known[i]))
                part.names.append(f"{part.names[i]}/cut off")
        part.operators[k] = number, {**op, "outputs": np.array(outputs, np.int32)}


def _is_open(table: Table, axis: int) -> bool:
    """Whether a tensor has an open dimension from ``axis`` on, or one that the file states as -1."""
    signature, stated = table["shape_signature"].tolist(), table["shape"].tolist()
    return any(d < 0 for d in (*signature[axis:], *stated))


def _declared(part: Part, index: int, words: Selection) -> Dims:
    """The dimensions of a tensor as the file has them.

    One is open where its signature says so, or where it is stated as -1 or, for whom a shape is given, as 0.  An open dimension 0 that is
    stated and for which nothing is said is what is stated.
    """
    table = part.tables[index]
    is_asked = part.names[index] in words.input_shapes
    stated, signature = table["shape"].tolist(), table["shape_signature"].tolist()
    if not stated and not signature and not table["has_rank"] and is_asked:
        return None  # files that leave the rank out mean any, or a scalar
    if len(signature) != len(stated):
        signature = stated
    return [
        None if min(d, s) < 0 and (is_asked or axis or d <= 0) or d == 0 and is_asked else d
        for axis, (d, s) in enumerate(zip(stated, signature, strict=True))
    ]


def _words_for_new(
    whole: Part, part: Part, new: Sequence[str], declared: dict[str, Dims], words: Selection
) -> Selection:
    """The shapes that still have to be given to inputs; ``declared`` learns those of new inputs that follow from the others."""
    if not new:
        return words
    number = {name: i for i, name in enumerate(whole.names)}
    head = _head(whole, new)
    before = {whole.names[i]: _declared(head, i, words) for _, i in head.entry.inputs}
    said = {n: s for n, s in words.input_shapes.items() if n in before}
    asked = [n for n in new if n not in words.input_shapes and not open_dims.is_static(declared[n])]
    if asked and said:
        from furiosa.compiler.frontend.tflite.resize import shapes_of

        shapes = open_dims.fix(before, Selection(said))
        head.shapes = {number[n]: shape for n, shape in shapes.items()}
        found = shapes_of(head)
        declared |= {n: list(found[number[n]]) for n in asked if found.get(number[n]) is not None}
    return Selection({n: s for n, s in words.input_shapes.items() if n in declared or n not in before})


def _head(whole: Part, new: Sequence[str]) -> Part:
    """What makes tensors out of the file's own inputs."""
    steps, number = whole.steps(), {name: i for i, name in enumerate(whole.names)}
    made = {name: i for i, step in enumerate(steps) for name in step.makes}
    kept, read = ends.needed(steps, made, new, ())
    entry = whole.entry._replace(
        inputs=[(n, i) for n, i in whole.entry.inputs if whole.names[i] in read],
        outputs=[(n, number[n]) for n in new],
    )
    return replace(whole, entry=entry, operators=[whole.operators[i] for i in kept], is_cut=True)


def _no_names(whole: Part, chosen: Selection) -> str:
    """What to say to who gives a dimension by its name."""
    open_: Mapping[str, Dims] = {
        whole.names[i]: _declared(whole, i, Selection()) for _, i in whole.entry.inputs if whole.has(i)
    }
    shapes = [
        argument("--input-shape", f"{name}={'x'.join('?' if d is None else str(d) for d in dims)}")
        for name, dims in open_.items()
        if dims is not None and not open_dims.is_static(dims)
    ]
    instead = (
        f": give the shape of the input, {' '.join(shapes)}"
        if shapes
        else ", and no dimension of this model is open"
    )
    return f"--dim {listed(chosen.dims)}: dimensions of TFLite models have no names{instead}"


def dtype_name(table: Table) -> str:
    """The element type of a tensor as the dfg calls it."""
    return tables.names(schema.TensorType).get(table["type"], "unknown").lower()


def placeholder(table: Table) -> Shape:
    """The shape that the file states, with 1 for what it leaves open."""
    return tuple(d if d >= 0 else 1 for d in table["shape"].tolist())


def check_size(name: str, shape: Shape, dtype: str) -> int:
    """The bytes that a tensor would take; a dimension of 0 excuses no other.

    Raises:
        InvalidModel: too many.
    """
    least = (math.prod(d or 1 for d in shape) * _bits(dtype) + 7) // 8
    if least > MAX_TENSOR_BYTES:
        raise InvalidModel(
            f'tensor "{name}" of shape {list(shape)} would take {least} bytes; the limit is 2 GiB'
        )
    return least


def _bits(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    return int(dtype.lstrip("abcdefghijklmnopqrstuvwxyz"))
