"""The table for the terminal."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.compiler.ldfg.verdict import Reason, Verdict
from furiosa.compiler.report import table

RULE = Reason("some-rule", "Numbers must be even.", "3", "2, 4", "Round them.")
SECOND = Reason("second-rule", "Names must be short.", "longname", "name", "")


def lowering(*placed: tuple[str, str, list[Reason]]) -> Lowering:
    """A chain of operators "n0", "n1", … of the given (type, place, reasons), the first with 1000 multiply-accumulates."""
    tensors = [Tensor(f"t{i}", (1, 10), "int8") for i in range(len(placed) + 1)]
    weight = Tensor("w", (10, 100), "int8")
    operators = [
        Operator(f"n{i}", kind, [tensors[i], weight], [tensors[i + 1]])
        for i, (kind, _, _) in enumerate(placed)
    ]
    result = Lowering(Graph("tflite", "m", tensors[:1], tensors[-1:], operators))
    result.verdicts = {op: Verdict(place, reasons) for op, (_, place, reasons) in zip(operators, placed)}
    return result


MIXED = (
    ("FULLY_CONNECTED", "npu", []),
    ("CAST", "host", [RULE, SECOND]),
    ("CAST", "host", [RULE]),
    ("SUB", "host", [SECOND]),
    ("CAST", "host", [SECOND]),
)


def test_counts_and_kinds():
    assert table.placement(lowering(*MIXED)) == [
        "NPU       1 operators            1,000 MACs 100.0 %",
        "host      4 operators                0 MACs   0.0 %",
        "     2 x CAST: Numbers must be even. Round them.",
        "     1 x CAST: Names must be short.",
        "     1 x SUB: Names must be short.",
    ]


def test_everything():
    assert table.placement(lowering(*MIXED), everything=True)[2:] == [
        "  CAST 'n1'",
        "      Numbers must be even (found 3, allowed 2, 4). Round them.",
        "      Names must be short (found longname, allowed name).",
        "  CAST 'n2'",
        "      Numbers must be even (found 3, allowed 2, 4). Round them.",
        "  SUB 'n3'",
        "      Names must be short (found longname, allowed name).",
        "  CAST 'n4'",
        "      Names must be short (found longname, allowed name).",
    ]


def test_many_kinds_are_cut_short():
    lines = table.placement(lowering(*((f"OP{i:02}", "host", [RULE]) for i in range(12))))
    assert len(lines) == 2 + table.HOST_ROWS + 1
    assert lines[-1] == f"  … and {12 - table.HOST_ROWS} more kinds, -v shows all"


def test_a_model_without_products_has_no_share():
    assert table.placement(lowering(("CAST", "npu", [])))[0].endswith("0 MACs       -")


def test_no_npu():
    assert table.no_npu(lowering(*MIXED)) is None
    assert table.no_npu(lowering()) is None
    note = table.no_npu(
        lowering(("A", "host", [SECOND]), ("B", "host", [RULE]), ("C", "host", [RULE, SECOND]))
    )
    assert (
        note == "nothing runs on the NPU, the whole model runs on the host. Numbers must be even. Round them."
    )
