"""How long commands take: a first simple model, not calibrated against silicon.

Contraction: a slice does ``mac_width`` multiply-accumulates along the contraction for ``mac_height`` output channels a
cycle; whatever does not fill those is lost.  Other work is bound by what a slice fetches and commits a cycle.  DMA moves
bytes at the DRAM's bandwidth after a fixed set-up.
"""

from __future__ import annotations

from typing import NamedTuple

from furiosa.enf.isa import Command, Engine, Region
from furiosa.enf.target import Target

_CONTRACTIONS = {"CONV2D", "DEPTHWISE_CONV2D", "MATMUL"}


def _up(a: int, b: int) -> int:
    return -(-a // b)


def conv_cycles(
    target: Target, pixels: int, channels: int, taps: int, depth: int, split: tuple[int, int]
) -> int:
    """Cycles of the MAC array for a convolution tile, its output split over slices by (pixels, channels)."""
    steps = taps * _up(depth, target.mac_width)
    return _up(pixels, split[0]) * _up(_up(channels, target.mac_height), split[1]) * steps


def depthwise_cycles(target: Target, pixels: int, channels: int, taps: int, split: tuple[int, int]) -> int:
    """The same for a depthwise convolution, where the MAC array's width lies along the pixels."""
    return (
        _up(_up(pixels, split[0]), target.mac_width) * _up(_up(channels, target.mac_height), split[1]) * taps
    )


def best_split(target: Target, pixels: int, channels: int, taps: int, depth: int | None) -> tuple[int, int]:
    """The split over slices with the fewest cycles; ``depth`` None for a depthwise convolution."""
    best: tuple[int, tuple[int, int]] | None = None
    parts = 1
    while parts <= target.slices:
        split = (target.slices // parts, parts)
        if depth is None:
            cycles = depthwise_cycles(target, pixels, channels, taps, split)
        else:
            cycles = conv_cycles(target, pixels, channels, taps, depth, split)
        if best is None or cycles < best[0]:
            best = (cycles, split)
        parts *= 2
    assert best is not None
    return best[1]


def _distinct_bytes(region: Region) -> int:
    """Bytes of the elements; what a stride of 0 repeats is fetched once."""
    n = region.nbytes
    for d, stride in zip(region.shape, region.strides):
        if not stride:
            n //= d
    return n


def cycles(command: Command, target: Target) -> int:
    """Clock cycles that one command keeps its engine busy."""
    operands = command.operands
    if command.engine in (Engine.LOAD, Engine.STORE):
        return target.dma_setup_cycles + _up(operands[0].nbytes * target.clock_hz, target.dram_bytes_per_s)
    out = operands[-1]
    name = command.instruction.name
    slices = target.slices
    fetched = sum(_distinct_bytes(r) for r in operands[:-1])
    stream = max(
        _up(fetched, target.fetch_bytes_per_cycle_per_slice * slices),
        _up(out.nbytes, target.commit_bytes_per_cycle_per_slice * slices),
    )
    if name not in _CONTRACTIONS:
        return target.warmup_cycles + stream
    p = command.arguments
    split = (int(p["split_pixels"]), int(p["split_channels"]))
    pixels = out.shape[0] * out.shape[1] * out.shape[2]
    weight = operands[1].shape
    if name == "MATMUL":
        macs = conv_cycles(target, pixels, out.shape[3], 1, weight[2], split)
    elif name == "CONV2D":
        macs = conv_cycles(target, pixels, out.shape[3], weight[1] * weight[2], weight[3], split)
    else:
        macs = depthwise_cycles(target, pixels, out.shape[3], weight[0] * weight[1], split)
    return target.warmup_cycles + max(macs, stream)


def host_us(target: Target, macs: int, nbytes: int) -> float:
    """Microseconds of the host for so many multiply-accumulates and bytes read and written."""
    return (macs / target.host_macs_per_s + nbytes / target.host_bytes_per_s) * 1e6


def transfer_us(target: Target, nbytes: int) -> float:
    """Microseconds of a transfer between host and NPU over PCIe."""
    return nbytes / target.pcie_bytes_per_s * 1e6


class Span(NamedTuple):
    """When a command runs, in cycles from the start of the program."""

    start: int
    end: int


def schedule(commands: list[Command], steps: list[tuple[int, int]], target: Target) -> list[Span]:
    """Runs a program through the engines: each in order, each command after all that it waits for.

    ``steps`` are (first, count) of each range of commands; a step starts when the one before it has run dry.
    """
    ends: list[list[int]] = [[] for _ in range(Engine.COUNT)]
    spans = []
    floor = 0
    for first, count in steps:
        for c in commands[first : first + count]:
            own = ends[c.engine]
            start = max(floor, own[-1] if own else 0)
            for other, wait in enumerate(c.waits):
                if wait:
                    start = max(start, ends[other][wait - 1])
            end = start + cycles(c, target)
            own.append(end)
            spans.append(Span(start, end))
        floor = max((e[-1] for e in ends if e), default=0)
    return spans
