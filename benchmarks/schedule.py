"""Writes docs/schedule.md: for every example and shared model how near its schedule is to what bounds it.

    PYTHONPATH=enf:compiler:runtime:examples/models python benchmarks/schedule.py

Nothing is run and no clock is read: the figures are the timing model's and follow from the programs alone.  Shared models are
those of ../shared/models; the example models are generated on the way.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from generator.__main__ import build

from furiosa.compiler.errors import CompileError
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf.target import TARGETS, Target

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT.parent / "shared" / "models"
EXAMPLES = ("tiny", "resnet50", "ssd_mobilenet", "ssd_resnet34")
BATCHES = (1, 2, 8)


class Row(NamedTuple):
    """One program: times in microseconds, sizes in bytes; ``bound_us`` is the sum of its layers' larger bounds."""

    model: str
    target: str
    batch: int
    peak_us: float
    compute_us: float
    memory_us: float
    bound_us: float
    simulated_us: float
    sram_peak: int
    sram_lower_bound: int
    resident: int
    crossing: int
    dram: int


def measure(name: str, model: bytes, target: str, batch: int) -> Row | str:
    """The figures of a model for a target and batch size, or why there are none."""
    try:
        c = Compilation(model, Options(target, batch)).run()
    except CompileError as e:
        return f"{name} for {target}, batch size {batch}: {e}"
    p = c.performance
    if not p.npu_us:
        return f"{name} for {target}, batch size {batch}: nothing runs on the NPU"
    crossing = sum(c.dram[t].size for t in {*c.ldfg.graph.inputs, *c.ldfg.graph.outputs} if t in c.dram)
    return Row(
        name,
        target,
        batch,
        sum(x.macs for x in p.layers) / _macs_per_us(c.target),
        sum(x.compute_bound_us for x in p.layers),
        sum(x.memory_bound_us for x in p.layers),
        sum(max(x.compute_bound_us, x.memory_bound_us) for x in p.layers),
        p.npu_us,
        c.lir.sram_peak,
        c.lir.sram_lower_bound,
        c.lir.resident_bytes,
        crossing,
        p.dram_bytes_read + p.dram_bytes_written,
    )


def _macs_per_us(target: Target) -> float:
    return target.slices * target.mac_width * target.mac_height * target.clock_hz / 1e6


def markdown(rows: list[Row], others: list[str]) -> str:
    out = io.StringIO()
    out.write(
        "# Schedules\n\n"
        "What the timing model ([calibration.md](calibration.md)) says of each program, in microseconds of one run of the whole batch in the\n"
        "steady state. *Peak*: multiply-accumulates at the peak of the machine. *Compute* and *memory*: sums over the layers, of the work of\n"
        "their commands on the NPU and the start of one command, and of their DRAM traffic at full bandwidth; *bound*: the sum of the larger of the two of each layer.\n"
        "*Simulated*: the NPU's time from the first command to the last, transfers over PCIe and the overhead of a run not among it. *SRAM*: highest address in use,\n"
        "and the most bytes that live at one time, below which no addresses can get; *resident*: weights among it that stay from run to\n"
        "run. *DRAM*: bytes read and written in a run, and how many of them are more than the model's inputs and outputs.\n"
        "Where the ratio is far above 1, layers take several commands of little work. Written by\n"
        "`benchmarks/schedule.py`; do not edit.\n\n"
        "| model | target | batch | peak | compute | memory | bound | simulated | simulated / bound | SRAM | at least | resident | DRAM | beyond inputs and outputs |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    for r in rows:
        out.write(
            f"| {r.model} | {r.target} | {r.batch} | {r.peak_us:.1f} | {r.compute_us:.1f} | {r.memory_us:.1f} | {r.bound_us:.1f} | "
            f"{r.simulated_us:.1f} | {r.simulated_us / r.bound_us:.2f} | {r.sram_peak:,} | {r.sram_lower_bound:,} | {r.resident:,} | "
            f"{r.dram:,} | {r.dram - r.crossing:,} |\n"
        )
    if others:
        out.write("\nWithout a row:\n\n" + "".join(f"- {line}\n" for line in others))
    return out.getvalue()


def main() -> None:
    rows, others = [], []
    models = {name: build(name, "int8").SerializeToString(deterministic=True) for name in EXAMPLES}
    shared = [p for p in sorted(MODELS.glob("*.*")) if p.suffix in (".tflite", ".onnx")]
    for name, model in [*models.items(), *((p.stem, p.read_bytes()) for p in shared)]:
        for target in TARGETS:
            for batch in BATCHES:
                found = measure(name, model, target, batch)
                (others if isinstance(found, str) else rows).append(found)
                print(found, flush=True)
    (ROOT / "docs" / "schedule.md").write_text(markdown(rows, others), encoding="utf-8")


if __name__ == "__main__":
    main()
