"""Judges each tensor of a run by what the reference makes of the values that the simulator has before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from furiosa.runtime.compare.difference import differing
from furiosa.runtime.compare.explain import Explainer
from furiosa.runtime.compare.reference import Reference, Refused
from furiosa.runtime.compare.result import Row
from furiosa.runtime.compare.samples import Samples, samples

if TYPE_CHECKING:
    from furiosa.compiler.report.cut import Cuttable, Part
    from furiosa.compiler.report.places import Layer
    from furiosa.runtime.compare.isolated import References

# Bytes of tensors that one session of the reference reads and makes: few sessions for a model, and bounded memory.
_GROUP = 256 << 20

OTHER_SHAPE = "its samples cannot be told apart, and the reference runs the samples of a batch one by one"
NOT_MADE = "no operator makes it"


class _Group(NamedTuple):
    """Tensors that one session makes; where the reference refuses, a single one, and a sentence instead of a session."""

    part: Part
    session: Reference | None
    refusal: str = ""


class Judge:
    """Compares the tensors of one model, run after run: ``begin``, ``visit`` for each layer in any order, ``end``.

    ``places`` are those of the layers to be visited, None for the others.
    """

    def __init__(
        self,
        references: References,
        model: Cuttable,
        layers: Sequence[Layer],
        rows: Sequence[Row],
        outputs: Sequence[Row],
        units: Sequence[float | None],
        batch_size: int,
    ):
        self._references, self._model, self._batch_size = references, model, batch_size
        self._samples: dict[str, Samples] = {}
        self._layers, self._outputs = list(rows), list(outputs)
        outer = {x.tensor: x.outer for x in layers}
        self._names = {r: r.tensor for r in rows} | dict(zip(outputs, model.outputs, strict=True))
        judged = {r for r in rows if r.tally is not None and self._can_judge(r, outer[r.tensor])}
        self.places = [x.place if r in judged else None for x, r in zip(layers, rows, strict=True)]
        self._borders = [x.tensor for x, r in zip(layers, rows, strict=True) if r in judged and x.is_border]
        self._units = {r: x.unit for x, r in zip(layers, rows, strict=True)} | dict(
            zip(outputs, units, strict=True)
        )
        self._rows: dict[str, list[Row]] = {}
        for row in (*(r for r in rows if r in judged), *(r for r in outputs if self._can_judge(r))):
            self._rows.setdefault(self._names[row], []).append(row)
        self._explainers: dict[str, Explainer] = {}
        order = {r.tensor: i for i, r in enumerate(rows)}
        wanted = sorted(self._rows, key=lambda name: order.get(name, -1))
        self._groups = [g for names in model.groups(wanted, self._borders, _GROUP) for g in self._open(names)]

    def _can_judge(self, row: Row, outer: int = 1) -> bool:
        name = self._names[row]
        single = self._model.shape(name)
        if single is None or not self._model.is_made(name):
            row.leave_out(NOT_MADE)
            return False
        layout = samples(single, row.shape, self._batch_size, outer)
        if layout is None:
            row.leave_out(OTHER_SHAPE)
            return False
        self._samples[name] = layout
        return True

    def _open(self, names: Sequence[str]) -> list[_Group]:
        """One group or, where the reference refuses that, smaller ones."""
        part = self._model.part(names, self._borders)
        try:
            session = self._references.open(part.model)
            return [_Group(part._replace(model=b""), session)]  # which has it
        except Refused as e:
            return self._divided(part, e)

    def _divided(self, part: Part, e: Refused) -> list[_Group]:
        names = part.outputs
        if len(names) == 1:
            return [_Group(part, None, str(e))]
        return self._open(names[: len(names) // 2]) + self._open(names[len(names) // 2 :])

    # -- one run --------------------------------------------------------------------------------------------------------

    def begin(self, number: int, inputs: Mapping[str, np.ndarray]) -> None:
        """Starts run ``number`` with the model's inputs by name."""
        self._number = number
        self._values = dict(inputs)  # what the simulator has, by name, as long as a group still needs it
        self._results: dict[Row, np.ndarray] = {}
        for name, array in inputs.items():
            self._samples[name] = samples(self._model.shape(name), array.shape, self._batch_size)
        self._awaited = {i: self._awaits(g.part) for i, g in enumerate(self._groups)}
        self._ran = [[g] for g in self._groups]

    def visit(self, i: int, array: np.ndarray) -> None:
        """Takes the tensor of layer ``i``, and judges what can be judged now."""
        row = self._layers[i]
        self._values[row.tensor] = array
        self._arrived(row)

    def end(self, outputs: Sequence[np.ndarray]) -> None:
        """Takes the outputs, and judges the rest."""
        self._results = dict(zip(self._outputs, outputs, strict=True))
        for row in self._outputs:
            self._arrived(row)
        assert not self._awaited, "a layer was not visited"
        self._groups = [g for ran in self._ran for g in ran]

    def _awaits(self, part: Part) -> set[Row]:
        """The rows that have to be there before a part can be judged."""
        rows = {r for n in part.outputs for r in self._rows[n]}
        return rows | {r for n in part.inputs for r in self._rows.get(n, ()) if r.whole is None}

    def _arrived(self, row: Row) -> None:
        for i, awaited in list(self._awaited.items()):
            awaited.discard(row)
            if not awaited:
                del self._awaited[i]
                self._ran[i] = self._run(self._groups[i])
                self._forget(self._groups[i].part)

    def _forget(self, part: Part) -> None:
        """Drops values that no group needs any more."""
        needed = {
            n for i in self._awaited for n in (*self._groups[i].part.inputs, *self._groups[i].part.outputs)
        }
        for name in {*part.inputs, *part.outputs} - needed:
            self._values.pop(name, None)

    def _run(self, group: _Group) -> list[_Group]:
        """Judges the tensors of a group; returns it, or the smaller ones that took its place."""
        part = group.part
        if group.session is None:
            self._judge_refused(part, group.refusal)
            return [group]
        try:
            results = self._on_samples(part, group.session.run)
        except Refused as e:
            return [g for smaller in self._divided(part, e) for g in self._run(smaller)]
        for name, theirs in zip(part.outputs, results, strict=True):
            for row in self._rows[name]:
                self._judge(row, theirs)
        return [group]

    def _on_samples(
        self, part: Part, run: Callable[[list[np.ndarray]], list[np.ndarray]]
    ) -> list[np.ndarray]:
        """What ``run`` makes of the values of a part's inputs, sample by sample, joined."""
        single = [
            run([self._samples[n].take(self._values[n], k) for n in part.inputs])
            for k in range(self._batch_size)
        ]
        return [
            self._samples[n].join(s) for n, s in zip(part.outputs, zip(*single, strict=True), strict=True)
        ]

    def _ours(self, row: Row) -> np.ndarray:
        return self._values[self._names[row]] if row.whole is None else self._results[row]

    def _judge(self, row: Row, theirs: np.ndarray) -> None:
        if row.tally is None:
            return
        ours = self._ours(row)
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            of = f"it is {list(ours.shape)} ({ours.dtype}), of the reference {list(theirs.shape)} ({theirs.dtype})"
            row.leave_out(of, unjudged=True)
            return
        row.tally.add(ours, theirs, self._units[row], self._number)
        where = differing(ours, theirs)
        if where.size:
            self._explain(row, ours, theirs, where)

    def _explain(self, row: Row, ours: np.ndarray, theirs: np.ndarray, where: np.ndarray) -> None:
        """Counts which of the elements at the flat positions ``where`` are right nevertheless, and the others as wrong."""
        explainer = self._explainer(self._names[row])
        real, plain = explainer.real(), explainer.unoptimised()
        if plain is not None:
            row.itself = (row.itself or 0) + differing(theirs, plain).size
        is_right = np.zeros(ours.shape, bool)
        if real is not None and plain is not None:
            is_right = real.nearest(ours, plain if real.scale is None else theirs) & real.fits(plain)
        elif real is not None:
            is_right = real.nearest(ours, theirs)
        is_right = is_right.reshape(-1)
        left = where[~is_right[where]]
        row.nearest += where.size - left.size
        # the whole tensor, not here an element from one run and there from the other
        if left.size and plain is not None and is_right[differing(ours, plain)].all():
            row.unoptimised += left.size
            left = left[:0]
        right = ours.copy().reshape(-1)
        right[left] = theirs.reshape(-1)[left]
        row.wrong.add(ours, right.reshape(ours.shape), self._units[row], self._number)

    def _explainer(self, name: str) -> Explainer:
        if name not in self._explainers:
            part = self._model.part([name], self._borders)
            self._explainers[name] = Explainer(self._references, part, self._on_samples)
        return self._explainers[name]

    def _judge_refused(self, part: Part, refusal: str) -> None:
        """Judges the tensor of a part that the reference refuses by its run without optimiser, else by the real numbers, if there are any."""
        explainer = self._explainer(part.outputs[0])
        plain = explainer.unoptimised()
        real = explainer.real() if plain is None else None
        for row in self._rows[part.outputs[0]]:
            if plain is not None:
                row.note = f"compared with the reference without its optimiser, for {refusal}"
                self._judge(row, plain)
            elif real is not None:
                row.note = f"compared with the real numbers, rounded, for {refusal}"
                self._judge(row, real.rounded(np.dtype(row.dtype)))
            else:
                row.leave_out(refusal, unjudged=True)
