"""What a layer may be besides what the reference makes of it: nearest to the real number, or what the reference makes unoptimised."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from furiosa.runtime.compare.reference import Reference, Refused

if TYPE_CHECKING:
    from furiosa.compiler.report.cut import Part
    from furiosa.runtime.compare.exact import Exact, Real
    from furiosa.runtime.compare.isolated import References

Run = Callable[[list[np.ndarray]], list[np.ndarray]]


class Explainer:
    """One tensor; the runtimes are opened where they are first asked for.

    ``on_samples`` gives what a function of one sample makes of the values that the simulator has now.
    """

    def __init__(
        self, references: References, part: Part, on_samples: Callable[[Part, Run], list[np.ndarray]]
    ):
        self._references, self._part, self._on_samples = references, part, on_samples

    def real(self) -> Real | None:
        """The real numbers; None of a TFLite model, and where an operator cannot be computed in float64."""
        if self._exact is None:
            return None
        from furiosa.runtime.compare.exact import Real

        try:
            return Real(*self._on_samples(self._part, self._exact.run), self._exact.scale)
        except NotImplementedError:
            return None

    def unoptimised(self) -> np.ndarray | None:
        """What the reference makes without its optimiser; None where it refuses that."""
        if self._plain is None:
            return None
        try:
            return self._on_samples(self._part, self._plain.run)[0]
        except Refused:
            return None

    @cached_property
    def _exact(self) -> Exact | None:
        if self._references.source_format != "onnx":
            return None
        from furiosa.runtime.compare.exact import Exact

        try:
            return Exact(self._part.model)
        except NotImplementedError:
            return None

    @cached_property
    def _plain(self) -> Reference | None:
        try:
            return self._references.open(self._part.model, optimised=False)
        except Refused:
            return None
