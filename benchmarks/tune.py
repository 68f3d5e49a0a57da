"""Writes the lower part of docs/tune.md: the predicted best batch sizes of the MLPerf networks beside the published ones.

    PYTHONPATH=enf:compiler:runtime:examples/models python benchmarks/tune.py

The example models are generated on the way; a minute on two cores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from furiosa.compiler.pipeline import Options
from furiosa.compiler.tune.arguments import batch_sizes
from furiosa.compiler.tune.point import OK, Point, best
from furiosa.compiler.tune.sweep import sweep
from furiosa.compiler.tune.words import explain, size

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tune.md"
MARK = "<!-- What follows is written by benchmarks/tune.py; do not edit. -->"
TARGETS = ("warboy", "warboy-2pe")
AGREES = 0.95  # of the best predicted throughput


class Published(NamedTuple):
    """What the vendor took for an MLPerf network.

    ``optimum``: the compiler page of SDK 0.6.3 ("found by experiment"; it names no target, the default is warboy-2pe).
    ``offline``: target and batch size of the offline run of MLPerf Inference v2.0.
    """

    name: str
    optimum: int
    offline: tuple[str, int]


NETWORKS = {
    "resnet50": Published("ResNet50-v1.5", 1, ("warboy", 8)),
    "ssd_mobilenet": Published("SSD-MobileNet-v1", 2, ("warboy", 8)),
    "ssd_resnet34": Published("SSD-ResNet34", 1, ("warboy-2pe", 1)),
}

Points = dict[str, dict[int, Point]]  # by NPU and batch size


def measure(model: str, folder: Path) -> Points:
    """The sweep of an example model."""
    path = folder / f"{model}.onnx"
    arguments = ["--model", model, "--precision", "int8", "--output", str(path)]
    subprocess.run([sys.executable, "-m", "generator", *arguments], check=True)
    wanted = [(npu, n) for npu in TARGETS for n in batch_sizes(64)]
    out: Points = {npu: {} for npu in TARGETS}
    for p in sweep(path.read_bytes(), Options(), wanted, jobs=2):
        out[p.target_npu][p.batch_size] = p
    return out


def comparison(networks: dict[str, Points]) -> Iterator[str]:
    """A row for each published batch size: how much of the best predicted throughput it has."""
    yield "| network | published | batch | predicted best batch | throughput of the published batch | |"
    yield "|---|---|---|---|---|---|"
    for model, points in networks.items():
        published = NETWORKS[model]
        offline = f"MLPerf v2.0 offline, `{published.offline[0]}`"
        for what, (npu, batch) in (
            ("optimum of the compiler page, `warboy-2pe`", ("warboy-2pe", published.optimum)),
            (offline, published.offline),
        ):
            top, share = best(list(points[npu].values())), _share(points[npu], batch)
            verdict = "agrees" if share >= AGREES else "differs"
            yield (
                f"| {published.name} | {what} | {batch} | {top.batch_size} | {100 * share:.1f} % of the best | {verdict} |"
            )


def _share(points: dict[int, Point], batch: int) -> float:
    return points[batch].throughput_per_s / max(p.throughput_per_s for p in points.values())


def why(points: Points, published: Published) -> Iterator[str]:
    """Sentences from the figures about what a batch gains and loses on each NPU."""
    for npu in TARGETS:
        one = points[npu][1]
        top = best(list(points[npu].values()))
        gain = top.throughput_per_s / one.throughput_per_s - 1
        if not one.weight_bytes:
            gains = "all weights stay in SRAM from run to run already at batch 1, so a larger batch has no load to share"
        else:
            gains = (
                f"at batch 1 every run loads {size(one.weight_bytes)} of weights, which a larger batch shares"
            )
        if one.spilled_bytes:
            gains += f"; a single sample does not fit SRAM, {size(one.spilled_bytes)} of it are kept in DRAM at any batch"
        yield f"- `{npu}`: {gains}. Batch {top.batch_size} is predicted {100 * gain:.1f} % faster than batch 1."
        yield from (f"  {line[0].upper()}{line[1:]}." for line in explain(list(points[npu].values()))[1:])


def table(points: Points) -> Iterator[str]:
    """Both NPUs side by side, a row for each batch size."""
    columns = (
        "samples/s",
        "latency ms",
        "bound by",
        "SRAM",
        "DRAM",
        "traffic/sample",
        "weights/run",
        "spilled/sample",
    )
    yield (
        "| batch | "
        + " | ".join(f"`{npu}`: {columns[0]} | {' | '.join(columns[1:])}" for npu in TARGETS)
        + " |"
    )
    yield "|---" * (1 + len(TARGETS) * len(columns)) + "|"
    for n in next(iter(points.values())):
        yield f"| {n} | " + " | ".join(" | ".join(_cells(points[npu][n])) for npu in TARGETS) + " |"


def _cells(p: Point) -> list[str]:
    if p.outcome != OK:
        return [p.outcome, *[""] * 7]
    return [
        f"{p.throughput_per_s:,.0f}",
        f"{p.latency_us / 1e3:,.3f}",
        p.bound_by,
        size(p.sram_peak_bytes),
        size(p.dram_bytes),
        size(p.traffic_bytes_per_sample),
        size(p.weight_bytes),
        size(p.spilled_bytes / p.batch_size),
    ]


TEXT = f"""\
## Beside the published batch sizes

A published batch size *agrees* where no other is predicted to be more than {100 * (1 - AGREES):.0f} % faster. There are two publications, and they contradict
each other: the compiler page's optima "by experiment", and the batch of 8 on two single PEs with which the vendor submitted MLPerf's offline runs.
"""

REASONS = """\
What decides in the model, and so in this table:

- A batch pays by sharing what every run costs: the loading of weights that do not stay in SRAM, the start of each command, the overhead of a run. With all
  weights resident, as two fused PEs with 32 MiB can have them, little is left to share, and the smallest batch is as good: the compiler page's 1 and 2.
- One PE has 16 MiB. Where weights and activations do not fit it together, every run loads weights, and a batch shares them: so the two networks that
  MLPerf's offline runs put on single PEs were run with more than one sample.
- Activations grow with the batch, weights do not. Where SRAM no longer holds both, first weights are loaded in every run again, then whole tensors go to DRAM
  and back: the cliff. Beyond it a larger batch only loses.
- A network whose single sample already overflows SRAM, such as SSD-ResNet34 at 1200 x 1200, has nothing to gain from a batch at all.
- The model's runs follow each other without a gap: workers enough, no queue, no variation. A batch also hides the host's part of a run, which these
  figures leave out and a real offline run has: one reason more for its 8.
"""


def main() -> int:
    networks = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in NETWORKS:
            print(model, flush=True)
            networks[model] = measure(model, Path(folder))
    lines = [TEXT, *comparison(networks), "", REASONS]
    for model, points in networks.items():
        published = NETWORKS[model]
        lines += [f"### {published.name}", "", *why(points, published), "", *table(points), ""]
    head = PAGE.read_text("utf-8").partition(MARK)[0].rstrip("\n")
    PAGE.write_text("\n".join([head, "", MARK, "", *lines]).rstrip("\n") + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
