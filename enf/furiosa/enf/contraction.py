"""How long the MAC arrays take: convolutions, matrix products and windows, cut over the slices of a target.

A slice multiplies ``mac_width`` pixels of one output row by the weights of ``mac_height`` output channels a cycle, and adds up
over kernel rows, kernel columns and input channels one after the other.  For each input row of each input channel it fetches the bytes
under a piece of the output row into its shift register, ``fetch_bytes_per_cycle_per_slice`` a cycle, then steps through the
columns of the kernel by shifting; the first of these steps shares its cycle with the last bytes' arrival:

    cycles(piece) = ceil(bytes / fetch_bytes_per_cycle) + kernel_w - 1

So a 3x3 kernel at stride 1 uses 3 of 5 cycles, a 1x1 kernel 1 of 2, and a short row of pixels wastes part of the width.  The register
holds ``shift_register_bytes``, which makes pieces shorter where strides or dilations spread the pixels; each column of a kernel may be
fetched for itself, where that is faster.  A 1x1 kernel at stride 1 has no rows to keep apart and cuts the pixels of all rows into pieces.
Sums are committed when they are complete, and not while adding.

That structure is derived from the public parameters and from how well it explains published times (docs/calibration.md); the vendor does not
describe it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from furiosa.enf.target import Target


def up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


class Contraction(NamedTuple):
    """What is computed: ``rows`` output rows (of all images) of ``columns`` pixels, in ``channels`` output channels.

    Each output adds up ``kernel_h`` x ``kernel_w`` x ``depth`` products; ``stride`` and ``dilation`` are those of the columns.
    ``groups`` of output channels do not share inputs.  ``inputs`` input channels are fetched for each ``mac_height`` output channels:
    1 where these share their input, as in a convolution; ``mac_height`` in a depthwise one.
    """

    rows: int
    columns: int
    channels: int
    kernel_h: int = 1
    kernel_w: int = 1
    depth: int = 1
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    inputs: int = 1


def depthwise(
    target: Target,
    rows: int,
    columns: int,
    channels: int,
    kernel: tuple[int, int],
    stride: int,
    dilation: int,
    multiplier: int = 1,
) -> Contraction:
    """A window over each channel for itself; ``multiplier`` output channels read one input channel."""
    inputs = up(target.mac_height, multiplier)
    return Contraction(rows, columns, channels, *kernel, 1, stride, dilation, 1, inputs)


class _Pieces(NamedTuple):
    """How a row of output pixels is cut: ``width`` pixels a piece, ``steps`` of ``taps`` kernel columns each."""

    width: int
    steps: int
    taps: int
    reach: int  # input columns that one output pixel sees in a step


def _ways(target: Target, c: Contraction) -> list[_Pieces]:
    """The ways to step through a kernel: its columns share a fetch, where they fit the register, or each is fetched for itself."""
    reach = (c.kernel_w - 1) * c.dilation + 1
    ways = [(c.kernel_h * c.kernel_w, 1, 1)]
    if reach <= target.shift_register_bytes:
        ways.insert(0, (c.kernel_h, c.kernel_w, reach))
    return [_Pieces(_width(target, c, reach), steps, taps, reach) for steps, taps, reach in ways]


def _width(target: Target, c: Contraction, reach: int) -> int:
    """The most pixels whose inputs the register holds."""
    return min(target.mac_width, (target.shift_register_bytes - reach) // c.stride + 1)


def _line(target: Target, c: Contraction, p: _Pieces, pixels: int) -> int:
    """Cycles of one step of one input row for ``pixels`` of a row."""
    total = 0
    full, rest = divmod(pixels, p.width)
    for count, width in ((full, p.width), (1, rest)):
        if count and width:
            nbytes = ((width - 1) * c.stride + p.reach) * c.inputs
            total += count * (up(nbytes, target.fetch_bytes_per_cycle_per_slice) + p.taps - 1)
    return total


@lru_cache(maxsize=1 << 14)
def cycles(target: Target, c: Contraction, split: tuple[int, int]) -> int:
    """Clock cycles of the slowest slice, the output split by (pixels, channels); a slice takes several parts where there are more."""
    blocks = up(_blocks(target, c), split[1])
    rounds = up(split[0] * split[1], target.slices)
    return rounds * min(_part_cycles(target, c, blocks, p, part) for p, part in _choices(target, c, split[0]))


def _choices(target: Target, c: Contraction, count: int) -> list[tuple[_Pieces, tuple[int, int]]]:
    return [(p, part) for p in _ways(target, c) for part in _parts(c, p, count)]


def _parts(c: Contraction, p: _Pieces, count: int) -> list[tuple[int, int]]:
    """The ways to cut the pixels into so many parts: how many lines of how many pixels the largest one has."""
    if _is_flat(c):
        return [(1, up(c.rows * c.columns, count))]
    whole = up(c.rows, count), c.columns
    # parts of rows, where there are more slices than rows
    pieces = up(c.rows * up(c.columns, p.width), count), min(p.width, c.columns)
    return [whole, pieces]


def _part_cycles(target: Target, c: Contraction, blocks: int, p: _Pieces, part: tuple[int, int]) -> int:
    """Cycles of a slice for lines of so many pixels and ``blocks`` of output channels."""
    lines, pixels = part
    commit = up(lines * pixels * blocks * target.mac_height, target.commit_bytes_per_cycle_per_slice)
    return lines * _line(target, c, p, pixels) * p.steps * c.depth * blocks + commit


def _is_flat(c: Contraction) -> bool:
    return c.kernel_h == c.kernel_w == c.stride == 1


def _blocks(target: Target, c: Contraction) -> int:
    """Groups of output channels that the array computes side by side."""
    return c.groups * up(up(c.channels, c.groups), target.mac_height)


def splits(target: Target) -> Iterator[tuple[int, int]]:
    """The ways to split an output over all slices by powers of two: (pixels, channels)."""
    parts = 1
    while parts <= target.slices:
        yield target.slices // parts, parts
        parts *= 2


@lru_cache(maxsize=1 << 14)
def best_split(target: Target, c: Contraction) -> tuple[int, int]:
    """The split over slices with the fewest cycles; among equals the one with the most parts of pixels."""
    return min(splits(target), key=lambda split: cycles(target, c, split))


@lru_cache(maxsize=1 << 10)
def waste(target: Target, c: Contraction, split: tuple[int, int]) -> tuple[str, ...]:
    """Sentences about what the shape leaves unused: rounding to blocks of channels, pieces of rows and slices, from 5 % on."""
    out = []
    costly = up(_blocks(target, c), split[1]) * split[1] * target.mac_height
    if _matters(costly, c.channels):
        out.append(f"{_count(c.channels, 'output channel')} cost as much as {costly}")
    blocks = up(_blocks(target, c), split[1])
    choices = _choices(target, c, split[0])
    p, (_, width) = min(choices, key=lambda choice: _part_cycles(target, c, blocks, *choice))
    if _is_flat(c):
        pixels = c.rows * c.columns
        costly = _as_long(target, c, p, up(pixels, split[0]), 1 << 62) * split[0]
        if _matters(costly, pixels):
            out.append(f"{_count(pixels, 'pixel')} cost as much as {costly}")
        return tuple(out)
    if width < c.columns:
        return tuple(out)
    costly = _as_long(target, c, p, c.columns, up(c.columns, p.width) * p.width)
    if _matters(costly, c.columns):
        out.append(f"rows of {_count(c.columns, 'pixel')} cost as much as rows of {costly}")
    costly = up(c.rows, split[0]) * split[0]
    if _matters(costly, c.rows):
        out.append(f"{_count(c.rows, 'row')} cost as much as {costly}")
    return tuple(out)


def _matters(costly: int, used: int) -> bool:
    return 20 * costly >= 21 * used


def _as_long(target: Target, c: Contraction, p: _Pieces, pixels: int, most: int) -> int:
    """The most pixels of a row that take no longer than so many."""
    cost = _line(target, c, p, pixels)
    while pixels < most and _line(target, c, p, pixels + 1) == cost:
        pixels += 1
    return pixels


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
