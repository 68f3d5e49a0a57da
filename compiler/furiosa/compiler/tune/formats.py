"""A sweep as a text table, JSON or CSV.  Nothing of time, path or machine is in it: the same bytes everywhere."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from furiosa.compiler import __version__
from furiosa.compiler.tune.point import OK, Point, best
from furiosa.compiler.tune.words import explain, size
from furiosa.enf.errors import visible

NOTE = "predictions of the timing model in the steady state, weights on the card: docs/calibration.md"


@dataclass(slots=True)
class Sweep:
    """What was swept: the source's file name and digest, the options, what of it was compiled (see docs/report.md), and the points in order."""

    model: str
    source_sha256: str
    compatibility: str
    optimize: int
    selection: dict[str, Any] | None
    points: list[Point]

    def targets(self) -> dict[str, list[Point]]:
        """The points of each NPU."""
        out: dict[str, list[Point]] = {}
        for p in self.points:
            out.setdefault(p.target_npu, []).append(p)
        return out


_COLUMNS = (
    "batch",
    "samples/s",
    "latency us",
    "bound by",
    "SRAM peak",
    "DRAM",
    "DRAM traffic/sample",
    "weights/run",
    "spilled/sample",
)


def lines(points: list[Point]) -> list[str]:
    """A table of points; one that failed has its outcome in the place of figures."""
    rows = [_COLUMNS]
    for p in points:
        if p.outcome != OK:
            rows.append((str(p.batch_size), p.outcome))
            continue
        rows.append(
            (
                str(p.batch_size),
                f"{p.throughput_per_s:,.1f}",
                f"{p.latency_us:,.1f}",
                p.bound_by,
                size(p.sram_peak_bytes),
                size(p.dram_bytes),
                size(p.traffic_bytes_per_sample),
                size(p.weight_bytes),
                size(p.spilled_bytes / p.batch_size),
            )
        )
    widths = [max(len(r[i]) for r in rows if len(r) == len(_COLUMNS)) for i in range(len(_COLUMNS))]
    return ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths)) for row in rows]


def text(sweep: Sweep) -> str:
    """A table for each NPU, each with its sentences."""
    out = [f"{sweep.model}: {NOTE}"]
    for npu, points in sweep.targets().items():
        out += ["", npu, *lines(points), *explain(points)]
    return "".join(f"{visible(line)}\n" for line in out)


def to_json(sweep: Sweep) -> str:
    """ASCII JSON; docs/tune.md describes its fields."""
    targets = []
    for npu, points in sweep.targets().items():
        top = best(points)
        targets.append(
            {
                "target_npu": npu,
                "best_batch_size": top.batch_size if top else None,
                "explanation": explain(points),
                "points": [{k: v for k, v in p.row().items() if k != "target_npu"} for p in points],
            }
        )
    content = {
        "model": sweep.model,
        "source_sha256": sweep.source_sha256,
        "compiler_version": __version__,
        "compatibility": sweep.compatibility,
        "optimize": sweep.optimize,
        "selection": sweep.selection,
        "note": NOTE,
        "targets": targets,
    }
    return json.dumps(content, indent=2) + "\n"


def to_csv(sweep: Sweep) -> str:
    """A line for each point, after one with the names of the columns."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["model", *Point("", 1).row()], lineterminator="\n")
    writer.writeheader()
    for p in sweep.points:
        writer.writerow({k: _cell(v) for k, v in {"model": sweep.model, **p.row()}.items()})
    return out.getvalue()


def _cell(value: object) -> object:
    """A text on one line, that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(("=", "+", "-", "@")) else visible(value)


FORMATS = {"table": text, "json": to_json, "csv": to_csv}
SUFFIXES = {".json": "json", ".csv": "csv", ".txt": "table"}
