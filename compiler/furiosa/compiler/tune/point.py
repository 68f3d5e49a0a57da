"""One point of a sweep: a model for one NPU at one batch size, and what it is predicted to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from furiosa.compiler.program import NpuStep
from furiosa.enf.isa import Engine, Space

if TYPE_CHECKING:
    from furiosa.compiler.pipeline import Compilation

OK = "ok"
EQUAL = 0.99  # throughputs closer than this count as equal: the model's own error is larger


@dataclass(slots=True)
class Point:
    """The figures of furiosa.enf.performance for one run of ``batch_size`` samples, and what memory it takes.

    ``outcome``: "ok"; else the kind of the error, such as "out-of-sram", whose sentence is ``message``; all figures are 0.
    ``bound_by``: what limits the throughput: "NPU", "DRAM", "PCIe", or "host" where nothing runs on the card.
    ``fits_dram``: the card's DRAM holds as many of the program as its PEs run.  ``host_memory_bytes``: what it does not hold of
    one, which crosses PCIe in every run.
    ``traffic_bytes``: between DRAM and SRAM, in one run; ``weight_bytes`` of it are constants, which a run loads where they
    do not stay in SRAM; ``spilled_bytes``: tensors between NPU operators that are kept in DRAM.
    """

    target_npu: str
    batch_size: int
    outcome: str = OK
    message: str = ""
    throughput_per_s: float = 0.0
    latency_us: float = 0.0
    npu_us: float = 0.0
    bound_by: str = ""
    sram_peak_bytes: int = 0
    dram_bytes: int = 0
    fits_dram: bool = True
    host_memory_bytes: int = 0
    traffic_bytes: int = 0
    weight_bytes: int = 0
    spilled_bytes: int = 0

    @property
    def traffic_bytes_per_sample(self) -> float:
        return round(self.traffic_bytes / self.batch_size, 3)

    def row(self) -> dict[str, Any]:
        """Every field and the traffic of a sample, as plain data."""
        return {**asdict(self), "traffic_bytes_per_sample": self.traffic_bytes_per_sample}


def measure(compilation: Compilation) -> Point:
    """The point of a compilation that has run until "lir" or beyond."""
    lir, target, performance = compilation.lir, compilation.target, compilation.performance
    programs = target.pes_per_card // target.pes
    setup = min((s.first for s in compilation.steps if isinstance(s, NpuStep)), default=len(lir.commands))
    loads = [c.operands[0] for c in lir.commands[setup:] if c.engine == Engine.LOAD]
    crossing = set(compilation.dram.values())
    traffic = performance.dram_bytes_read + performance.dram_bytes_written
    batch = compilation.options.batch_size
    # what one run takes where runs overlap; see furiosa.enf.performance
    interval_us = batch / performance.throughput_per_s * 1e6 if performance.throughput_per_s else 0.0
    if not lir.commands:
        bound_by = "host"
    elif math.isclose(interval_us, performance.npu_us / programs):
        bound_by = "NPU"
    elif math.isclose(interval_us, traffic / target.dram_bytes_per_s * 1e6):
        bound_by = "DRAM"
    else:
        bound_by = "PCIe"
    return Point(
        target.name,
        batch,
        throughput_per_s=round(performance.throughput_per_s, 3),
        latency_us=round(performance.latency_us, 3),
        npu_us=round(performance.npu_us, 3),
        bound_by=bound_by,
        sram_peak_bytes=lir.sram_peak,
        dram_bytes=compilation.dram_bytes,
        fits_dram=programs * compilation.dram_bytes <= target.dram_bytes,
        host_memory_bytes=target.host_memory_bytes(compilation.dram_bytes),
        traffic_bytes=traffic,
        weight_bytes=sum(r.nbytes for r in loads if r.space == Space.CONST),
        spilled_bytes=sum(b.size for b in lir.dram if b not in crossing),
    )


def failed(target_npu: str, batch_size: int, error: Exception) -> Point:
    """The point of a compilation that ended with an error."""
    name = type(error).__name__
    kind = "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
    return Point(target_npu, batch_size, kind, str(error) or name)


def best(points: list[Point]) -> Point | None:
    """The smallest batch whose throughput equals the highest, among those that fit DRAM; None without any.

    Where none fits, among all.
    """
    compiled = [p for p in points if p.outcome == OK]
    within = [p for p in compiled if p.fits_dram] or compiled
    most = max((p.throughput_per_s for p in within), default=0.0)
    equal = [p for p in within if p.throughput_per_s >= EQUAL * most]
    return min(equal, key=lambda p: p.batch_size, default=None)
