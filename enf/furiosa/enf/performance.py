"""What a program is predicted to take: one analysis for the compiler's report, the tools and the profiler.

Everything follows from what an ENF holds and from the timing model (furiosa.enf.timing).  Figures are of one run in the
steady state: commands that no step of the plan names (the setup, which runs once before the first run) have ended before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING

from furiosa.enf import dtypes, enf_pb2, timing
from furiosa.enf.isa import Command, Engine, Space
from furiosa.enf.target import Target
from furiosa.enf.timing import Span

if TYPE_CHECKING:
    from furiosa.enf.reader import Enf


@dataclass(slots=True)
class Layer:
    """A source operator that has commands; no bound exceeds ``simulated_us``.

    ``commands``: how many of the PE's a run takes.
    ``compute_bound_us``: the work of its commands on the PE, and the start of one command.
    ``memory_bound_us``: its traffic at the DRAM's bandwidth.
    ``simulated_us``: from the start of its first command to the end of its last.
    ``busy_us``: its share of the NPU's time; the shares of all layers add up to ``Performance.npu_us``.  Time in which
    the PE waits belongs to the command that it waits for to start.
    ``utilization``: multiply-accumulates over the peak of ``busy_us``, 0 to 1.
    ``waste``: sentences about work that fills the machine's units badly.
    """

    index: int
    name: str
    op_type: str
    macs: int
    commands: int = 0
    compute_bound_us: float = 0.0
    memory_bound_us: float = 0.0
    simulated_us: float = 0.0
    busy_us: float = 0.0
    utilization: float = 0.0
    dram_bytes_read: int = 0
    dram_bytes_written: int = 0
    waste: list[str] = field(default_factory=list)


@dataclass
class Performance:
    """The figures of one run.

    ``latency_us`` is what MLPerf's single stream measures: input in host memory to output in host memory, weights on the
    card; it is ``npu_us`` + ``transfer_us`` (PCIe, both ways, and what DRAM does not hold) + ``host_us``
    (clusters on the host) + ``overhead_us``.
    ``throughput_per_s`` are samples a second of one card whose workers overlap transfers and host work with NPU work; a
    program for one PE runs on each of them, sharing DRAM and PCIe.
    ``setup_us`` is what runs once before the first run.  ``dram_bytes_*`` are of one run.
    ``spans`` are the cycles of each command; a run starts at 0, setup commands end at or before it.
    """

    latency_us: float
    npu_us: float
    transfer_us: float
    host_us: float
    overhead_us: float
    throughput_per_s: float
    setup_us: float
    dram_bytes_read: int
    dram_bytes_written: int
    spans: list[Span]
    find_layers: Callable[[], list[Layer]] = field(repr=False, compare=False)

    @cached_property
    def layers(self) -> list[Layer]:
        """The source operators that have commands, in the order of the debug map; none without a debug map."""
        return self.find_layers()


def latency_note(target: Target) -> str:
    """What latency and throughput are worth: ends a sentence that begins with "latency_us is"."""
    return (
        f"an estimate, off by at most {target.calibration_error_percent:g} % on the published results that it is calibrated with, "
        f"and {target.left_out_error_percent:g} % on those of a network left out (docs/calibration.md)"
    )


def analyze_enf(enf: Enf) -> Performance:
    """The performance of a loaded program."""
    return analyze(enf.commands, enf.plan.steps, enf.debug, enf.interface, enf.metadata, enf.target)


def analyze(
    commands: Sequence[Command],
    plan_steps: Sequence[enf_pb2.Step],
    debug: enf_pb2.DebugMap,
    interface: enf_pb2.Interface,
    metadata: enf_pb2.Metadata,
    target: Target,
) -> Performance:
    """The performance of a program from its parts; of ``metadata`` only the batch size and dram_bytes are read."""
    ranges = [(s.commands.first, s.commands.count) for s in plan_steps if s.HasField("commands")]
    calls = [s.host_call for s in plan_steps if s.HasField("host_call")]
    setup = min((first for first, count in ranges if count), default=len(commands))
    spans = timing.schedule(commands, ranges, target)
    microseconds = 1e6 / target.clock_hz

    inward, outward = _crossing_bytes(commands[setup:], calls, interface)
    inward += target.host_memory_bytes(metadata.dram_bytes)
    npu_us = max((s.end for s in spans[setup:]), default=0) * microseconds
    transfer_us = timing.transfer_us(target, inward) + timing.transfer_us(target, outward)
    host_us = sum(c.estimated_us for c in calls)
    overhead_us = target.run_overhead_us if ranges else 0.0
    read = sum(c.operands[0].nbytes for c in commands[setup:] if c.engine == Engine.LOAD)
    written = sum(c.operands[0].nbytes for c in commands[setup:] if c.engine == Engine.STORE)

    programs = target.pes_per_card // target.pes
    bottleneck_us = max(
        npu_us / programs,
        (read + written) / target.dram_bytes_per_s * 1e6,
        timing.transfer_us(target, max(inward, outward)),
    )
    if not bottleneck_us:  # no work for the card: the host alone
        bottleneck_us = host_us
    return Performance(
        latency_us=npu_us + transfer_us + host_us + overhead_us,
        npu_us=npu_us,
        transfer_us=transfer_us,
        host_us=host_us,
        overhead_us=overhead_us,
        throughput_per_s=metadata.batch_size / bottleneck_us * 1e6 if bottleneck_us else 0.0,
        setup_us=-min((s.start for s in spans[:setup]), default=0) * microseconds,
        dram_bytes_read=read,
        dram_bytes_written=written,
        spans=spans,
        find_layers=partial(_layers, commands, ranges, setup, spans, debug, target),
    )


def _crossing_bytes(
    commands: Sequence[Command], calls: Sequence[enf_pb2.HostCall], interface: enf_pb2.Interface
) -> tuple[int, int]:
    """Bytes that cross PCIe to the card and back: tensors that one side makes and the other needs."""
    loaded = sorted({c.operands[0].address for c in commands if _in_dram(c, Engine.LOAD, 0)})
    stored = sorted({c.operands[1].address for c in commands if _in_dram(c, Engine.STORE, 1)})
    from_host = [*interface.inputs, *(t for call in calls for t in call.outputs)]
    to_host = [*interface.outputs, *(t for call in calls for t in call.inputs)]
    return _touched_bytes(from_host, loaded), _touched_bytes(to_host, stored)


def _in_dram(command: Command, engine: int, operand: int) -> bool:
    return command.engine == engine and command.operands[operand].space == Space.DRAM


def _touched_bytes(tensors: list[enf_pb2.TensorDescriptor], addresses: list[int]) -> int:
    """Bytes of the tensors in which one of the addresses lies, each place in DRAM counted once."""
    places = {
        (t.address, prod(t.shape) * dtypes.ITEMSIZE[dtypes.NAME[t.dtype]])
        for t in tensors
        if t.space == Space.DRAM
    }
    return sum(size for at, size in places if bisect_left(addresses, at) < bisect_left(addresses, at + size))


def _layers(
    commands: Sequence[Command],
    ranges: list[tuple[int, int]],
    setup: int,
    spans: list[Span],
    debug: enf_pb2.DebugMap,
    target: Target,
) -> list[Layer]:
    owner = debug.command_operator
    if not owner:
        return []
    microseconds = 1e6 / target.clock_hz
    start_us = timing.overhead_cycles(target) * microseconds
    found: dict[int, Layer] = {}
    extent: dict[int, tuple[int, int]] = {}
    for i in range(setup, len(commands)):
        c, op = commands[i], owner[i]
        layer = found.get(op)
        if layer is None:
            source = debug.operators[op]
            layer = found[op] = Layer(op, source.name, source.op_type, source.macs)
            extent[op] = spans[i]
        extent[op] = min(extent[op][0], spans[i].start), max(extent[op][1], spans[i].end)
        if c.engine == Engine.LOAD:
            layer.dram_bytes_read += c.operands[0].nbytes
        elif c.engine == Engine.STORE:
            layer.dram_bytes_written += c.operands[0].nbytes
        else:
            if not layer.commands:
                layer.compute_bound_us = start_us
            layer.commands += 1
            layer.compute_bound_us += timing.work_cycles(c, target) * microseconds
            layer.waste += [sentence for sentence in timing.waste(c, target) if sentence not in layer.waste]
    for at, cycles in _shares(commands, ranges, spans):
        found[owner[at]].busy_us += cycles * microseconds
    peak = target.slices * target.mac_width * target.mac_height * target.clock_hz / 1e6
    for op, layer in found.items():
        traffic = layer.dram_bytes_read + layer.dram_bytes_written
        layer.memory_bound_us = traffic / target.dram_bytes_per_s * 1e6
        layer.simulated_us = (extent[op][1] - extent[op][0]) * microseconds
        if layer.commands and layer.commands * start_us >= layer.busy_us / 4:
            plural = "s" * (layer.commands > 1)
            starts = f"{layer.commands * start_us:.1f} of {layer.busy_us:.1f} us"
            layer.waste.append(f"starting {layer.commands} command{plural} takes {starts}")
        layer.utilization = layer.macs / (peak * layer.busy_us) if layer.busy_us else 0.0
    return [found[op] for op in sorted(found)]


def _shares(
    commands: Sequence[Command], ranges: list[tuple[int, int]], spans: list[Span]
) -> list[tuple[int, int]]:
    """(command, cycles) that part the NPU's time among commands: the PE's in order, then what transfers take beyond them."""
    shares = []
    now = 0
    for first, count in ranges:
        order = sorted(
            range(first, first + count), key=lambda i: (commands[i].engine != Engine.PE, spans[i].end)
        )
        for i in order:
            if spans[i].end > now:
                shares.append((i, spans[i].end - now))
                now = spans[i].end
    return shares
