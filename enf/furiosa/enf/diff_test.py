"""What differs between two programs is said, and nothing else."""

from __future__ import annotations

import pytest

from furiosa.enf import container, diff, enf_pb2, reader
from furiosa.enf.isa import BY_NAME, Command
from furiosa.enf.testing.programs import Program, lookup, ranged, seal, tensor, typical


def program() -> Program:
    p = lookup()
    p.debug.operators.add(name="f", op_type="Relu", placed_on="npu")
    p.debug.operators.add(name="g", op_type="Tile", placed_on="host")
    p.debug.command_operator.extend([0] * 4)
    return p


def differences(change) -> list[str]:
    """What differs after a change; the other way round the same number of lines."""
    a, b = program(), program()
    change(b)
    a, b = a.load(), b.load()
    lines = diff.diff(a, b)
    assert len(diff.diff(b, a)) == len(lines) > 0
    return lines


def test_nothing_differs():
    assert diff.diff(program().load(), program().load()) == []


def test_options():
    lines = differences(
        lambda p: (setattr(p, "target", "warboy"), p.metadata.update(batch_size=2, latency_us=3.5))
    )
    assert lines[:3] == [
        "metadata: target_npu: warboy-2pe -> warboy",
        "metadata: batch_size: 1 -> 2",
        "metadata: latency_us: 1.5 -> 3.5",
    ]
    assert lines[3].startswith("sections: metadata: ") and len(lines) < 6


def test_digest():
    lines = differences(lambda p: p.metadata.update(source_sha256=bytes(32)))
    assert lines[0] == f"metadata: source_sha256: {bytes(range(32)).hex()} -> {bytes(32).hex()}"


def test_interface():
    def change(p):
        p.inputs[0].name = "in\nput"
        p.outputs.append(tensor("more", 64, 2, 8))

    lines = differences(change)
    assert lines[0] == r"inputs: 0: x int8[1x1x1x64] dram[0x0] -> in\nput int8[1x1x1x64] dram[0x0]"
    assert lines[1] == "outputs: 1: none -> more int8[2x8] dram[0x40]"


def test_operators():
    def change(p):
        p.debug.operators[1].placed_on = "npu"
        p.debug.operators.add(name="g", op_type="Tile", placed_on="npu")
        del p.debug.operators[0]

    assert differences(change)[:3] == [
        "operators: Relu 'f' (npu) is gone",
        "operators: Tile 'g': host -> npu",
        "operators: Tile 'g' number 2 (npu) is new",
    ]


def test_parameters_and_operands_of_commands():
    a, b = typical("MAX_POOL2D"), typical("MAX_POOL2D")
    c = b.commands[-1]
    values = c.arguments | {"clamp_min": -3, "split_pixels": 64}
    b.commands[-1] = Command(c.instruction, c.engine, c.waits, c.operands, tuple(values.values()))
    lines = diff.diff(a.load(), b.load())
    assert lines[:2] == [
        "commands: 1 of 2 places differ",
        "commands: 1: MAX_POOL2D: clamp_min -128 -> -3, split_pixels 1 -> 64",
    ]


def test_what_a_command_waits_for():
    b = lookup()
    b.commands[3].waits = (2, 0, 1)
    assert (
        diff.diff(lookup().load(), b.load())[1]
        == "commands: 3: STORE: on store after pe 1 -> store after load 2, pe 1"
    )


def test_commands_that_came_and_went():
    def change(p):
        p.commands.append(Command(BY_NAME["FILL"], 2, (0, 0, 0), p.commands[2].operands[2:], (9,)))
        p.sram[2] = (320, 64, 2, 4)
        p.commands[-1].waits = (0, 1, 0)
        p.debug.command_operator.append(1)

    lines = differences(change)
    assert lines[:4] == [
        "commands: 4 -> 5",
        "commands: FILL: 0 -> 1",
        "commands: 1 of 5 places differ",
        "commands: 4: none -> FILL",
    ]
    assert "plan: step 0: commands 0 to 3 -> commands 0 to 4" in lines
    assert "buffers: sram: 3 -> 3, 1 are gone or moved, 1 are new" in lines


def test_constants():
    def change(p):
        p.constants = p.constants[:7] + b"??" + p.constants[9:]

    assert differences(change)[:2] == [
        "constants: 2 of 256 bytes differ, the first at 7",
        "constants: 2 of the bytes are loaded by command 1 (f)",
    ]
    assert "constants: 256 -> 300 bytes" in differences(
        lambda p: setattr(p, "constants", p.constants + bytes(44))
    )


def test_host_clusters():
    def change(p):
        p.host_models = b"model"
        call = enf_pb2.HostCall(format="onnx", size=5)
        p.steps = [ranged(0, 4), enf_pb2.Step(host_call=call)]

    lines = differences(change)
    assert lines[0].startswith("plan: step 1: none -> host, onnx model of 5 bytes")
    assert "sections: host_models: 0 -> 5 bytes, the content differs" in lines


def test_optional_sections_and_layout():
    with_debug = program().sections()
    without = {n: c for n, c in with_debug.items() if n != "debug"}
    a, b = (reader.load(container.to_bytes(s)) for s in (with_debug, without))
    assert "sections: debug is gone" in diff.diff(a, b)
    assert "sections: debug is new" in diff.diff(b, a)
    data = container.to_bytes(with_debug)
    rows = _with_flag(data)
    assert diff.diff(a, reader.load(seal(data, rows))) == ["sections: order, flags, offsets or sizes differ"]


def _with_flag(data: bytes) -> list[list[object]]:
    from furiosa.enf.testing.programs import table

    rows = table(data)
    next(r for r in rows if r[0].startswith(b"debug"))[1] = container.REQUIRED
    return rows


@pytest.mark.parametrize("n", [diff.MAX_LINES, diff.MAX_LINES + 1, 500])
def test_long_lists_are_cut(n):
    def change(p):
        for i in range(n):
            p.debug.operators.add(name=f"new{i}", op_type="Add", placed_on="npu")

    lines = [line for line in differences(change) if line.startswith("operators")]
    assert len(lines) == min(n, diff.MAX_LINES + 1)
    if n > diff.MAX_LINES:
        assert lines[-1] == f"operators: and {n - diff.MAX_LINES} more"
