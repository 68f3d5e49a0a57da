"""A verified program as text and as JSON."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from furiosa.enf import container, dtypes, selection
from furiosa.enf.errors import printable
from furiosa.enf.isa import Command
from furiosa.enf.machine import Engine, Space

if TYPE_CHECKING:
    from furiosa.enf.enf_pb2 import CommandRange, HostCall, TensorDescriptor
    from furiosa.enf.reader import Enf


def summary(enf: Enf) -> Iterator[str]:
    """What is in the file, without the single commands; lines."""
    m = enf.metadata
    yield f"ENF {container.MAJOR}.{container.MINOR}, {enf.size} bytes, for {m.target_npu}, batch size {m.batch_size}"
    yield f"compiler {printable(m.compiler_version)}, from {m.source_format} {m.source_sha256.hex() or 'of unknown digest'}"
    if m.compatibility:
        yield f"operators that the NPU may take: those of the vendor's release {printable(m.compatibility)}"
    if m.HasField("selection"):
        yield f"of the source: {printable(selection.text(m.selection))}"
    yield f"operators: {m.npu_operators} on the NPU, {m.host_operators} on the host"
    share = 100 * m.npu_macs / m.total_macs if m.total_macs else 0.0
    more = f"; how many {m.unknown_macs} operators of the host have is not known" if m.unknown_macs else ""
    yield f"multiply-accumulates: {m.total_macs}, {share:.1f} % of them on the NPU{more}"
    yield f"memory: {m.sram_peak_bytes} bytes of SRAM at most, {m.dram_bytes} of DRAM, {m.working_dram_bytes} of it working"
    yield f"latency: {m.latency_us:g} us, an estimate"
    yield from _table(
        "sections",
        [(s.name, f"offset {s.offset}", f"{s.size} bytes", s.checksum.hex()) for s in enf.sections],
    )
    yield from _table("inputs", [tensor_facts(t) for t in enf.interface.inputs])
    yield from _table("outputs", [tensor_facts(t) for t in enf.interface.outputs])
    steps = [(str(i), step_text(step)) for i, step in enumerate(enf.plan.steps)]
    setup = [("once", setup_text(enf.plan.setup))] if enf.plan.setup.count else []
    yield from _table("plan", setup + steps)
    counts = Counter(c.instruction.name for c in enf.commands)
    yield from _table("commands", [(name, str(n)) for name, n in sorted(counts.items())])
    plan = enf.memory
    sizes = [
        ("sram", len(plan.sram_size), sum(plan.sram_size)),
        ("dram", len(plan.dram_size), sum(plan.dram_size)),
    ]
    yield from _table("buffers", [(name, str(n), f"{size} bytes together") for name, n, size in sizes])


def _table(title: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    """A title and rows in columns."""
    yield ""
    yield f"{title}:" if rows else f"{title}: none"
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def tensor_facts(t: TensorDescriptor) -> tuple[str, ...]:
    """Name, type and shape, axes, quantisation and place of a tensor."""
    quantization = ""
    if t.HasField("quantization"):
        quantization = f"scale {number_text(t.quantization.scale)} zero point {t.quantization.zero_point}"
    shape = "x".join(map(str, t.shape))
    return (
        printable(t.name),
        f"{dtypes.NAME[t.dtype]}[{shape}]",
        t.axes,
        quantization,
        f"{Space.NAMES[t.space]}[0x{t.address:x}]",
    )


def setup_text(setup: CommandRange) -> str:
    """What runs once, before the first run."""
    return f"commands {setup.first} to {setup.first + setup.count - 1}" if setup.count else "nothing"


def step_text(step: Any) -> str:
    """A step of the plan."""
    if step.WhichOneof("step") == "commands":
        return f"commands {step.commands.first} to {step.commands.first + step.commands.count - 1}"
    call: HostCall = step.host_call
    names = [", ".join(printable(t.name) for t in tensors) for tensors in (call.inputs, call.outputs)]
    return (
        f"host, {call.format} model of {call.size} bytes, {call.estimated_us:g} us: {names[0]} -> {names[1]}"
    )


def commands(enf: Enf) -> Iterator[str]:
    """Every command on a line: number, engine, what it waits for, instruction, operands, parameters, source operator."""
    for i, c in enumerate(enf.commands):
        origin = origin_name(enf, i)
        operands = [f"{spec.name}={region}" for spec, region in zip(c.instruction.operands, c.operands)]
        params = [f"{name}={number_text(value)}" for name, value in c.arguments.items()]
        text = f"{i:6}  {engine_text(c):24}  {' '.join([c.instruction.name, *operands, *params])}"
        yield text + (f"  ; {printable(origin)}" if origin else "")


def engine_text(c: Command) -> str:
    """The engine of a command, and how many commands of which engines it waits for: ``pe after load 3``."""
    waits = ", ".join(f"{Engine.NAMES[e]} {n}" for e, n in enumerate(c.waits) if n)
    return Engine.NAMES[c.engine] + (f" after {waits}" if waits else "")


def number_text(value: float) -> str:
    """A number; a float32 in as few digits as tell it from all others."""
    if isinstance(value, int):
        return str(value)
    for digits in range(6, 9):
        text = f"{value:.{digits}g}"
        try:
            if struct.pack("<f", float(text)) == struct.pack("<f", value):
                return text
        except OverflowError:  # rounded up to more than a float32 holds
            pass
    return f"{value:.9g}"


def origin_name(enf: Enf, command: int) -> str:
    """The name of the operator that a command comes from, empty where the file does not say."""
    origins = enf.debug.command_operator
    return enf.debug.operators[origins[command]].name if origins else ""


def as_json(enf: Enf) -> dict[str, Any]:
    """The whole program but constants and host models, in types that JSON knows; messages as enf.proto names them."""
    return {
        "version": f"{container.MAJOR}.{container.MINOR}",
        "size": enf.size,
        "sections": [{**s._asdict(), "checksum": s.checksum.hex()} for s in enf.sections],
        "metadata": _message(enf.metadata),
        "interface": _message(enf.interface),
        "plan": _message(enf.plan),
        "memory": _message(enf.memory),
        "debug": _message(enf.debug),
        "commands": [_command(c) for c in enf.commands],
    }


def _message(message: Any) -> dict[str, Any]:
    return {
        field.name: _field(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field(field: Any, value: Any) -> Any:
    if field.is_repeated:
        return [_message(v) for v in value] if field.message_type else list(value)
    if field.message_type:
        return _message(value)
    if field.name == "dtype":
        return dtypes.NAME[value]
    if field.name == "space":
        return Space.NAMES[value]
    return value.hex() if isinstance(value, bytes) else value


def _command(c: Command) -> dict[str, Any]:
    operands = {
        spec.name: {
            "space": Space.NAMES[r.space],
            "dtype": r.dtype,
            "address": r.address,
            "shape": list(r.shape),
            "strides": list(r.strides),
        }
        for spec, r in zip(c.instruction.operands, c.operands)
    }
    return {
        "instruction": c.instruction.name,
        "engine": Engine.NAMES[c.engine],
        "waits": {Engine.NAMES[e]: n for e, n in enumerate(c.waits) if n},
        "operands": operands,
        "params": c.arguments,
    }
