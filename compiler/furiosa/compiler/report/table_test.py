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
    for op, (_, place, reasons) in zip(operators, placed):
        result.verdicts[op] = Verdict(place, reasons, *((1.0, 0.25) if place == "host" else ()))
    return result


MIXED = (
    ("FULLY_CONNECTED", "npu", []),
    ("CAST", "host", [RULE, SECOND]),
    ("CAST", "host", [RULE]),
    ("SUB", "host", [SECOND]),
    ("CAST", "host", [RULE]),
)
SUMS = [
    "NPU       1 operators            1,000 MACs 100.0 %",
    "host      4 operators                0 MACs   0.0 %"
    + ", about 5.0 us, 1.0 us of it transfers (an estimate, not calibrated)",
]


def test_kinds_and_rules():
    assert table.placement(lowering(*MIXED)) == [
        *SUMS,
        "     2 x CAST                             2.5 us  some-rule",
        "     1 x CAST                             1.2 us  some-rule, second-rule",
        "     1 x SUB                              1.2 us  second-rule",
        "  some-rule: Numbers must be even. Round them.",
        "      CAST 'n1': found 3; allowed 2, 4",
        "  second-rule: Names must be short.",
        "      CAST 'n1': found longname; allowed name",
    ]


def test_of_several_hints_the_commonest_is_shown():
    rare = Reason("some-rule", "Numbers must be even.", "x", "2, 4", "It is no number.")
    lines = table.placement(lowering(*(("CAST", "host", [r]) for r in (rare, RULE, RULE))))
    assert lines[-2:] == [
        "  some-rule: Numbers must be even. Round them.",
        "      CAST 'n1': found 3; allowed 2, 4",
    ]


def test_everything():
    """A rule that several operators break is said once."""
    assert table.placement(lowering(*MIXED[:3]), everything=True)[2:] == [
        "  some-rule: Numbers must be even. Round them. (2 operators)",
        "      CAST 'n1', about 1.2 us: found 3; allowed 2, 4",
        "      CAST 'n2', about 1.2 us: found 3; allowed 2, 4",
        "  second-rule: Names must be short.",
        "      CAST 'n1', about 1.2 us: found longname; allowed name",
    ]


def test_everything_has_all_that_was_found():
    long = Reason("some-rule", "No.", "1" * 1000, "2", "")
    assert table.placement(lowering(("CAST", "host", [long])), everything=True)[-1] == (
        f"      CAST 'n0', about 1.2 us: found {'1' * 1000}; allowed 2"
    )


def test_it_is_short():
    many = [Reason(f"rule-{i}", "No.", "1" * 1000, "2", "") for i in range(12)]
    kinds = ("ABS", "CEIL", "COS", "CUMSUM", "FILL", "FLOOR", "GATHER", "LESS", "NEG", "RANK", "ROUND", "SIN")
    lines = table.placement(lowering(*((kind, "host", [many[i]]) for i, kind in enumerate(kinds))))
    assert len(lines) == 2 + table.HOST_ROWS + 1 + 2 * table.RULE_ROWS + 1 == 20
    assert lines[10] == f"  … and {12 - table.HOST_ROWS} more, -v shows all"
    assert lines[-1] == f"  … and {12 - table.RULE_ROWS} more, -v shows all"
    assert max(map(len, lines)) < 140


def test_what_is_not_counted():
    stranger = [Reason("operator-table", "No.", "FANCY", "others", "")]
    lines = table.placement(lowering(("FANCY", "host", stranger), ("FANCY", "host", stranger)))
    assert lines[2] == (
        "  not counted: the multiply-accumulates of 2 FANCY: FANCY is no operator that is known here"
    )


def test_a_model_that_is_all_on_the_npu():
    assert table.placement(lowering(("CAST", "npu", []))) == [
        "NPU       1 operators                0 MACs       -",
        "host      0 operators                0 MACs       -",
    ]


def test_no_npu():
    assert table.no_npu(lowering(*MIXED)) is None
    assert table.no_npu(lowering()) is None
    note = table.no_npu(
        lowering(("A", "host", [SECOND]), ("B", "host", [RULE]), ("C", "host", [RULE, SECOND]))
    )
    assert (
        note == "nothing runs on the NPU, the whole model runs on the host. Numbers must be even. Round them."
    )
    short = table.no_npu(lowering(("A", "host", [RULE])), why=False)
    assert short == "nothing runs on the NPU, the whole model runs on the host"
