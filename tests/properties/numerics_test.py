"""docs/numerics.md says what is measured, and of every operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from furiosa.compiler.ldfg.onnx.lower import LOWERINGS as ONNX
from furiosa.compiler.ldfg.tflite.lower import LOWERINGS as TFLITE
from tests.properties import numerics
from tests.properties.operator_cases import operators_of

PAGE = (Path(__file__).absolute().parents[2] / "docs" / "numerics.md").read_text(encoding="utf-8")
TABLES = {"onnx": ONNX, "tflite": TFLITE}
WRITE = "run: python -m benchmarks.numerics"


@pytest.mark.parametrize("source_format", TABLES)
def test_every_operator_has_a_row(source_format: str) -> None:
    lines = numerics.lines(PAGE, source_format)
    assert sorted(lines) == sorted(numerics.cases(source_format)), WRITE
    described = {key for name in lines for key in operators_of(name)}
    assert sorted(set(TABLES[source_format]) - described) == [], WRITE


def test_nothing_is_further_off_than_the_page_says() -> None:
    """README and architecture.md promise that only what the reference computes in float32 differs from it, and by one."""
    for source_format in TABLES:
        for name, line in numerics.lines(PAGE, source_format).items():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for cell in cells[3:5]:
                differing, _, largest = numerics.tally_of(cell)
                assert largest <= 1, name
                assert not differing or "float32" in cells[2], name


@pytest.mark.parametrize(
    ("source_format", "name"),
    [("onnx", "Add"), ("onnx", "Conv + bias"), ("onnx", "Sigmoid"), ("tflite", "ADD"), ("tflite", "CONV_2D")],
)
def test_integers(source_format: str, name: str) -> None:
    """Where reference and NPU compute in integers, or one float32 operation after another, processors agree."""
    assert numerics.measure(source_format, name).line() == numerics.lines(PAGE, source_format)[name], WRITE


def test_sums_of_real_numbers() -> None:
    """How many sums onnxruntime rounds to the other side depends on the vectors of the processor."""
    row = numerics.measure("onnx", "ReduceSum")
    written = numerics.lines(PAGE, "onnx")["ReduceSum"].strip("|").split("|")
    for counts, cell in zip(row.counts, written[3:5], strict=True):
        differing, elements, _ = numerics.tally_of(cell)
        assert counts.default.elements == elements, WRITE
        assert counts.default.largest <= 1
        assert counts.unlike == counts.nearest, "the NPU's are the sums that are right"
        assert abs(counts.default.differing - differing) <= max(differing // 2, 10), WRITE
    assert row.counts[1].default.differing > 0, "a row that says something"
