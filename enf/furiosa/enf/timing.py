"""How long commands take, and when each runs.

A command of the PE takes a fixed time to be set up and to fill the pipeline, then its work: the MAC arrays (furiosa.enf.contraction) for
convolutions, matrix products and pooling windows, what the slices fetch and commit a cycle for all others.  DMA moves bytes at the DRAM's
bandwidth after a set-up, transfers to and from the host at PCIe's.  The parameters are the target's (furiosa.enf.target); which
of them are fitted to published times, and how well, is in docs/calibration.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from furiosa.enf import contraction
from furiosa.enf.contraction import Contraction, up
from furiosa.enf.isa import Command, Engine, Region
from furiosa.enf.target import Target


def _distinct_bytes(region: Region) -> int:
    """Bytes of the elements; what a stride of 0 repeats is fetched once."""
    n = region.nbytes
    for d, stride in zip(region.shape, region.strides):
        if not stride:
            n //= d
    return n


def _contraction(command: Command, target: Target) -> Contraction | None:
    """What a command asks of the MAC arrays; None where it uses none."""
    name, out = command.instruction.name, command.operands[-1].shape
    if name not in _ON_ARRAYS:
        return None
    p = command.arguments
    if name == "MATMUL":
        return Contraction(out[0] * out[1] * out[2], 1, out[3], depth=command.operands[1].shape[2])
    rows, columns, channels = out[0] * out[1], out[2], out[3]
    window = int(p["stride_w"]), int(p.get("dilation_w", 1))
    if name == "CONV2D":
        _, kernel_h, kernel_w, depth = command.operands[1].shape
        groups = int(p["groups"])
        return Contraction(rows, columns, channels, kernel_h, kernel_w, depth, *window, groups)
    if name == "DEPTHWISE_CONV2D":
        kernel = command.operands[1].shape[:2]
        multiplier = up(channels, command.operands[0].shape[3])
        return contraction.depthwise(target, rows, columns, channels, kernel, *window, multiplier)
    kernel = int(p["kernel_h"]), int(p["kernel_w"])
    return contraction.depthwise(target, rows, columns, channels, kernel, *window)


_ON_ARRAYS = {"CONV2D", "DEPTHWISE_CONV2D", "MATMUL", "MAX_POOL2D", "AVERAGE_POOL2D"}
# over what is computed together: once for the sum, once to divide by it; for mean, variance, result
_PASSES = {"SOFTMAX": 2, "L2_NORMALIZE": 2, "LAYER_NORM": 3, "VARIANCE": 2, "STANDARDIZE": 2}
_TABLES = {"TABLE_LOOKUP", "SOFTMAX"}


def _split(command: Command) -> tuple[int, int]:
    p = command.arguments
    return int(p["split_pixels"]), int(p["split_channels"])


def work_cycles(command: Command, target: Target) -> int:
    """Clock cycles of a PE command's work: what its arithmetic and its streams of bytes take, once it has started."""
    array = _contraction(command, target)
    if array is not None:
        return contraction.cycles(target, array, _split(command))
    name, out, slices = command.instruction.name, command.operands[-1], target.slices
    fetched = sum(_distinct_bytes(r) for r in command.operands[:-1])
    if name == "RESIZE":
        rows, columns = command.operands[1].shape[0], command.operands[3].shape[0]
        fetched += (rows * columns - 1) * out.nbytes
    elif name in _PASSES:
        fetched *= _PASSES[name]
    work = max(
        up(fetched, target.fetch_bytes_per_cycle_per_slice * slices),
        up(out.nbytes, target.commit_bytes_per_cycle_per_slice * slices),
    )
    if name in _TABLES:
        work = max(work, up(out.nbytes, target.table_lookups_per_cycle_per_slice * slices))
    return work


def overhead_cycles(target: Target) -> int:
    """Clock cycles of a PE command before its work starts."""
    return target.command_overhead_cycles + target.warmup_cycles


def dma_cycles(command: Command, target: Target) -> int:
    """Clock cycles for which a LOAD or STORE takes the DRAM's whole bandwidth, its set-up not counted."""
    return up(command.operands[0].nbytes * target.clock_hz, target.dram_bytes_per_s)


def cycles(command: Command, target: Target) -> int:
    """Clock cycles that one command keeps its engine busy, where it has the DRAM for itself."""
    if command.engine == Engine.PE:
        return overhead_cycles(target) + work_cycles(command, target)
    return target.dma_setup_cycles + dma_cycles(command, target)


def waste(command: Command, target: Target) -> tuple[str, ...]:
    """Sentences about what a PE command's shape leaves of the MAC arrays unused."""
    array = _contraction(command, target)
    return contraction.waste(target, array, _split(command)) if array is not None else ()


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
