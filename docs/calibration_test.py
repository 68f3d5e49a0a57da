"""docs/calibration.md says what the descriptions of the targets say, and keeps what it promises."""

from __future__ import annotations

import os
import re

import pytest

from furiosa.enf.performance import latency_note
from furiosa.enf.target import PARAMETERS, TARGETS, Origin, Target, load_target

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "calibration.md")


def rows(name: str) -> list[list[str]]:
    """The cells of the table between two marks, its head left out."""
    with open(PAGE, encoding="utf-8") as f:
        (text,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", f.read(), re.DOTALL)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("name", TARGETS)
def test_parameters_are_those_of_the_targets(name):
    target = load_target(name)
    shown = {row[0].strip("`"): row[1:] for row in rows("parameters")}
    kinds = (Origin.VENDOR, Origin.FITTED, Origin.GUESS)
    assert set(shown) == {n for n, (origin, _) in PARAMETERS.items() if origin in kinds}
    for parameter, (value, origin, meaning) in shown.items():
        assert value == f"{getattr(target, parameter):,}", f"run benchmarks/calibrate.py: {parameter}"
        assert (origin, meaning) == PARAMETERS[parameter]


def test_every_parameter_is_explained():
    assert set(PARAMETERS) == set(Target._fields) - {"name"}


def test_the_errors_are_those_of_the_points():
    points = rows("points")
    assert len(points) == 6
    for i, figure in ((6, "calibration_error_percent"), (7, "left_out_error_percent")):
        largest = max(abs(float(row[i].rstrip("%"))) for row in points)
        for name in TARGETS:
            assert getattr(load_target(name), figure) == pytest.approx(largest, abs=0.051)
    for row in points:
        predicted, measured = (float(row[i].replace(",", "")) for i in (4, 5))
        assert float(row[6].rstrip("%")) == pytest.approx(100 * (predicted / measured - 1), abs=0.2)


def test_the_goals_are_met():
    """Every point within 10 %, and within 25 % where its network is left out."""
    for name in TARGETS:
        assert load_target(name).calibration_error_percent <= 10
        assert load_target(name).left_out_error_percent <= 25


def test_parameters_are_plausible():
    for name in TARGETS:
        target = load_target(name)
        assert target.command_overhead_cycles >= 0 and target.run_overhead_us >= 0
        assert 0 < target.pcie_bytes_per_s <= 15_750_000_000
        assert 0 < target.dram_bytes_per_s <= 66_000_000_000


def test_the_note_ends_a_sentence():
    note = latency_note(
        load_target("warboy")._replace(calibration_error_percent=3.0, left_out_error_percent=4.5)
    )
    assert (
        note.startswith("an estimate, off by at most 3 % on ")
        and "4.5 % on those of a network left out" in note
    )
