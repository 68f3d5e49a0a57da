"""What changed between two compilations: the verdict, and every kind of change with its numbers."""

from __future__ import annotations

import json

import pytest

from furiosa.enf import comparison, enf_pb2
from furiosa.enf.comparison import Change
from furiosa.enf.isa import BY_NAME, Command
from furiosa.enf.testing.programs import Program, lookup, ranged


def program() -> Program:
    p = lookup()
    p.debug.operators.add(name="f", op_type="Relu", placed_on="npu")
    p.debug.operators.add(name="g", op_type="Tile", placed_on="host")
    p.debug.command_operator.extend([0] * 4)
    return p


def changed(*changes) -> comparison.Comparison:
    """The comparison of the program with itself after changes."""
    a, b = program(), program()
    for change in changes:
        change(b)
    return comparison.compare(a.load(), b.load())


def other_source(p: Program) -> None:
    p.metadata.update(source_sha256=bytes(32))


def other_options(p: Program) -> None:
    p.metadata.update(batch_size=8, compatibility="0.6.3")


def other_compiler(p: Program) -> None:
    p.metadata.update(compiler_version="0.9.0")


def other_weights(p: Program) -> None:
    p.constants = bytes(255 - c for c in p.constants)


def other_program(p: Program) -> None:
    p.commands[3].waits = (2, 0, 1)


OPTIONS = "options: batch_size 1 -> 8, compatibility unknown -> 0.6.3"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ([], "the same, byte for byte"),
        (
            [other_source, other_weights],
            "same program, other weights (same options and compiler, other source)",
        ),
        ([other_source, other_program], "same options and compiler, other source"),
        ([other_options, other_program], f"same source and compiler, other {OPTIONS}"),
        ([other_compiler, other_program], "same source and options, other compiler: 1.2.3 -> 0.9.0"),
        ([other_program], "same source, options and compiler, but another program"),
        ([other_weights], "same program, other weights (same source, options and compiler)"),
        (
            [other_source, other_options, other_compiler],
            f"same program and weights (other source, {OPTIONS} and compiler: 1.2.3 -> 0.9.0)",
        ),
    ],
)
def test_verdict(changes, verdict):
    c = changed(*changes)
    assert c.verdict == verdict
    assert next(comparison.text(c)) == verdict
    assert c.same == (not changes)


def test_every_field_of_the_metadata_is_accounted_for():
    told = {*comparison.OPTIONS, *comparison.SOURCE, *comparison.FIGURES, "compiler_version", "latency_us"}
    assert told == set(enf_pb2.Metadata.DESCRIPTOR.fields_by_name)


def test_a_command_more():
    """The operator g gets a command: time of the NPU, and the whole run with it."""

    def change(p):
        p.commands.append(Command(BY_NAME["FILL"], 2, (0, 1, 0), p.commands[2].operands[2:], (9,)))
        p.sram[2] = (320, 64, 2, 4)
        p.debug.command_operator.append(1)

    c = changed(change)
    assert c.figures["npu_us"].new > c.figures["npu_us"].old > 0
    assert c.figures["latency_us"].new > c.figures["latency_us"].old
    g = next(row for row in c.layers if row.name == "g")
    assert g.busy_us.old is None and g.busy_us.new > 0
    assert g.constant_bytes == Change(None, 0)
    assert set(c.sections) == {"code", "plan", "memory", "debug"}
    assert c.sections["code"].new > c.sections["code"].old
    lines = list(comparison.text(c))
    assert any(line.startswith("  Tile") and "none" in line and line.endswith("  g") for line in lines)
    assert "  commands: 4: none -> FILL" in lines


def test_layers_with_the_largest_change_come_first():
    def change(p):
        for i in range(4):
            p.debug.operators.add(name=f"new{i}", op_type="Add", placed_on="npu")
        del p.debug.command_operator[:]
        p.debug.command_operator.extend([2, 3, 4, 5])  # load, load, lookup, store

    rows = changed(change).layers
    assert [row.name for row in rows[:2]] == sorted(
        [row.name for row in rows[:2]], key=lambda name: -_cost(rows, name)
    )
    costs = [abs((row.busy_us.new or 0) - (row.busy_us.old or 0)) for row in rows]
    assert costs == sorted(costs, reverse=True) and costs[0] > 0
    looking = next(row for row in rows if row.name == "new2")
    assert looking.constant_bytes == Change(None, 256)  # the table that new1 loads
    assert next(row for row in rows if row.name == "f").constant_bytes == Change(256, None)


def _cost(rows, name):
    row = next(row for row in rows if row.name == name)
    return abs((row.busy_us.new or 0) - (row.busy_us.old or 0))


def test_operators_that_moved():
    def change(p):
        p.debug.operators[1].placed_on = "npu"
        p.debug.operators.add(name="g", op_type="Tile", placed_on="npu")

    c = changed(change)
    assert c.moved == {("g", "Tile", 0): Change("host", "npu"), ("g", "Tile", 1): Change(None, "npu")}
    lines = list(comparison.text(c))
    assert "operator Tile 'g': host -> npu" in lines
    assert "operator Tile 'g' number 2: new -> npu" in lines


def test_a_host_cluster_more():
    def change(p):
        p.host_models = b"model"
        call = enf_pb2.HostCall(format="onnx", size=5, estimated_us=2.5)
        p.steps = [ranged(0, 4), enf_pb2.Step(host_call=call)]

    c = changed(change)
    assert c.figures["host_us"] == Change(0, 2.5)
    assert c.sections["host_models"] == Change(0, 5)
    assert any(
        line.split() == ["host_us", "0", "->", "2.50", "from", "nothing"] for line in comparison.text(c)
    )


def test_content_of_the_same_size():
    lines = list(comparison.text(changed(other_weights)))
    assert any(line.split()[0] == "constants" and line.endswith("256  other content") for line in lines)
    assert "  constants: 255 of 256 bytes differ, the first at 0" in lines or any(
        line.startswith("  constants: 256 of 256 bytes differ") for line in lines
    )


def test_json_holds_everything():
    c = changed(other_options, other_program, lambda p: p.debug.operators.add(name="ü\n", op_type="Add"))
    content = json.loads(json.dumps(comparison.as_json(c)))
    assert content["same"] is False and content["verdict"] == c.verdict
    assert content["options"] == {
        "batch_size": {"old": 1, "new": 8},
        "compatibility": {"old": "", "new": "0.6.3"},
    }
    assert content["moved"] == [{"name": "ü\n", "op_type": "Add", "old": None, "new": ""}]
    assert content["sections"].keys() == c.sections.keys() and content["details"] == c.details
    assert content["compiler_version"] is None


def test_no_control_character_of_a_file_reaches_the_terminal():
    c = changed(lambda p: p.debug.operators.add(name="\x1b[2J", op_type="\x07", placed_on="\x1b]0;"))
    assert all(line.isprintable() for line in comparison.text(c))


def test_many_layers_are_cut():
    def change(p):
        for i in range(500):
            p.debug.operators.add(name=f"{i}" * 50, op_type="Add", placed_on="npu")

    lines = list(comparison.text(changed(change)))
    assert all(len(line) < 250 for line in lines)
    assert len(lines) < 60
