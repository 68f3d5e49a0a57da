"""docs/limits.md has every bound of the code that a user can meet, with its value."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import furiosa.compiler
import furiosa.enf
import furiosa.quantizer
import furiosa.runtime

PAGE = Path(__file__).resolve().parent / "limits.md"
ROOMS = (furiosa.compiler, furiosa.enf, furiosa.quantizer, furiosa.runtime)
BOUND = re.compile(r"_?(MAX|MOST|MANY|LONGEST|SECONDS|BEYOND|LIMIT)(_[A-Z_]+)?")
UNITS = {"": 1, " KiB": 1 << 10, " MiB": 1 << 20, " GiB": 1 << 30}

MESSAGES = """
    compiler.checks.reproduce.MAX_LINES compiler.frontend.ends._MAX_NAMES compiler.frontend.formulas._LONGEST compiler.frontend.open_dims._MAX_LISTED
    compiler.dfg.graph.MAX_KINDS compiler.enf.encode.MAX_NAME compiler.ldfg.verdict.MOST_CHARACTERS compiler.report.dot._LONGEST enf.command.MAX_DETAIL
    enf.command.MAX_LINE enf.diff.MAX_LINES enf.errors.MAX_SENTENCE enf.report.text._LONGEST runtime.remote.MAX_NOISE runtime.remote.MAX_SENTENCE
"""
# beyond which another schedule, or another way to the same numbers, is taken
SEARCHES = """
    compiler.gir.bands.MAX_BANDS compiler.gir.fit._MAX_SAMPLES compiler.gir.fit._MAX_STEPS compiler.gir.groups._LONGEST compiler.gir.groups._MOST_AT_AN_END
    compiler.gir.work.MAX_TRANSFERS compiler.ldfg.compose._LONGEST compiler.ldfg.moves.MAX_COPIES compiler.ldfg.onnx.moments._MOST
    compiler.ldfg.onnx.moved_reals._LONGEST compiler.lir.allocate._MOST_PAIRS enf.hazards.MAX_ACCESSES enf.hazards.MAX_PAST
"""
# parts of a number format
NUMBERS = "quantizer.place.constants._MOST quantizer.place.constants._MOST_BIAS"
NOT_MET = {f"furiosa.{name}" for name in f"{MESSAGES} {SEARCHES} {NUMBERS}".split()}


@cache
def bounds() -> dict[str, int | float]:
    """The constants of modules that are named like bounds and are numbers."""
    found = {}
    for room in ROOMS:
        (folder,) = room.__path__
        for path in sorted(Path(folder).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if parts[-1].endswith(("_test", "_pb2")) or "testing" in parts:
                continue
            module = ".".join([room.__name__, *(p for p in parts if p != "__init__")])
            for node in ast.parse(path.read_text("utf-8")).body:
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                for target in targets:
                    if isinstance(target, ast.Name) and BOUND.fullmatch(target.id):
                        value = getattr(importlib.import_module(module), target.id)
                        if isinstance(value, int | float):
                            found[f"{module}.{target.id}"] = value
    return found


def rows() -> dict[str, str]:
    """The value of each constant on the page."""
    cells = [
        [c.strip() for c in line.strip("|").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("|") and line.endswith("` |")
    ]
    names = [c[-1].strip("`") for c in cells]
    assert len(names) == len(set(names))
    return {name: c[1] for name, c in zip(names, cells, strict=True)}


def shown(value: float) -> set[str]:
    """How a page may write a bound."""
    whole = {f"{value // size:,}{unit}" for unit, size in UNITS.items() if value % size == 0}
    return whole | {f"{value:g}"} if isinstance(value, float) else whole


def test_every_bound_is_on_the_page() -> None:
    missing = bounds().keys() - rows().keys() - NOT_MET
    assert not missing, f"docs/limits.md does not say, nor does NOT_MET: {sorted(missing)}"


def test_nothing_else_is() -> None:
    gone = (rows().keys() | NOT_MET) - bounds().keys()
    assert not gone, f"not in the code: {sorted(gone)}"
    assert not NOT_MET & rows().keys()


def test_the_values_are_those_of_the_code() -> None:
    wrong = {
        name: (value, bounds()[name]) for name, value in rows().items() if value not in shown(bounds()[name])
    }
    assert not wrong


def test_a_constant_is_found() -> None:
    """Of each room, also one that is computed."""
    assert bounds()["furiosa.compiler.limits.BEYOND"] == 1 << 28
    assert {name.split(".")[1] for name in bounds()} == {"compiler", "enf", "quantizer", "runtime"}
