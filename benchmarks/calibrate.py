"""Fits the timing model's free parameters to published times; writes them to the targets, and the tables of docs/calibration.md.

    PYTHONPATH=enf:compiler:runtime:examples/models python benchmarks/calibrate.py [--check]

The networks are compiled in the configurations of the submission (mlperf.py).  A schedule depends on what commands cost, so they are
compiled again with the parameters that were fitted, until those stay the same.  --check prints and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlperf import MULTI_STREAM, NAMES, POINTS, SINGLE, SPREADS, Point, networks

from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import enf_pb2
from furiosa.enf.performance import Performance, analyze
from furiosa.enf.target import PARAMETERS, TARGETS, Origin, load_target

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "calibration.md"
DESCRIPTIONS = ROOT / "enf" / "furiosa" / "enf" / "targets"
PEAK_OPS = 64e12  # as the vendor states it; 128 slices x 32 x 4 x 2 x 2 GHz are 65.5e12

Parameters = dict[str, float]
Key = tuple[str, str, int]  # network, target, batch


class Free(NamedTuple):
    """A fitted parameter: what is plausible for it, and the steps in which it is searched."""

    name: str
    low: float
    high: float
    step: float


FREE = (
    Free("command_overhead_cycles", 0, 100_000, 10),
    Free("run_overhead_us", 0, 1_000, 0.1),
)

# what else the machine might be like; each with its own fit
STRUCTURES: tuple[tuple[str, Parameters], ...] = (
    ("as chosen", {}),
    ("the arrays never wait for a fetch", {"fetch_bytes_per_cycle_per_slice": 1 << 20}),
    ("32 bytes fetched a cycle", {"fetch_bytes_per_cycle_per_slice": 32}),
    ("8 bytes fetched a cycle", {"fetch_bytes_per_cycle_per_slice": 8}),
    ("commits hidden behind sums", {"commit_bytes_per_cycle_per_slice": 1 << 20}),
    ("a shift register without limit", {"shift_register_bytes": 1 << 20}),
    ("no overhead of commands", {"command_overhead_cycles": 0}),
)


class Program(NamedTuple):
    """A compiled network, and what it is predicted to do with other parameters."""

    compilation: Compilation
    parts: tuple[Any, ...]

    def performance(self, parameters: Parameters) -> Performance:
        return analyze(*self.parts, self.compilation.target._replace(**parameters))


def compiled(data: bytes, target: str, batch: int, parameters: Parameters) -> Program:
    """A program whose schedule is made for a machine with these parameters."""
    c = Compilation(data, Options(target, batch))
    c.target = c.target._replace(**parameters)
    c.run()
    plan = enf_pb2.Plan.FromString(bytes(c.enf["plan"]))
    debug = enf_pb2.DebugMap.FromString(bytes(c.enf["debug"]))
    interface = enf_pb2.Interface.FromString(bytes(c.enf["interface"]))
    metadata = enf_pb2.Metadata.FromString(bytes(c.enf["metadata"]))
    return Program(c, (c.lir.commands, plan.steps, debug, interface, metadata))


class Calibration(NamedTuple):
    """Parameters, and the programs that are scheduled with them."""

    free: Sequence[Free]
    parameters: Parameters
    programs: dict[Key, Program]

    def predicted(self, p: Point, parameters: Parameters | None = None) -> float:
        performance = self.programs[p.network, p.target, p.batch].performance(parameters or self.parameters)
        return performance.latency_us if p.scenario == SINGLE else performance.throughput_per_s

    def error(self, p: Point, parameters: Parameters | None = None) -> float:
        """Predicted / measured - 1."""
        return self.predicted(p, parameters) / p.measured - 1

    def left_out(self, p: Point) -> float:
        """The error where no point of the same network is part of the fit."""
        return self.error(p, self.fit([q for q in POINTS if q.network != p.network]))

    def fit(self, points: Sequence[Point] = POINTS) -> Parameters:
        """The least sum of squared relative errors: one parameter after the other, each by golden section."""
        found = dict(self.parameters)

        def loss(name: str, value: float) -> float:
            trial = found | {name: value}
            return sum(math.log(self.predicted(p, trial) / p.measured) ** 2 for p in points)

        for _ in range(8):
            before = dict(found)
            for f in self.free:
                count = round((f.high - f.low) / f.step)
                steps = _least(lambda n, f=f: loss(f.name, f.low + n * f.step), count)
                value = round(f.low + steps * f.step, 1)
                found[f.name] = value if f.step < 1 else int(value)
            if found == before:
                break
        return found


def calibrate(models: dict[str, bytes], structure: Parameters) -> Calibration:
    """Fits what is free in a machine of this structure."""
    free = [f for f in FREE if f.name not in structure]
    target = load_target(TARGETS[0])
    parameters = {f.name: getattr(target, f.name) for f in free} | structure
    for _ in range(4):
        programs = {
            (p.network, p.target, p.batch): compiled(models[p.network], p.target, p.batch, parameters)
            for p in POINTS
        }
        result = Calibration(free, parameters, programs)
        found = result.fit()
        if found == parameters:
            break
        parameters = found
    return Calibration(free, parameters, programs)


def _least(cost: Callable[[int], float], high: int) -> int:
    """The whole number from 0 to ``high`` with the least cost, of a cost with one valley."""
    known: dict[int, float] = {}

    def at(n: int) -> float:
        if n not in known:
            known[n] = cost(n)
        return known[n]

    low, ratio = 0, (math.sqrt(5) - 1) / 2
    while high - low > 3:
        a, b = round(high - ratio * (high - low)), round(low + ratio * (high - low))
        if at(a) <= at(b):
            high = b
        else:
            low = a
    return min(range(low, high + 1), key=at)


# -- the page -----------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def points_table(c: Calibration, left_out: list[float]) -> str:
    rows = []
    for p, other in zip(POINTS, left_out, strict=True):
        unit = "us" if p.scenario == SINGLE else "samples/s"
        figures = f"{c.predicted(p):,.1f}", f"{p.measured:,.1f}", f"{c.error(p):+.1%}", f"{other:+.1%}"
        rows.append(
            (NAMES[p.network], p.scenario, f"`{p.target}`, {p.batch}", unit, *figures, f"{p.older:,.1f}")
        )
    head = "network", "scenario", "target, batch", "unit", "predicted", "measured (v2.0)", "error"
    return table((*head, "error, network left out", "measured (v1.1)"), rows)


def structures_table(models: dict[str, bytes]) -> str:
    rows = []
    for name, structure in STRUCTURES:
        c = calibrate(models, structure)
        found = [c.error(p) for p in POINTS]
        overhead = f"{c.parameters['command_overhead_cycles']:,}"
        rows.append((name, overhead, f"{max(map(abs, found)):.1%}", *(f"{e:+.1%}" for e in found)))
    points = (f"{NAMES[p.network]} {p.scenario}" for p in POINTS)
    return table(("structure", "`command_overhead_cycles`", "largest error", *points), rows)


def figures_table(models: dict[str, bytes], parameters: Parameters) -> str:
    """Share of the peak, and what a second PE brings at batch 1."""
    rows = []
    for network, data in models.items():
        one, two = (compiled(data, t, 1, parameters).performance(parameters) for t in TARGETS)
        ops = 2 * sum(layer.macs for layer in two.layers)
        (measured,) = (p.measured for p in POINTS if p.network == network and p.scenario == SINGLE)
        shares = [f"{ops / us * 1e6 / PEAK_OPS:.1%}" for us in (two.latency_us, measured)]
        latencies = f"{one.latency_us:,.1f}", f"{two.latency_us:,.1f}"
        rows.append(
            (
                NAMES[network],
                f"{ops / 1e9:.1f}",
                *shares,
                *latencies,
                f"{one.latency_us / two.latency_us:.2f}",
            )
        )
    head = "network", "GOP", "share of 64 TOPS, predicted", "share, measured"
    return table((*head, "us on one PE", "us on both, fused", "gain"), rows)


def multi_stream_table(models: dict[str, bytes], parameters: Parameters) -> str:
    """Eight samples at once, spread over the card in one way or another."""
    rows = [("measured", *(f"{us:,.0f} us" for us in MULTI_STREAM.values()))]
    for words, target, batch, runs in SPREADS:
        cells = []
        for network, measured in MULTI_STREAM.items():
            us = (
                runs * compiled(models[network], target, batch, parameters).performance(parameters).latency_us
            )
            cells.append(f"{us:,.0f} us ({us / measured - 1:+.1%})")
        rows.append((words, *cells))
    return table(("eight samples as", *(NAMES[network] for network in MULTI_STREAM)), rows)


def parameters_table() -> str:
    """Every parameter of the timing model, from the descriptions of the targets."""
    one, two = (load_target(name) for name in TARGETS)
    rows = []
    for name, (origin, meaning) in PARAMETERS.items():
        if origin in (Origin.VENDOR, Origin.FITTED, Origin.GUESS):
            value = getattr(one, name)
            assert value == getattr(two, name), f"the targets differ in {name}"
            rows.append((f"`{name}`", f"{value:,}", origin, meaning))
    return table(("parameter", "value", "origin", "meaning"), rows)


def fill(page: str, tables: dict[str, str]) -> str:
    """The page with each table between its marks replaced."""
    for name, text in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        page, count = re.subn(pattern, lambda m, text=text: f"{m[1]}\n{text}\n{m[2]}", page, flags=re.DOTALL)
        assert count == 1, f"no place for the table '{name}'"
    return page


def write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="calibrate", description="Calibrates the timing model.")
    parser.add_argument("--check", action="store_true", help="fit and print, write nothing")
    arguments = parser.parse_args()
    models = networks()
    c = calibrate(models, {})
    left_out = [c.left_out(p) for p in POINTS]
    points = points_table(c, left_out)
    print(c.parameters, points, sep="\n")
    if arguments.check:
        return 0
    known = {
        "calibration_error_percent": round(100 * max(abs(c.error(p)) for p in POINTS), 1),
        "left_out_error_percent": round(100 * max(map(abs, left_out)), 1),
    }
    for name in TARGETS:
        path = DESCRIPTIONS / f"{name}.json"
        description = json.loads(path.read_text(encoding="ascii")) | c.parameters | known
        write(path, json.dumps(description, indent=2) + "\n")
    load_target.cache_clear()
    tables = {
        "points": points,
        "figures": figures_table(models, c.parameters),
        "multi-stream": multi_stream_table(models, c.parameters),
        "structures": structures_table(models),
        "parameters": parameters_table(),
    }
    write(PAGE, fill(PAGE.read_text(encoding="utf-8"), tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
