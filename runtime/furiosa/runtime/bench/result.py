"""The result of a benchmark as text and as JSON.  Measured and estimated time never stand in one object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from furiosa.enf.performance import latency_note
from furiosa.enf.target import load_target
from furiosa.runtime import recording
from furiosa.runtime.bench.measure import Measured
from furiosa.runtime.profile_text import estimate, percentile
from furiosa.runtime.profiler import MEASURED, SIMULATED

if TYPE_CHECKING:
    from furiosa.enf.performance import Performance

PERCENTILES = (50, 90, 95, 99, 99.9)
_RULE = "=" * 72
_MODES = {"L": "latency", "T": "throughput"}


@dataclass(frozen=True)
class Result:
    """Everything that a benchmark found.

    ``path`` is as the user gave it; ``md5`` and ``sha256`` are of that file.  ``create_us`` is the time from the model file to a
    session, with the compilation where the model was none yet (``compiled``); ``warm_up_us`` that of one query on each worker.
    """

    path: str
    md5: str
    sha256: str
    compiler_version: str
    target_npu: str
    batch_size: int
    workload: str
    workers: int
    io_threads: int
    seed: int | None
    compiled: bool
    create_us: float
    warm_up_us: float
    measured: Measured
    performance: Performance

    @property
    def accuracy(self) -> str:
        """What the estimate is worth, in words."""
        return latency_note(load_target(self.target_npu))


def as_json(r: Result) -> str:
    """The result as JSON: the vendor's keys where they are known (docs/profiling.md), and more."""
    latencies = sorted(r.measured.latencies_ns)
    count = len(latencies)
    qps = count / r.measured.total_ns * 1e9
    p = r.performance
    content: dict[str, Any] = {
        "model_data": {"path": r.path, "md5": r.md5, "sha256": r.sha256},
        "compiler_version": r.compiler_version,
        "hal_version": None,
        "git_revision": None,
        "device": f"NPU simulator of {r.target_npu}; no NPU hardware was used",
        "result": {
            "note": MEASURED,
            "mode": _MODES[r.workload],
            "total run time": _us(r.measured.total_ns),
            "total num queries": count,
            "batch size": r.batch_size,
            "qps": round(qps, 3),
            "latency stats": {name: round(value, 3) for name, _, value in _stats(latencies)},
            "unit of time": "us",
        },
        "measured": {
            "note": MEASURED,
            "samples_per_s": round(qps * r.batch_size, 3),
            "workers": r.workers,
            "io_threads": r.io_threads,
            "compiled": r.compiled,
            "create_session_us": round(r.create_us, 3),
            "warm_up_queries": r.workers,
            "warm_up_us": round(r.warm_up_us, 3),
            **{key: round(value, 3) for key, _, value in _parts(r)},
        },
        "simulated": {
            "note": SIMULATED,
            "latency_note": r.accuracy,
            "target_npu": r.target_npu,
            "batch_size": r.batch_size,
            "latency_us": p.latency_us,
            "npu_us": p.npu_us,
            "transfer_us": p.transfer_us,
            "host_us": p.host_us,
            "overhead_us": p.overhead_us,
            "throughput_per_s": p.throughput_per_s,
            "setup_us": p.setup_us,
            "dram_bytes_read": p.dram_bytes_read,
            "dram_bytes_written": p.dram_bytes_written,
        },
        "inputs": "given" if r.seed is None else f"random, seed {r.seed}",
    }
    return json.dumps(content, indent=2) + "\n"


def text(r: Result) -> Iterator[str]:
    """The result for people."""
    latencies = sorted(r.measured.latencies_ns)
    count, total_s = len(latencies), r.measured.total_ns / 1e9
    yield _RULE
    how = "one query at a time"
    if r.workload == "T":
        how = f"as many queries at once as workers, {r.workers}; I/O threads: {r.io_threads}"
    yield f"This benchmark was executed with {_MODES[r.workload]}-workload: {how}"
    yield f"{count} queries executed with batch size {r.batch_size}, after {r.workers} to warm up, which are not counted"
    yield "Inputs: " + ("as given" if r.seed is None else f"random, seed {r.seed}")
    yield _RULE
    yield f"Simulated NPU time for {r.target_npu}: nothing of it is measured"
    yield f"Latency is {r.accuracy}"
    yield from _columns(estimate(r.performance))
    yield ""
    yield MEASURED[0].upper() + MEASURED[1:]
    rows = [
        ("Total run time (s)", f"{total_s:.3f}"),
        ("QPS(Throughput) (queries/s)", f"{count / total_s:.2f}"),
        ("Samples/s", f"{count * r.batch_size / total_s:.2f}"),
        *((label, f"{value:.0f}") for _, label, value in _stats(latencies)),
        *((label, f"{value:.0f}") for _, label, value in _parts(r)),
        (
            "Compiling, creating the session (us)" if r.compiled else "Creating the session (us)",
            f"{r.create_us:.0f}",
        ),
        ("Warming up (us)", f"{r.warm_up_us:.0f}"),
    ]
    yield from _columns(rows)


def _us(ns: int) -> float:
    return ns / 1e3


def _stats(latencies: list[int]) -> Iterator[tuple[str, str, float]]:
    """(key, label, microseconds) of ascending latencies."""
    yield "min", "Min latency (us)", _us(latencies[0])
    yield "max", "Max latency (us)", _us(latencies[-1])
    yield "mean", "Mean latency (us)", _us(sum(latencies)) / len(latencies)
    for p in PERCENTILES:
        yield f"{p}th percentile", f"{p}th percentile (us)", _us(percentile(latencies, p))


def _parts(r: Result) -> Iterator[tuple[str, str, float]]:
    """(key, label, microseconds a query) of what an inference consists of."""
    labels = {
        recording.SIMULATE: ("simulator_us", "of it in the simulator of the NPU, mean (us)"),
        recording.HOST: ("host_clusters_us", "of it in host clusters, mean (us)"),
    }
    for name, (key, label) in labels.items():
        yield key, label, _us(r.measured.parts_ns.get(name, 0)) / len(r.measured.latencies_ns)


def _columns(rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max(len(label) for label, _ in rows)
    yield from (f"  {label:<{width}} : {value}" for label, value in rows)
