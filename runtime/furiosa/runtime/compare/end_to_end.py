"""The model file as it is on the reference runtime, all layers in a row, beside runs of the simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from furiosa.runtime.compare.difference import Tally, differing
from furiosa.runtime.compare.isolated import References
from furiosa.runtime.compare.reference import Reference, Refused
from furiosa.runtime.compare.result import EndToEnd

OTHER_MODEL = "what the compiler imported is not the model in the file: the reference, without its optimiser, makes something else of it"


class WholeModel:
    """Runs the file and fills in the ``EndToEnd`` of each output, which has one LSB of ``units``.

    Where something differs, the file is run without the runtime's optimiser, too; and so, once, is the model as it was ``imported``,
    which must give the same to the last bit.
    """

    def __init__(
        self,
        references: References,
        model: bytes,
        external: Mapping[str, memoryview],
        signature: str,
        imported: Callable[[], bytes],
        names: Sequence[str],
        batch_size: int,
        outputs: Sequence[EndToEnd],
        units: Sequence[float | None],
    ):
        self._references, self._external = references, external
        self._models = {"file": lambda: model, "imported": imported}
        self._signatures = {"file": signature, "imported": ""}
        self._names, self._batch_size = names, batch_size
        self._outputs, self._units = outputs, units
        self._open: dict[tuple[str, bool], Reference] = {}
        self._is_checked = False

    def add(self, number: int, inputs: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> None:
        """Counts the differences of run ``number`` of the simulator, which made ``got`` of ``inputs``."""
        try:
            expected = self._run("file", True, inputs)
        except Refused as e:
            for output in self._outputs:
                output.optimised, output.reason = None, str(e)
            return
        if not self._tally("optimised", got, expected, number):
            return
        try:
            plain = self._run("file", False, inputs)
        except Refused:
            return
        self._tally("itself", expected, plain, number)
        if self._tally("unoptimised", got, plain, number) and not self._is_checked:
            self._is_checked = True
            self._check_import(inputs, plain)

    def _tally(
        self, field: str, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], number: int
    ) -> bool:
        """Counts in a field of the outputs; returns whether anything differs."""
        different = False
        for output, a, b, unit in zip(self._outputs, ours, theirs, self._units, strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                output.optimised, output.is_other = None, True
                output.reason = (
                    f"it is {list(a.shape)} ({a.dtype}), of the reference {list(b.shape)} ({b.dtype})"
                )
                continue
            tally = getattr(output, field) or Tally()
            setattr(output, field, tally)
            before = tally.differing
            tally.add(a, b, unit, number)
            different |= tally.differing > before
        return different

    def _check_import(self, inputs: Sequence[np.ndarray], plain: Sequence[np.ndarray]) -> None:
        try:
            imported = self._run("imported", False, inputs)
        except Refused as e:
            imported, why = None, str(e)
        for i, output in enumerate(self._outputs):
            if imported is None or differing(imported[i], plain[i]).size:
                output.is_other, output.reason = (
                    True,
                    OTHER_MODEL if imported is not None else f"{OTHER_MODEL}: {why}",
                )

    def _run(self, model: str, optimised: bool, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, those of the samples one after another along dimension 0.

        Raises:
            Refused: the runtime refuses the model or its inputs.
        """
        key = model, optimised
        if key not in self._open:
            self._open[key] = self._references.open(
                self._models[model](),
                self._external,
                signature=self._signatures[model],
                optimised=optimised,
            )
        # a model of one sample may have scalars for inputs, or none at all
        parts = [np.split(x, self._batch_size) if self._batch_size > 1 else [x] for x in inputs]
        runs = [self._open[key].run([p[k] for p in parts], self._names) for k in range(self._batch_size)]
        return [np.concatenate(same) if same[0].ndim else same[0] for same in zip(*runs, strict=True)]
