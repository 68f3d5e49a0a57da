"""docs/operators.md is what the tables say, and the tables are what decides."""

from __future__ import annotations

import inspect
import pathlib

import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.ldfg import docgen, rules, vendor
from furiosa.compiler.ldfg.onnx import lower as onnx_lower
from furiosa.compiler.ldfg.tflite import lower as tflite_lower
from furiosa.compiler.ldfg.verdict import rule_id, rule_text

LOWERINGS = [*onnx_lower.LOWERINGS.items(), *tflite_lower.LOWERINGS.items()]


def _page() -> str:
    """The page in the repository; under Bazel the file //docs:operators.md among the test's data."""
    for folder in pathlib.Path(__file__).absolute().parents:
        path = folder / "docs" / "operators.md"
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise AssertionError("docs/operators.md is not there: under Bazel make it data of this test")


def test_the_page_is_not_stale():
    assert _page() == docgen.markdown(), "run: python -m furiosa.compiler.ldfg.docgen > docs/operators.md"


@pytest.mark.parametrize(("name", "function"), LOWERINGS, ids=[name for name, _ in LOWERINGS])
def test_every_lowering_declares_its_rules(name, function):
    """That it checks exactly these is proved where it runs: Lowering.apply, legality_test.py."""
    assert function.rules, f"put @rules.requires(rules.…) above {function.__name__}"
    assert set(function.rules) <= set(docgen.all_rules())
    assert rules.eight_bit_activations in function.rules


@pytest.mark.parametrize("rule", docgen.all_rules(), ids=rule_id)
def test_every_rule_says_what_it_wants_and_what_to_change(rule):
    sentence, hint = rule_text(rule)
    assert sentence.endswith(".") and sentence[0].isupper()
    assert hint.endswith(".") and hint[0].isupper(), f"{rule.__name__} needs a second paragraph: the hint"
    assert len(inspect.getdoc(rule).split("\n\n")) == 2


def test_every_rule_is_somebodys():
    used = {r for _, function in LOWERINGS for r in function.rules}
    assert {rule_id(r) for r in docgen.all_rules()} == {rule_id(r) for r in used.union(rules.EVERY)}


def test_the_page_follows_the_tables(monkeypatch):
    """An operator that gets a lowering function moves to the NPU, with that function's rules."""
    name = next(n for n in ("Acos", "Abs", "Det") if n not in onnx_lower.LOWERINGS)
    assert f"`{name}`," in docgen.markdown()

    @rules.requires((rules.rank_limit, rules.eight_bit_activations))
    def function(low, unit):
        raise NotImplementedError

    monkeypatch.setitem(onnx_lower.LOWERINGS, name, function)
    row = f"| `{name}` | NPU | – |  | [rank-limit](#rank-limit), [eight-bit-activations](#eight-bit-activations) |"
    assert row in docgen.markdown().splitlines()
    assert f"`{name}`," not in docgen.markdown()


def test_the_vendors_operators_exist():
    schemas = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
    assert vendor.ROWS.keys() <= schemas
    assert all(hasattr(schema.BuiltinOperator, name) for name in vendor.COUNTERPARTS)
    assert {row.like for row in vendor.ROWS.values()} <= {"", *vendor.ROWS}


@pytest.mark.parametrize(
    ("op_type", "taken"),
    [("Conv", True), ("CONV_2D", True), ("Tanh", False), ("TANH", False), ("GlobalAveragePool", True)]
    + [("SUB", True), ("Exp", True), ("QUANTIZE", False), ("Acos", False), ("MEAN", True), ("Resize", False)],
)
def test_what_a_release_takes(op_type, taken):
    assert vendor.taken(op_type, "0.6.3") is taken
    assert vendor.taken(op_type, vendor.LATEST)


def test_tables_are_tables():
    rows = [line for line in docgen.markdown().splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6}
