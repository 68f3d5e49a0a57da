"""The methods that choose a tensor's range from the counts of its values.

Each has a measure, which its range makes as small as any that is tried does:

- min-max: none; the smallest and the largest value.
- percentile: the width of a range that leaves out no more than the given share of the values; half of it at each end, all of it at one end where all values have one
  sign, or of the magnitudes where the range is symmetric.
- MSE: the mean of the squares of the errors that quantisation to int8 makes, clipping included.
- SQNR: the same by the mean of the squares of the values.  It is least for the same range, so the two methods give one range.
- entropy: the Kullback-Leibler divergence of the distribution of values other than 0, with what is clipped at the ends, from the one that the int8 levels of what is inside
  stand for, spread evenly over the bins of each level that hold values.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from furiosa.quantizer.affine import HIGHEST, LOWEST, Range, parameters
from furiosa.quantizer.calibrate.histogram import Histogram

DEFAULT_PERCENTAGE = 99.99
_GRID = 24  # candidates for each end of an asymmetric range, in each round
_LINE = 192  # candidates for a range with one end to choose
_SAME = {"entropy": 1e-12}  # a divergence within this of another is the same: the rest is rounding
_ROUNDS = 3  # of which each looks closer around the best
_LEVELS = np.arange(LOWEST, HIGHEST + 1)

Losses = Callable[[np.ndarray, np.ndarray], np.ndarray]


def choose(method: str, values: Histogram, percentage: float = DEFAULT_PERCENTAGE) -> Range:
    """The range that a method of METHODS gives; the range of a tensor of one sign ends at 0, but for min-max.

    Args:
        method: a name in METHODS.
        values: at least one.
        percentage: how many of 100 values lie within the range, above 0 and up to 100; of the percentile methods only.
    """
    kind, is_symmetric = METHODS[method]
    if kind == "min-max":
        return _symmetric(values) if is_symmetric else Range(values.low, values.high)
    if kind == "percentile":
        return _percentile(values, percentage, is_symmetric)
    return _search(values, _losses(kind, values), is_symmetric, _SAME.get(kind, 0.0))


METHODS = {
    f"{kind}-{end}" if end else kind: (kind, end == "sym")
    for kind in ("min-max", "entropy", "percentile", "mse", "sqnr")
    for end in ("", "sym")
}


def _symmetric(values: Histogram) -> Range:
    if values.low >= 0:
        return Range(0.0, values.high)
    most = max(-values.low, values.high)
    return Range(-most, most)


def _percentile(values: Histogram, percentage: float, is_symmetric: bool) -> Range:
    middle, counts = _with_zeros(values)
    tail = 1 - percentage / 100
    if values.low >= 0 or values.high <= 0 or is_symmetric:
        outside = int(tail * values.count)
        magnitude = np.abs(middle)
        order = np.argsort(magnitude, kind="stable")
        most = _kept(magnitude[order], counts[order], outside)
        if values.low >= 0:
            return Range(0.0, most)
        return Range(-most, most if is_symmetric else 0.0)
    outside = int(tail / 2 * values.count)
    return Range(
        min(-_kept(-middle[::-1], counts[::-1], outside), 0.0), max(_kept(middle, counts, outside), 0.0)
    )


def _with_zeros(values: Histogram) -> tuple[np.ndarray, np.ndarray]:
    at = int(np.searchsorted(values.values, 0.0))
    return np.insert(values.values, at, 0.0), np.insert(values.counts, at, values.zeros)


def _kept(ascending: np.ndarray, counts: np.ndarray, outside: int) -> float:
    """The largest value but for so many."""
    above = np.cumsum(counts[::-1])[::-1]  # of this one and larger ones
    return float(ascending[np.flatnonzero(above > outside)[-1]])


# -- search -----------------------------------------------------------------------------------------------------------------


def _search(values: Histogram, losses: Losses, is_symmetric: bool, same: float) -> Range:
    """The range of the least loss: a grid over its ends, and closer ones around the best."""
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    if is_symmetric and low < 0:
        low, high = -max(-low, high), max(-low, high)
    has_low, has_high = low < 0 and not (is_symmetric and high > 0), high > 0
    if not values.index.size:
        return Range(0.0, 0.0)
    points = _GRID if has_low and has_high else _LINE
    best, ends = np.inf, (1.0, 1.0)
    center, reach = (0.5, 0.5), 0.5
    for _ in range(_ROUNDS):
        shares = [
            np.clip(np.linspace(c - reach, c + reach, points + 1)[1:], 1e-3, 1.0) if has_end else np.ones(1)
            for c, has_end in zip(center, (has_low, has_high))
        ]
        grid_low, grid_high = (g.reshape(-1) for g in np.meshgrid(*shares, indexing="ij"))
        bottom = -grid_high * high if is_symmetric and low < 0 < high else grid_low * low
        found = losses(bottom, grid_high * high)
        # of ranges that lose the same the widest: that nothing is left but one bin is no loss of entropy either
        width = np.where(found <= found.min() + same, grid_low + grid_high, 0.0)
        i = int(np.argmax(width))
        if found[i] < best:
            best, ends = float(found[i]), (float(grid_low[i]), float(grid_high[i]))
        center, reach = ends, 2 * reach / points
    share_low = ends[1] if is_symmetric and low < 0 < high else ends[0]
    return Range(share_low * low, ends[1] * high)


def _losses(kind: str, values: Histogram) -> Losses:
    return _divergence(values) if kind == "entropy" else _squares(values)


def _cells(middle: np.ndarray, scale: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    """int [c, 257]: for each scale and zero point [c], at which of the values [n] the 256 levels begin, and n."""
    bounds = (_LEVELS[1:] - 0.5 - zero_point[:, None]) * scale[:, None]
    inner = np.searchsorted(middle, bounds.reshape(-1)).reshape(bounds.shape)
    return np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (0, middle.size)))


def _running(terms: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(terms, dtype=np.float64)])


def _squares(values: Histogram) -> Losses:
    """Sums of squared errors of many ranges at once, from running sums, by the sum of the squares of the values."""
    middle, counts = values.values, values.counts.astype(np.float64)
    sums = [_running(counts * middle**power) for power in range(3)]

    def losses(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        scale, zero_point = parameters(low, high)
        cells = _cells(middle, scale, zero_point)
        number, total, square = (np.diff(s[cells], axis=1) for s in sums)
        level = (_LEVELS - zero_point[:, None]) * scale[:, None]
        return (square - 2 * level * total + level**2 * number).sum(axis=1) / sums[2][-1]

    return losses


def _divergence(values: Histogram) -> Losses:
    """Divergences of many ranges at once; one whose last bin inside is empty does not occur, for bins hold values."""
    middle, counts = values.values, values.counts.astype(np.float64)
    running = _running(counts)
    entropy = _running(counts * np.log(counts))

    def losses(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        scale, zero_point = parameters(low, high)
        ends = (np.array([[LOWEST - 0.5], [HIGHEST + 0.5]]) - zero_point) * scale
        first, last = np.searchsorted(middle, ends)  # the bins inside, without the last
        is_empty = first >= last
        first, last = np.minimum(first, middle.size - 1), np.maximum(last, 1)
        cells = np.clip(_cells(middle, scale, zero_point), first[:, None], last[:, None])
        inside = np.diff(running[cells], axis=1)
        bins = np.diff(cells, axis=1)
        below, above = running[first], running[-1] - running[last]
        clipped = inside.copy()  # the distribution has what is clipped in its first and last bin
        rows = np.arange(len(low))
        for outside, at in ((below, first), (above, last - 1)):
            clipped[
                rows, np.argmax((cells[:, :-1] <= at[:, None]) & (at[:, None] < cells[:, 1:]), axis=1)
            ] += outside
        own = entropy[last] - entropy[first]
        for outside, at in _at_ends(first, last, below, above):
            own += (counts[at] + outside) * np.log(counts[at] + outside) - counts[at] * np.log(counts[at])
        with np.errstate(divide="ignore", invalid="ignore"):
            other = np.where(bins > 0, clipped * np.log(inside / bins), 0.0).sum(axis=1)
        total = running[-1]
        divergence = (own - other) / total + np.log(np.maximum(running[last] - running[first], 1.0) / total)
        return np.where(is_empty, np.inf, divergence)

    return losses


def _at_ends(
    first: np.ndarray, last: np.ndarray, below: np.ndarray, above: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What is clipped and in which bin it counts; both ends may be one bin."""
    is_one = first == last - 1
    return [(below + above * is_one, first), (np.where(is_one, 0.0, above), last - 1)]
