"""What is measured: each metric is told one sample after another and has a value at the end; higher is better."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from furiosa.runtime.errors import InvalidInput

MAX_CLASSES = 1 << 12  # of mean IoU, whose counts are the square of it
NO_CLASS = 255  # in a map of classes, as data sets write it
NO_LABEL = "there is no label"


class Metric(Protocol):
    """One model's figure."""

    def add(
        self, outputs: Sequence[np.ndarray], label: np.ndarray | None, wanted: Sequence[np.ndarray]
    ) -> None:
        """Counts one sample.

        Args:
            outputs: what the model makes of it, real numbers where its outputs are quantised.
            label: what is right; None where the metric needs none.
            wanted: what the float model makes of it; empty where the metric does not need it.

        Raises:
            InvalidInput: outputs or a label that the metric is not for.
        """

    def value(self) -> float:
        """The figure; NaN where nothing was counted."""


class TopK:
    """The share of samples whose label is among the ``k`` classes of the highest score; of equal scores the first class counts as higher."""

    def __init__(self, k: int):
        self._k, self._right, self._count = k, 0, 0

    def add(
        self, outputs: Sequence[np.ndarray], label: np.ndarray | None, wanted: Sequence[np.ndarray]
    ) -> None:
        scores = outputs[0].reshape(-1)
        if label is None or label.size != 1 or label.dtype.kind not in "iu":
            shape = NO_LABEL if label is None else f"it is of shape {label.shape} ({label.dtype})"
            raise InvalidInput(f"a label must be the number of a class, an integer: {shape}")
        right = int(label.reshape(()))
        if not 0 <= right < scores.size:
            raise InvalidInput(f"a label is {right}, but the output has the classes 0 to {scores.size - 1}")
        self._count += 1
        self._right += bool(_rank(scores, right) < self._k)

    def value(self) -> float:
        return self._right / self._count if self._count else math.nan


def _rank(scores: np.ndarray, place: int) -> int:
    """How many scores come before one of them; one that is no number is never among the highest."""
    score = scores[place]
    if np.isnan(score):
        return sys.maxsize
    return int(np.count_nonzero(scores > score) + np.count_nonzero(scores[:place] == score))


class MeanIou:
    """The mean of intersection over union, of the classes that labels or results have anywhere.

    Labels that are no class, and 255 where there are not more than 256 classes, are left out.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((0, 0), np.int64)  # [label, result]

    def add(
        self, outputs: Sequence[np.ndarray], label: np.ndarray | None, wanted: Sequence[np.ndarray]
    ) -> None:
        if label is None or label.dtype.kind not in "iu":
            raise InvalidInput(
                f"a label must be a map of classes, integers: {NO_LABEL if label is None else label.dtype}"
            )
        found, classes = _class_map(outputs[0], label)
        if len(self._counts) < classes:
            grown = np.zeros((classes, classes), np.int64)
            grown[: len(self._counts), : len(self._counts)] = self._counts
            self._counts = grown
        right, found = label.reshape(-1).astype(np.int64), found.reshape(-1).astype(np.int64)
        counts = (right >= 0) & (right < classes) & ((right != NO_CLASS) | (classes > NO_CLASS + 1))
        places = right[counts] * len(self._counts) + found[counts]
        self._counts += np.bincount(places, minlength=self._counts.size).reshape(self._counts.shape)

    def value(self) -> float:
        both = np.diag(self._counts)
        either = self._counts.sum(0) + self._counts.sum(1) - both
        return float(np.mean(both[either > 0] / either[either > 0])) if either.any() else math.nan


def _class_map(output: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, int]:
    """The class of each place, and how many classes there may be; the output is such a map, or scores with a dimension of classes.

    Raises:
        InvalidInput: neither.
    """
    shape = tuple(n for n in label.shape if n != 1)
    if output.dtype.kind in "iu" and tuple(n for n in output.shape if n != 1) == shape:
        if output.min(initial=0) < 0:
            raise InvalidInput("the output has negative numbers for classes")
        found, classes = output, int(max(output.max(initial=0), label[label != NO_CLASS].max(initial=0))) + 1
    else:
        fitting = [
            a
            for a in range(output.ndim)
            if output.shape[a] > 1 and tuple(n for n in np.delete(output.shape, a) if n != 1) == shape
        ]
        if not fitting:
            raise InvalidInput(
                f"an output of shape {output.shape} has no dimension of classes beside a label of shape {label.shape}"
            )
        # where several would do, classes lie behind the batch, as in ONNX models, or last, as in TFLite's
        axis = next((a for a in (1, output.ndim - 1) if a in fitting), fitting[0])
        found, classes = output.argmax(axis), output.shape[axis]
    if classes > MAX_CLASSES:
        raise InvalidInput(f"{classes} classes are more than the {MAX_CLASSES} that mean IoU counts")
    return found, classes


class Agreement:
    """The share of samples of which the first output is highest at the same place as the float model's."""

    def __init__(self) -> None:
        self._same, self._count = 0, 0

    def add(
        self, outputs: Sequence[np.ndarray], label: np.ndarray | None, wanted: Sequence[np.ndarray]
    ) -> None:
        _same_shapes(outputs, wanted)
        self._count += 1
        self._same += int(outputs[0].argmax() == wanted[0].argmax())

    def value(self) -> float:
        return self._same / self._count if self._count else math.nan


class Sqnr:
    """Signal to quantisation noise in dB, ten times the logarithm of the float model's squares over those of the difference,
    over all samples: of the outputs the lowest.  Infinite where nothing differs.
    """

    def __init__(self) -> None:
        self._signal: list[float] = []
        self._noise: list[float] = []

    def add(
        self, outputs: Sequence[np.ndarray], label: np.ndarray | None, wanted: Sequence[np.ndarray]
    ) -> None:
        _same_shapes(outputs, wanted)
        if not self._signal:
            self._signal, self._noise = [0.0] * len(wanted), [0.0] * len(wanted)
        for i, (a, b) in enumerate(zip(outputs, wanted, strict=True)):
            exact = b.astype(np.float64)
            self._signal[i] += float(np.sum(exact * exact))
            difference = a.astype(np.float64) - exact
            self._noise[i] += float(np.sum(difference * difference))

    def value(self) -> float:
        return min(map(_decibel, self._signal, self._noise), default=math.nan)


def _decibel(signal: float, noise: float) -> float:
    if math.isnan(signal) or math.isnan(noise):
        return math.nan
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _same_shapes(outputs: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
    for a, b in zip(outputs, wanted, strict=True):
        if a.shape != b.shape:
            raise InvalidInput(f"an output is {a.shape}, but {b.shape} of the float model")


class Kind(NamedTuple):
    """A metric by its name: how to make one, what it needs, and what one output of several is meant by default."""

    make: Callable[[], Metric]
    what: str
    needs_labels: bool = False
    needs_float: bool = False


METRICS = {
    "top1": Kind(lambda: TopK(1), "top-1 accuracy", needs_labels=True),
    "top5": Kind(lambda: TopK(5), "top-5 accuracy", needs_labels=True),
    "miou": Kind(MeanIou, "mean IoU", needs_labels=True),
    "agreement": Kind(Agreement, "agreement with the float model", needs_float=True),
    "sqnr": Kind(Sqnr, "SQNR in dB", needs_float=True),
}
