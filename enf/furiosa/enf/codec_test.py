"""Commands to bytes and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf import codec, dtypes
from furiosa.enf.errors import EnfFormatError
from furiosa.enf.isa import BY_NAME, INSTRUCTIONS, Command
from furiosa.enf.machine import Engine, Region
from furiosa.enf.testing.programs import COMPUTING, lookup, typical

_RANGES = {"B": (0, 2**8), "H": (0, 2**16), "h": (-(2**15), 2**15), "I": (0, 2**32), "i": (-(2**31), 2**31)}


def facts(c: Command) -> tuple[object, ...]:
    return c.instruction, c.engine, c.waits, c.operands, c.params


def decode(data: bytes) -> list[Command]:
    return codec.decode(memoryview(data))


@pytest.mark.parametrize("name", COMPUTING)
def test_typical_commands_come_back(name):
    commands = typical(name).commands
    assert [facts(c) for c in decode(codec.encode(commands))] == [facts(c) for c in commands]


@st.composite
def any_command(draw) -> Command:
    """Any command that the fields can hold, sensible or not."""

    def number(code: str) -> float:
        if code == "f":
            return draw(st.floats(width=32, allow_nan=False))
        low, after = _RANGES[code]
        return draw(st.integers(low, after - 1))

    row = draw(st.sampled_from(INSTRUCTIONS))
    operands = tuple(
        Region(
            number("B"),
            draw(st.sampled_from(sorted(dtypes.CODE))),
            draw(st.integers(0, 2**64 - 1)),
            tuple(number("I") for _ in range(spec.rank)),
            tuple(number("I") for _ in range(spec.rank)),
        )
        for spec in row.operands
    )
    waits = tuple(number("I") for _ in range(Engine.COUNT))
    return Command(row, number("B"), waits, operands, tuple(number(p.code) for p in row.params))


@settings(max_examples=200, deadline=None)
@given(st.lists(any_command(), max_size=4))
def test_any_command_comes_back(commands):
    data = codec.encode(commands)
    assert len(data) == sum(c.instruction.struct.size for c in commands)
    assert [facts(c) for c in decode(data)] == [facts(c) for c in commands]


def test_opcodes_and_names_are_unique():
    assert len({i.opcode for i in INSTRUCTIONS}) == len({i.name for i in INSTRUCTIONS}) == len(INSTRUCTIONS)
    assert 0 not in {i.opcode for i in INSTRUCTIONS}, (
        "code that was overwritten with zeros must not be a program"
    )


def test_every_instruction_writes_its_last_operand_only():
    for i in INSTRUCTIONS:
        assert [o.access for o in i.operands] == ["r"] * (len(i.operands) - 1) + ["w"]


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=str)
def test_every_truncation_of_a_record_is_refused(instruction):
    if instruction.name in COMPUTING:
        command = typical(instruction.name).commands[-1]
    else:
        command = next(c for c in lookup().commands if c.instruction is instruction)
    record = codec.encode([command])
    for end in range(1, len(record)):
        with pytest.raises(
            EnfFormatError, match=rf"command 1 \({instruction}\): the code section ends within it"
        ):
            decode(record + record[:end])


def test_unknown_opcodes():
    known = {i.opcode for i in INSTRUCTIONS}
    for opcode in set(range(256)) - known:
        with pytest.raises(EnfFormatError, match=f"command 0: unknown opcode 0x{opcode:02x}"):
            decode(bytes([opcode]) + bytes(200))


FILL = codec.encode(typical("FILL").commands)
_OPERAND = struct.calcsize("<BBH" + "I" * Engine.COUNT)  # where in a record the first operand starts


@pytest.mark.parametrize("at", [2, 3])
def test_reserved_bits_of_a_command(at):
    with pytest.raises(EnfFormatError, match=r"command 0 \(FILL\): reserved bits"):
        decode(FILL[:at] + b"\x01" + FILL[at + 1 :])


@pytest.mark.parametrize("at", [2, 3])
def test_reserved_bits_of_an_operand(at):
    at += _OPERAND
    with pytest.raises(EnfFormatError, match=r"operand output: reserved bits"):
        decode(FILL[:at] + b"\x80" + FILL[at + 1 :])


@pytest.mark.parametrize("code", [15, 200, 255])
def test_unknown_element_types(code):
    with pytest.raises(EnfFormatError, match=rf"operand output: unknown element type {code}"):
        decode(FILL[: _OPERAND + 1] + bytes([code]) + FILL[_OPERAND + 2 :])


def test_too_many_commands(monkeypatch):
    monkeypatch.setattr(codec, "MAX_COMMANDS", 3)
    assert len(decode(FILL * 3)) == 3
    with pytest.raises(EnfFormatError, match="more than 3 commands"):
        decode(FILL * 4)


def test_a_record_is_as_large_as_the_table_says():
    assert BY_NAME["FILL"].struct.size == len(FILL) == _OPERAND + 12 + 4 * 8 + 1
