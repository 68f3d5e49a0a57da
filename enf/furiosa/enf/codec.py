"""Commands to bytes and back, by the instruction table."""

from __future__ import annotations

from furiosa.enf import dtypes
from furiosa.enf.errors import EnfFormatError
from furiosa.enf.isa import INSTRUCTIONS, Command, Instruction
from furiosa.enf.machine import Engine, Region

MAX_COMMANDS = 1 << 20  # a decoded command takes about 2 KB

_NAME = dtypes.NAME
_CODE = dtypes.CODE
_WAITS_END = 3 + Engine.COUNT  # in an unpacked record: opcode, engine, reserved, waits; then the operands


def _layout(instruction: Instruction) -> tuple[list[tuple[int, int, int]], int]:
    """Where in an unpacked record each operand starts, its strides start and it ends; where the parameters start."""
    operands, at = [], _WAITS_END
    for spec in instruction.operands:
        operands.append((at, at + 4 + spec.rank, at + 4 + 2 * spec.rank))
        at += 4 + 2 * spec.rank
    return operands, at


_BY_OPCODE = {i.opcode: (i, *_layout(i)) for i in INSTRUCTIONS}


def encode(commands: list[Command]) -> bytes:
    """The section "code"."""
    out = []
    for c in commands:
        fields: list[int | float] = [c.instruction.opcode, c.engine, 0, *c.waits]
        for region in c.operands:
            fields += (region.space, _CODE[region.dtype], 0, region.address, *region.shape, *region.strides)
        out.append(c.instruction.struct.pack(*fields, *c.params))
    return b"".join(out)


def decode(code: memoryview) -> list[Command]:
    """The commands of a section "code".

    Raises:
        EnfFormatError: an unknown opcode or element type, reserved bits set, a truncated record, or too many commands.
    """
    commands: list[Command] = []
    at, end = 0, len(code)
    while at < end:
        row = _BY_OPCODE.get(code[at])
        if row is None:
            raise EnfFormatError(f"command {len(commands)}: unknown opcode 0x{code[at]:02x}")
        instruction, layout, params_at = row
        record = instruction.struct
        if record.size > end - at:
            raise EnfFormatError(f"command {len(commands)} ({instruction}): the code section ends within it")
        fields = record.unpack_from(code, at)
        at += record.size
        if fields[2]:
            raise EnfFormatError(f"command {len(commands)} ({instruction}): reserved bits are set")
        operands = []
        for first, strides_at, last in layout:
            dtype = _NAME.get(fields[first + 1])
            if dtype is None or fields[first + 2]:
                name = instruction.operands[len(operands)].name
                problem = "reserved bits are set" if dtype else f"unknown element type {fields[first + 1]}"
                raise EnfFormatError(f"command {len(commands)} ({instruction}): operand {name}: {problem}")
            operands.append(
                Region(
                    fields[first],
                    dtype,
                    fields[first + 3],
                    fields[first + 4 : strides_at],
                    fields[strides_at:last],
                )
            )
        if len(commands) == MAX_COMMANDS:
            raise EnfFormatError(f"the program has more than {MAX_COMMANDS} commands", is_limit=True)
        commands.append(
            Command(instruction, fields[1], fields[3:_WAITS_END], tuple(operands), fields[params_at:])
        )
    return commands
