"""What a sweep means, in sentences: the best batch size, what a smaller one gives up, where throughput falls and why."""

from __future__ import annotations

from itertools import pairwise

from furiosa.compiler.tune.point import OK, Point, best

CLIFF = 0.05  # of the throughput, lost from one point to the next
NEARLY = 0.95  # of the best throughput


def explain(points: list[Point]) -> list[str]:
    """Sentences about the points of one NPU, in the order of their batch sizes."""
    compiled = [p for p in points if p.outcome == OK]
    top = best(points)
    if top is None:
        return [*_failures(points)]
    lines = [
        f"best: batch {top.batch_size}, {top.throughput_per_s:,.1f} samples/s, bound by {_NAMES[top.bound_by]}"
    ]
    near = next(p for p in compiled if p.throughput_per_s >= NEARLY * top.throughput_per_s)
    if near.batch_size < top.batch_size:
        share, sooner = near.throughput_per_s / top.throughput_per_s, near.latency_us / top.latency_us
        lines.append(
            f"batch {near.batch_size} has {100 * share:.1f} % of that throughput with {100 * sooner:.1f} % of the latency"
        )
    cliffs = [(a, b) for a, b in pairwise(compiled) if _fall(a, b) >= CLIFF]
    if cliffs:
        a, b = cliffs[0]
        lines.append(f"cliff {_step(a, b)}: {'; '.join(_reasons(a, b))}")
    if cliffs[1:]:
        lines.append(f"falls again {', '.join(_step(a, b) for a, b in cliffs[1:])}")
    last = compiled[-1]
    if not cliffs and last.batch_size > top.batch_size and _fall(top, last) >= CLIFF:
        lines.append(f"no cliff, but a slope {_step(top, last)}: {'; '.join(_reasons(top, last))}")
    elif not cliffs and len(compiled) > 1:
        lines.append(f"no cliff from batch {compiled[0].batch_size} to {last.batch_size}")
    beyond = next((p for p in compiled if not p.fits_dram), None)
    if beyond is not None:
        lines.append(
            f"from batch {beyond.batch_size} on the card's DRAM does not hold the programs that it runs side by side"
        )
    return lines + _failures(points)


_NAMES = {"NPU": "the NPU", "DRAM": "the DRAM's bandwidth", "PCIe": "PCIe", "host": "the host"}


def _step(a: Point, b: Point) -> str:
    return f"from batch {a.batch_size} to {b.batch_size} by {100 * _fall(a, b):.1f} %"


def _fall(a: Point, b: Point) -> float:
    return 1 - b.throughput_per_s / a.throughput_per_s if a.throughput_per_s else 0.0


def _reasons(a: Point, b: Point) -> list[str]:
    """What changed for a sample from one point to the next; memory first, for it is what causes the rest."""
    reasons = []
    if b.host_memory_bytes > a.host_memory_bytes:
        reasons.append(
            f"out of DRAM, {size(b.host_memory_bytes)} stay in host memory and cross PCIe in every run"
        )
    if _grown(a, b, "spilled_bytes"):
        before = _each(a, "spilled_bytes")
        first = "activations spill from SRAM" if not before else "more activations spill from SRAM"
        reasons.append(
            f"{first}, {size(_each(b, 'spilled_bytes'))} of a sample are kept in DRAM, {size(before)} before"
        )
    if b.weight_bytes > a.weight_bytes:
        first = "weights are no longer resident" if not a.weight_bytes else "fewer weights are resident"
        reasons.append(
            f"{first}, every run loads {size(b.weight_bytes)} of them, {size(a.weight_bytes)} before"
        )
    if _grown(a, b, "traffic_bytes"):
        reasons.append(
            f"a sample moves {size(_each(b, 'traffic_bytes'))} between DRAM and SRAM, {size(_each(a, 'traffic_bytes'))} before"
        )
    if _grown(a, b, "npu_us"):
        reasons.append(
            f"the NPU takes {_each(b, 'npu_us'):,.1f} us for a sample, {_each(a, 'npu_us'):,.1f} before"
        )
    return reasons or [f"now bound by {_NAMES[b.bound_by]}, before by {_NAMES[a.bound_by]}"]


def _each(p: Point, field: str) -> float:
    return getattr(p, field) / p.batch_size


def _grown(a: Point, b: Point, field: str) -> bool:
    return _each(b, field) > 1.01 * _each(a, field)


def _failures(points: list[Point]) -> list[str]:
    """One sentence for points next to each other that failed in the same way."""
    lines = []
    for i, p in enumerate(points):
        if p.outcome == OK or (i and points[i - 1].outcome == p.outcome):
            continue
        same = next((k for k, q in enumerate(points[i:], i) if q.outcome != p.outcome), len(points))
        last = points[same - 1].batch_size
        through = f" to {last}" if last != p.batch_size else ""
        lines.append(f"batch {p.batch_size}{through}: {p.outcome}: {p.message}")
    return lines


def size(nbytes: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:,.0f} B" if unit == "B" else f"{nbytes:,.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:,.1f} GiB"
