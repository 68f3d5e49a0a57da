"""A recording as text: measured and simulated time apart, and said to be which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from furiosa.enf.performance import Performance, analyze_enf, latency_note
from furiosa.enf.reader import Enf
from furiosa.runtime import recording
from furiosa.runtime.profiler import MEASURED, SIMULATED
from furiosa.runtime.recording import Recorder

PERCENTILES = (50.0, 90.0, 95.0, 97.0, 99.0, 99.9)
_RULE = "=" * 72


def percentile(ascending: Sequence[int], percent: float) -> int:
    """The smallest of the ascending values that at least ``percent`` % of them do not exceed (nearest rank)."""
    return ascending[max(math.ceil(percent / 100 * len(ascending) - 1e-9), 1) - 1]


def summary(recorder: Recorder) -> Iterator[str]:
    """Counts and times of inferences, measured; and of one inference of each program, estimated."""
    times = sorted(s.end - s.start for s in recorder.inferences())
    yield from (_RULE, "  Inference Results Summary", f"  {MEASURED}", _RULE)
    rows = [("Inference counts", f"{len(times)}")]
    if times:
        rows += [
            ("Min latency (ns)", f"{times[0]}"),
            ("Max latency (ns)", f"{times[-1]}"),
            ("Mean latency (ns)", f"{sum(times) // len(times)}"),
            *((f"{p:g}th percentile latency (ns)", f"{percentile(times, p)}") for p in PERCENTILES),
        ]
    totals = recorder.totals
    rows += [(f"Sum of {name} (ns)", f"{totals[name]}") for name in recording.INNER if name in totals]
    if recorder.dropped:
        rows.append(("Spans not kept", f"{recorder.dropped}"))
    yield from _columns(rows, " : ")
    for name, enf in recorder.programs.values():
        yield from ("", _RULE, f"  {title(name, enf)}", f"  {SIMULATED}")
        yield from (f"  Latency is {latency_note(enf.target)}", _RULE)
        yield from _columns(estimate(analyze_enf(enf)), " : ")


def title(name: str, enf: Enf) -> str:
    """A program's name, target and batch size."""
    return f"{name} on {enf.metadata.target_npu}, batch size {enf.metadata.batch_size}"


def estimate(p: Performance) -> list[tuple[str, str]]:
    """The figures of one inference on the NPU, with their units."""
    return [
        ("Latency (us)", f"{p.latency_us:.2f}"),
        ("of it NPU (us)", f"{p.npu_us:.2f}"),
        ("of it transfers over PCIe (us)", f"{p.transfer_us:.2f}"),
        ("of it host clusters (us)", f"{p.host_us:.2f}"),
        ("of it overhead of a run (us)", f"{p.overhead_us:.2f}"),
        ("Throughput of a card (samples/s)", f"{p.throughput_per_s:.2f}"),
        ("Setup, once (us)", f"{p.setup_us:.2f}"),
        ("DRAM traffic of a run (bytes)", f"{p.dram_bytes_read + p.dram_bytes_written}"),
    ]


def inferences(recorder: Recorder) -> Iterator[str]:
    """A line for each inference."""
    yield f"Inferences, {MEASURED}"
    names = recording.INNER
    rows = [("Inference", "Model", "Thread", "Duration (ns)", *(f"{n} (ns)" for n in names))]
    spans = [s for s in list(recorder.spans) if s.category != recording.USER]
    for at, span in enumerate(spans):
        if span.name != recording.INFERENCE:
            continue
        parts = dict.fromkeys(names, 0)
        for inner in spans[at + 1 :]:
            if inner.name == recording.INFERENCE:
                break
            parts[inner.name] += inner.end - inner.start
        duration = span.end - span.start
        facts = str(len(rows)), span.args["model"], span.thread[1], str(duration)
        rows.append((*facts, *(str(parts[n]) for n in names)))
    yield from _columns(rows)


def npu_operators(recorder: Recorder) -> Iterator[str]:
    """The operators of each program by simulated time, the longest first."""
    for name, enf in recorder.programs.values():
        yield f"NPU operators of {title(name, enf)}, {SIMULATED}"
        layers = sorted(analyze_enf(enf).layers, key=lambda layer: -layer.busy_us)
        rows = [("Type", "NPU time (us)", "Bound (us)", "Utilization", "DRAM (bytes)", "Operator")]
        rows += [
            (
                layer.op_type,
                f"{layer.busy_us:.3f}",
                f"{max(layer.compute_bound_us, layer.memory_bound_us):.3f}",
                f"{layer.utilization:.1%}",
                str(layer.dram_bytes_read + layer.dram_bytes_written),
                layer.name,
            )
            for layer in layers
        ]
        yield from _columns(rows)


def npu_executions(recorder: Recorder) -> Iterator[str]:
    """The steps of each plan that are commands: their simulated time, from the first to start to the last to end."""
    for name, enf in recorder.programs.values():
        yield f"NPU executions of {title(name, enf)}, {SIMULATED}"
        spans = analyze_enf(enf).spans
        rows = [("Step of the plan", "Commands", "NPU time (us)")]
        for i, step in enumerate(enf.plan.steps):
            if step.HasField("commands") and step.commands.count:
                own = spans[step.commands.first : step.commands.first + step.commands.count]
                cycles = max(s.end for s in own) - min(s.start for s in own)
                rows.append((str(i), str(len(own)), f"{cycles / enf.target.clock_hz * 1e6:.3f}"))
        yield from _columns(rows)


def external_operators(recorder: Recorder) -> Iterator[str]:
    """The host clusters of the inferences by step of the plan."""
    yield f"Host clusters, {MEASURED}"
    times: dict[tuple[str, int, str], list[int]] = {}
    model = ""
    for span in list(recorder.spans):
        if span.name == recording.INFERENCE and span.category != recording.USER:
            model = span.args["model"]
        elif span.name == recording.HOST and span.category != recording.USER:
            key = model, span.args["execution_index"], span.args["format"]
            times.setdefault(key, []).append(span.end - span.start)
    rows = [("Model", "Step of the plan", "Runtime", "Count", "Mean (ns)", "Max (ns)")]
    for (model, step, runtime), values in times.items():
        facts = model, str(step), runtime, str(len(values)), str(sum(values) // len(values))
        rows.append((*facts, str(max(values))))
    yield from _columns(rows)


def _columns(rows: Iterable[tuple[str, ...]], separator: str = "  ") -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield separator.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
