"""Cascades: neighbouring operators that run together part by part, so that what lies between them never is whole anywhere.

A part of a tensor is a run of its bytes: samples of a batch, or rows of one image.  From the part that is wanted of what leaves the
cascade follows backwards, by the operators' forms, which bytes of every tensor before are needed.  Where parts need the same
rows of a tensor inside (the halo of a window), each computes them again: values do not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.gir.form import Form, Params, Read
from furiosa.compiler.gir.spans import Span, box_span, cuttable, hull, leading_box, read_span, within
from furiosa.compiler.gir.storage import Storage
from furiosa.compiler.gir.tile import ALIGNMENT, Box, Buffer, Holder, Stage
from furiosa.compiler.gir.work import operand, transfer, work
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import Engine, Space

if TYPE_CHECKING:
    from furiosa.compiler.gir.tiler import Tiler


class Cascade(NamedTuple):
    """The operators from ``first`` to ``last`` (places in the cluster) run one after the other for each of ``parts`` parts."""

    first: int
    last: int
    parts: int


class Step(NamedTuple):
    """One command to be: a form over a box, with its operands."""

    place: int
    form: Form
    box: Box
    reads: list[Read]
    params: Params


class Part(NamedTuple):
    """The commands of a part in order, the bytes of every tensor in it, and of which it has its own copy."""

    steps: list[Step]
    spans: dict[Storage, Span]
    tiles: set[Storage]

    def size(self, s: Storage) -> int:
        """Bytes of a tensor in the part."""
        return self.spans[s][1] - self.spans[s][0] + ALIGNMENT


class Runner:
    """Makes the stages of one cascade; ``tiler`` knows where whole tensors and constants are."""

    def __init__(self, tiler: Tiler, cascade: Cascade):
        self._tiler, self._cascade = tiler, cascade
        self._at_hand: dict[Tensor, Holder] = {}  # constants: they stay for all parts
        self._inner = inner(tiler, cascade)
        tiler.spilled |= streamed(tiler, cascade)
        self._streamed = tiler.spilled
        self._done: dict[Storage, int] = {}  # for each tensor that leaves: the bytes that are there

    def stages(self) -> list[Stage]:
        out: list[Stage] = []
        for part in range(1, self._cascade.parts + 1):
            out += self._part(part)
        for place in range(self._cascade.first, self._cascade.last + 1):
            self._tiler.store_outputs(self._tiler.cluster.operators[place], out)
        return out

    def part_in_the_middle(self) -> Part:
        """What a part does that has others before and behind it."""
        before = self._cascade.parts // 2
        ops = self._tiler.cluster.operators[self._cascade.first : self._cascade.last + 1]
        made = [self._tiler.storage[op.outputs[0]] for op in ops]
        self._done = {s: -(-s.size * before // self._cascade.parts) for s in made}
        steps, spans = self._steps(before + 1)
        return Part(steps, spans, {s for s in spans if self.in_tile(s)})

    def _part(self, part: int) -> list[Stage]:
        steps, spans = self._steps(part)
        tiles: dict[Storage, Holder] = {}
        out = []
        for n, step in enumerate(steps):
            stage = self._stage(step, spans, tiles)
            out.append(stage)
            if n + 1 == len(steps) or steps[n + 1].place != step.place:
                self._finish(step, spans, tiles, stage)
        return out

    def _steps(self, part: int) -> tuple[list[Step], dict[Storage, Span]]:
        """What to run for a part, and the bytes of every tensor in it, found from the last operator to the first."""
        tiler = self._tiler
        spans: dict[Storage, Span] = {}
        steps: list[list[Step]] = []
        for place in range(self._cascade.last, self._cascade.first - 1, -1):
            op, forms = tiler.cluster.operators[place], tiler.forms[place]
            out = tiler.storage[op.outputs[0]]
            wanted = self._wanted(out, spans.get(out), part)
            if not forms or wanted is None:
                continue
            spans[out], own = _cut(place, op, forms, wanted)
            steps.append(own)
            for read in (r for s in own for r in s.reads if not r.tensor.is_constant):
                storage = tiler.storage[read.tensor]
                spans[storage] = hull(spans.get(storage), read_span(read))
        return [s for own in reversed(steps) for s in own], spans

    def _wanted(self, out: Storage, read: Span | None, part: int) -> Span | None:
        """The bytes of a tensor to make in a part: what is read in it, and of one that leaves the share of the part."""
        if out in self._inner:
            return read
        done = self._done.get(out, 0)
        goal = max(-(-out.size * part // self._cascade.parts), read[1] if read else 0)
        if goal > done:
            share = (done, goal)
            return hull(read, share) if out in self._streamed else share
        return read if out in self._streamed else None

    def _stage(self, step: Step, spans: dict[Storage, Span], tiles: dict[Storage, Holder]) -> Stage:
        tiler, form = self._tiler, step.form
        op = tiler.cluster.operators[step.place]
        stage = Stage()
        operands = [operand(self._holder(op, read, spans, tiles, stage), read) for read in step.reads]
        out = tiler.storage[form.output]
        if self.in_tile(out):
            if out not in tiles:
                tiles[out] = tile = _tile(form.output.name, spans[out])
                if out in self._inner:
                    tiler.pieces.setdefault(out, []).append((tile.buffer, *spans[out]))
            home = _seen(tiles[out], form.output.dtype, form.out_shape)
        else:
            home = Holder(tiler.resident(out), form.output.dtype, form.out_shape, (0,) * len(form.out_shape))
        operands.append(form.place(home, step.box))
        stage.computes.append(work(form.instruction, Engine.PE, operands, step.params, op))
        return stage

    def _holder(
        self, op: Operator, read: Read, spans: dict[Storage, Span], tiles: dict[Storage, Holder], stage: Stage
    ) -> Holder:
        tiler, t = self._tiler, read.tensor
        if t.is_constant or not self.in_tile(tiler.storage[t]):
            return tiler.hold(op, read, stage, self._at_hand)
        storage = tiler.storage[t]
        if storage not in tiles:  # it comes from DRAM
            start, end = spans[storage]
            tiles[storage] = tile = _tile(t.name, (start, end))
            home = tiler.dram_holder(storage, t.dtype, read.shape).buffer
            stage.loads.append(
                transfer("LOAD", Engine.LOAD, home, tile.buffer, end - start, op, source_offset=start)
            )
        return _seen(tiles[storage], t.dtype, read.shape)

    def in_tile(self, storage: Storage) -> bool:
        """Whether a part has its own bytes of a tensor."""
        return storage in self._inner or storage in self._streamed

    def _finish(
        self, step: Step, spans: dict[Storage, Span], tiles: dict[Storage, Holder], stage: Stage
    ) -> None:
        """Notes how much of a tensor that leaves is there, and sends it to DRAM where that is its place."""
        out = self._tiler.storage[step.form.output]
        if out in self._inner:
            return
        done, end = self._done.get(out, 0), spans[out][1]
        if end <= done:
            return
        self._done[out] = end
        if out in self._streamed:
            home = self._tiler.dram_holder(out, step.form.output.dtype, step.form.out_shape).buffer
            tile = tiles[out]
            stage.stores.append(
                transfer(
                    "STORE",
                    Engine.STORE,
                    tile.buffer,
                    home,
                    end - done,
                    self._tiler.cluster.operators[step.place],
                    source_offset=done + tile.offset,
                    destination_offset=done,
                )
            )


def possible(tiler: Tiler, first: int, last: int) -> bool:
    """Whether the operators can be a cascade: some compute, and the others rename what the cluster made."""
    places = range(first, last + 1)
    renamed = (tiler.cluster.operators[place].inputs[0] for place in places if not tiler.forms[place])
    return any(tiler.forms[place] for place in places) and all(
        not t.is_constant and not tiler.from_outside(tiler.storage[t]) for t in renamed
    )


def inner(tiler: Tiler, cascade: Cascade) -> set[Storage]:
    """The tensors that are made and read inside a cascade and nowhere else."""
    made = {
        tiler.storage[tiler.cluster.operators[place].outputs[0]]
        for place in range(cascade.first, cascade.last + 1)
    }
    return {
        s
        for s in made
        if s.first >= cascade.first
        and s.last <= cascade.last
        and not tiler.from_outside(s)
        and not any(t in tiler.outputs for t in s.tensors)
    }


def streamed(tiler: Tiler, cascade: Cascade) -> set[Storage]:
    """The tensors that come from or go outside and are of use to a cascade alone: they come and go part by part."""
    cluster = tiler.cluster
    return {
        s
        for op in cluster.operators[cascade.first : cascade.last + 1]
        for t in (*op.inputs, op.outputs[0])
        if t is not None and not t.is_constant
        for s in (tiler.storage[t],)
        if s.first >= cascade.first and s.last <= cascade.last and any(t in tiler.dram for t in s.tensors)
    }


def _cut(place: int, op: Operator, forms: list[Form], wanted: Span) -> tuple[Span, list[Step]]:
    """Boxes of an operator's forms that together make at least the bytes wanted, and the bytes that they span."""
    size = ITEMSIZE[op.outputs[0].dtype]
    start, end = wanted[0] // size, -(-wanted[1] // size)
    while True:  # until the cuts of all forms agree: each round only widens them
        before = (start, end)
        boxes = []
        for form in forms:
            boxes.append(leading_box(form.out_shape, cuttable(form), start, end))
            start, end = hull((start, end), box_span(boxes[-1], form.out_shape))
        if (start, end) == before:
            break
    steps = []
    for form, out_box in zip(forms, boxes):
        box = within(form, out_box)
        if box is not None:
            steps.append(Step(place, form, box, *form.operands(box)))
    return (start * size, end * size), steps


def _tile(name: str, span: Span) -> Holder:
    """A buffer for the bytes of a span; seen as the whole tensor, its first byte lies before the buffer."""
    buffer = Buffer(f"{name}/part", span[1] - span[0], Space.SRAM)
    return Holder(buffer, "int8", (), (), -span[0])


def _seen(tile: Holder, dtype: str, shape: tuple[int, ...]) -> Holder:
    return Holder(tile.buffer, dtype, shape, (0,) * len(shape), tile.offset)
