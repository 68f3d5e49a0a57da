"""Commands to bytes and back, by the instruction table."""

from __future__ import annotations

from furiosa.enf import dtypes
from furiosa.enf.errors import EnfFormatError
from furiosa.enf.isa import BY_OPCODE, Command, Engine, Region

_NAME = dtypes.NAME
_CODE = dtypes.CODE
_OPERANDS_AT = 3 + Engine.COUNT  # index of the first operand's first field in an unpacked record


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
        EnfFormatError: an unknown opcode or element type, reserved bits set, or a truncated record.
    """
    commands: list[Command] = []
    at, end = 0, len(code)
    while at < end:
        instruction = BY_OPCODE.get(code[at])
        if instruction is None:
            raise EnfFormatError(f"command {len(commands)}: unknown opcode 0x{code[at]:02x}")
        if instruction.struct.size > end - at:
            raise EnfFormatError(f"command {len(commands)} ({instruction}): the code section ends within it")
        fields = instruction.struct.unpack_from(code, at)
        at += instruction.struct.size
        if fields[2]:
            raise EnfFormatError(f"command {len(commands)} ({instruction}): reserved bits are set")
        operands = []
        i = _OPERANDS_AT
        for spec in instruction.operands:
            dims = i + 4
            i = dims + 2 * spec.rank
            dtype = _NAME.get(fields[dims - 3])
            if dtype is None or fields[dims - 2]:
                raise EnfFormatError(f"command {len(commands)} ({instruction}): bad operand {spec.name}")
            operands.append(
                Region(
                    fields[dims - 4],
                    dtype,
                    fields[dims - 1],
                    fields[dims : dims + spec.rank],
                    fields[dims + spec.rank : i],
                )
            )
        commands.append(Command(instruction, fields[1], fields[3:_OPERANDS_AT], tuple(operands), fields[i:]))
    return commands
