"""How long commands take: a first simple model, not calibrated against silicon.

Contraction: a slice does ``mac_width`` multiply-accumulates along the contraction for ``mac_height`` output channels a
cycle; whatever does not fill those is lost.  Other work is bound by what a slice fetches and commits a cycle.  DMA moves
bytes at the DRAM's bandwidth after a fixed set-up.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def work_cycles(command: Command, target: Target) -> int:
    """Clock cycles of a PE command's work: what its arithmetic and its streams of bytes take, once it has started."""
    operands = command.operands
    out = operands[-1]
    name = command.instruction.name
    slices = target.slices
    fetched = sum(_distinct_bytes(r) for r in operands[:-1])
    stream = max(
        _up(fetched, target.fetch_bytes_per_cycle_per_slice * slices),
        _up(out.nbytes, target.commit_bytes_per_cycle_per_slice * slices),
    )
    if name not in _CONTRACTIONS:
        return stream
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
    return max(macs, stream)


def dma_cycles(command: Command, target: Target) -> int:
    """Clock cycles for which a LOAD or STORE takes the DRAM's whole bandwidth, its set-up not counted."""
    return _up(command.operands[0].nbytes * target.clock_hz, target.dram_bytes_per_s)


def cycles(command: Command, target: Target) -> int:
    """Clock cycles that one command keeps its engine busy, where it has the DRAM for itself."""
    if command.engine == Engine.PE:
        return target.warmup_cycles + work_cycles(command, target)
    return target.dma_setup_cycles + dma_cycles(command, target)


def waste(command: Command, target: Target) -> str | None:
    """A sentence about what a PE command's shape leaves of the MAC array unused, if anything."""
    if command.instruction.name not in _CONTRACTIONS:
        return None
    channels = command.operands[-1].shape[3]
    rounded = _up(channels, target.mac_height) * target.mac_height
    if rounded == channels:
        return None
    return f"{channels} output channel{'s' * (channels > 1)} cost as much as {rounded}"


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


def schedule(commands: Sequence[Command], steps: Sequence[tuple[int, int]], target: Target) -> list[Span]:
    """Runs a program through the engines: each in order, each command after all that it waits for.

    ``steps`` are (first, count) of each range of commands; a step starts when the one before it has run dry.  Commands
    before the first step are the setup: it runs before cycle 0, and everything of it has ended then.  LOAD and STORE share
    the DRAM: one transfer at a time has its bandwidth, while the set-up of the other engine's next one may go on.
    """
    first = min((first for first, count in steps if count), default=len(commands))
    ends: list[list[int]] = [[] for _ in range(Engine.COUNT)]
    setup = _run_dry(commands, 0, first, ends, 0, target)
    length = max((s.end for s in setup), default=0)
    spans = [Span(s.start - length, s.end - length) for s in setup]
    for own in ends:
        own[:] = [end - length for end in own]
    now = 0
    for at, count in steps:
        spans += _run_dry(commands, at, count, ends, now, target)
        now = max((own[-1] for own in ends if own), default=now)
        now = max(now, 0)
    return spans


def _run_dry(
    commands: Sequence[Command], first: int, count: int, ends: list[list[int]], now: int, target: Target
) -> list[Span]:
    """The spans of one range of commands that starts at cycle ``now``; appends to the ends of each engine's commands."""
    queues: list[list[int]] = [[] for _ in range(Engine.COUNT)]
    for i in range(first, first + count):
        queues[commands[i].engine].append(i)
    heads = [0] * Engine.COUNT
    ready: list[int | None] = [
        None
    ] * Engine.COUNT  # when each engine's next command may start, once that is known
    spans: dict[int, Span] = {}
    dram_free = now
    while len(spans) < count:
        chosen, start = -1, 0
        for engine, queue in enumerate(queues):
            if heads[engine] == len(queue):
                continue
            at = ready[engine]
            if at is None:
                at = ready[engine] = _ready(commands[queue[heads[engine]]], ends, now)
            if at is not None and (chosen < 0 or at < start):
                chosen, start = engine, at
        command = commands[index := queues[chosen][heads[chosen]]]
        if chosen == Engine.PE:
            end = start + cycles(command, target)
        else:
            end = max(start + target.dma_setup_cycles, dram_free) + dma_cycles(command, target)
            dram_free = end
        spans[index] = Span(start, end)
        ends[chosen].append(end)
        heads[chosen] += 1
        ready[chosen] = None
    return [spans[i] for i in range(first, first + count)]


def _ready(command: Command, ends: list[list[int]], now: int) -> int | None:
    """When a command may start: its engine is free and what it waits for has ended; None while that is not known."""
    own = ends[command.engine]
    start = max(now, own[-1]) if own else now
    for other, wait in enumerate(command.waits):
        if wait:
            if wait > len(ends[other]):
                return None
            start = max(start, ends[other][wait - 1])
    return start
