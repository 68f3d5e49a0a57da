"""How far two tensors are apart, in units of the last place, and a tally of that over several inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_POWERS = np.uint64(1) << np.arange(64, dtype=np.uint64)


def differing(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The flat positions at which two arrays of one shape and dtype differ; NaN equals NaN, 0.0 equals -0.0."""
    unequal = ours != theirs
    if ours.dtype.kind == "f":
        unequal &= ~(np.isnan(ours) & np.isnan(theirs))
    return np.flatnonzero(unequal)


def distance(ours: np.ndarray, theirs: np.ndarray, unit: float | None = None) -> np.ndarray:
    """How many LSB lie between the elements of two arrays of one dtype, uint64.

    Integers and booleans: their difference.  Floats that hold integers times ``unit``: the difference in units, rounded
    up, so that no difference counts as none.  Other floats, infinities and NaN: how many numbers of the type lie between.
    """
    if ours.dtype.kind == "b":
        return (ours ^ theirs).astype(np.uint64)
    if ours.dtype.kind in "iu":
        return _apart(ours, theirs)
    steps = _apart(_ordered(ours), _ordered(theirs))
    if unit:
        with np.errstate(all="ignore"):
            units = np.ceil(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)) / unit - 1e-3)
        known = np.isfinite(units) & (units < 2.0**63)
        steps[known] = np.maximum(units[known], steps[known] > 0).astype(np.uint64)
    return steps


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    wide = np.uint64 if a.dtype == np.uint64 else np.int64
    a, b = a.astype(wide), b.astype(wide)
    low, high = np.minimum(a, b), np.maximum(a, b)
    return high.view(np.uint64) - low.view(np.uint64)  # modulo 2^64, which is right for any two int64


def _ordered(a: np.ndarray) -> np.ndarray:
    """Floats as integers of the same order, int64; both zeros are 0."""
    bits = a.view(f"i{a.itemsize}").astype(np.int64)
    return np.where(bits < 0, -(bits & np.int64(np.iinfo(f"i{a.itemsize}").max)), bits)


@dataclass(slots=True)
class Example:
    """The first element that differs: of which input, where in the tensor, and both values."""

    input: int
    position: tuple[int, ...]
    simulator: int | float | bool
    reference: int | float | bool


@dataclass(slots=True)
class Tally:
    """The differences of one tensor over all inputs.

    ``buckets[0]`` counts the elements that are 1 LSB apart, ``buckets[k]`` those of 2^(k-1) + 1 to 2^k LSB.
    """

    elements: int = 0
    differing: int = 0
    largest: int = 0
    buckets: list[int] = field(default_factory=list)
    example: Example | None = None

    def add(self, ours: np.ndarray, theirs: np.ndarray, unit: float | None, number: int) -> None:
        """Counts one pair of arrays of one shape and dtype; ``number`` is that of the input."""
        self.elements += ours.size
        where = differing(ours, theirs)
        if not where.size:
            return
        a, b = np.ascontiguousarray(ours).reshape(-1)[where], np.ascontiguousarray(theirs).reshape(-1)[where]
        apart = distance(a, b, unit)
        self.differing += where.size
        self.largest = max(self.largest, int(apart.max()))
        counts = np.bincount(np.searchsorted(_POWERS, apart)).tolist()
        self.buckets += [0] * (len(counts) - len(self.buckets))
        for i, n in enumerate(counts):
            self.buckets[i] += n
        if self.example is None:
            at = tuple(int(i) for i in np.unravel_index(where[0], ours.shape))
            self.example = Example(number, at, a[0].item(), b[0].item())

    def histogram(self) -> list[tuple[int, int, int]]:
        """(least LSB, greatest LSB, elements) for each range that may hold any; the first is that of equal elements."""
        rows = [(0, 0, self.elements - self.differing)]
        for k, n in enumerate(self.buckets):
            rows.append(((1 << (k - 1)) + 1 if k else 1, 1 << k, n))
        return rows
