"""What differs between two programs, explained from the outside in: options, operators, commands, constants, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from furiosa.enf import dump, selection
from furiosa.enf.enf_pb2 import Selection
from furiosa.enf.errors import printable
from furiosa.enf.machine import Region, Space

if TYPE_CHECKING:
    from furiosa.enf.enf_pb2 import TensorDescriptor
    from furiosa.enf.reader import Enf

MAX_LINES = 20  # of one kind of difference


def diff(a: Enf, b: Enf) -> list[str]:
    """Lines that say what differs; none where the files are the same, byte for byte."""
    if a.data == b.data:
        return []
    lines = [
        *_metadata(a, b),
        *_interface(a, b),
        *_placement(a, b),
        *_commands(a, b),
        *_plan(a, b),
        *_memory(a, b),
        *_constants(a, b),
    ]
    return [*lines, *_sections(a, b)]


def _limited(kind: str, lines: list[str]) -> Iterator[str]:
    for line in lines[:MAX_LINES]:
        yield f"{kind}: {printable(line)}"
    if len(lines) > MAX_LINES:
        yield f"{kind}: and {len(lines) - MAX_LINES} more"


def _metadata(a: Enf, b: Enf) -> Iterator[str]:
    for field in a.metadata.DESCRIPTOR.fields:
        old, new = getattr(a.metadata, field.name), getattr(b.metadata, field.name)
        if old != new:
            yield f"metadata: {field.name}: {printable(str(plain(old)))} -> {printable(str(plain(new)))}"


def plain(value: Any) -> Any:
    """A field of the metadata as a number or a text."""
    if isinstance(value, bytes):
        return value.hex()
    return selection.text(value) if isinstance(value, Selection) else value


def _interface(a: Enf, b: Enf) -> Iterator[str]:
    for what in ("inputs", "outputs"):
        pairs = zip_longest(getattr(a.interface, what), getattr(b.interface, what))
        lines = [f"{i}: {_tensor(s)} -> {_tensor(t)}" for i, (s, t) in enumerate(pairs) if s != t]
        yield from _limited(what, lines)


def _tensor(t: TensorDescriptor | None) -> str:
    return "none" if t is None else " ".join(filter(None, dump.tensor_facts(t)))


def _placement(a: Enf, b: Enf) -> Iterator[str]:
    """Operators that came, went, or moved between NPU and host; those of one name are told apart by their order."""
    old, new = operators(a), operators(b)
    lines = []
    for key in {**old, **new}:
        if key not in new:
            lines.append(f"{label(key)} ({old[key]}) is gone")
        elif key not in old:
            lines.append(f"{label(key)} ({new[key]}) is new")
        elif old[key] != new[key]:
            lines.append(f"{label(key)}: {old[key]} -> {new[key]}")
    yield from _limited("operators", lines)


def label(key: tuple[str, str, int]) -> str:
    """How an operator is called in a line."""
    name, op_type, number = key
    return f"{op_type} '{name}'" + (f" number {number + 1}" if number else "")


def operators(enf: Enf) -> dict[tuple[str, str, int], str]:
    """(name, type, number among those) -> where it runs, in the order of the debug map."""
    seen: Counter[tuple[str, str]] = Counter()
    out = {}
    for o in enf.debug.operators:
        out[o.name, o.op_type, seen[o.name, o.op_type]] = o.placed_on
        seen[o.name, o.op_type] += 1
    return out


def _commands(a: Enf, b: Enf) -> Iterator[str]:
    counts = [Counter(c.instruction.name for c in enf.commands) for enf in (a, b)]
    if len(a.commands) != len(b.commands):
        yield f"commands: {len(a.commands)} -> {len(b.commands)}"
    for name in sorted(counts[0] | counts[1]):
        if counts[0][name] != counts[1][name]:
            yield f"commands: {name}: {counts[0][name]} -> {counts[1][name]}"
    pairs = [(_words(a, i), _words(b, i)) for i in range(max(len(a.commands), len(b.commands)))]
    different = [i for i, (old, new) in enumerate(pairs) if old != new]
    if different:
        yield f"commands: {len(different)} of {len(pairs)} places differ"
    yield from _limited("commands", [f"{i}: {_changes(*pairs[i])}" for i in different])


def _words(enf: Enf, i: int) -> dict[str, str]:
    """A command, taken apart; empty where there is none."""
    if i >= len(enf.commands):
        return {}
    c = enf.commands[i]
    operands = {spec.name: str(r) for spec, r in zip(c.instruction.operands, c.operands)}
    facts = {"": c.instruction.name, "for": dump.origin_name(enf, i), "on": dump.engine_text(c)}
    return facts | operands | {k: dump.number_text(v) for k, v in c.arguments.items()}


def _changes(old: dict[str, str], new: dict[str, str]) -> str:
    if not old or not new or old[""] != new[""]:
        return f"{old.get('', 'none')} -> {new.get('', 'none')}"
    return f"{old['']}: " + ", ".join(f"{k} {old[k]} -> {new[k]}" for k in old if old[k] != new[k])


def _plan(a: Enf, b: Enf) -> Iterator[str]:
    if a.plan.setup != b.plan.setup:
        yield f"plan: setup: {dump.setup_text(a.plan.setup)} -> {dump.setup_text(b.plan.setup)}"
    pairs = zip_longest(a.plan.steps, b.plan.steps)
    lines = [f"step {i}: {_step(s)} -> {_step(t)}" for i, (s, t) in enumerate(pairs) if s != t]
    yield from _limited("plan", lines)


def _step(step: Any) -> str:
    return "none" if step is None else dump.step_text(step)


def _memory(a: Enf, b: Enf) -> Iterator[str]:
    for space in ("sram", "dram"):
        rows = [set(_rows(enf, space)) for enf in (a, b)]
        if rows[0] != rows[1]:
            here = f"{len(rows[0])} -> {len(rows[1])}"
            yield f"buffers: {space}: {here}, {len(rows[0] - rows[1])} are gone or moved, {len(rows[1] - rows[0])} are new"


def _rows(enf: Enf, space: str) -> Iterator[tuple[Any, ...]]:
    columns = [f.name for f in enf.memory.DESCRIPTOR.fields if f.name.startswith(space)]
    return zip_longest(*(getattr(enf.memory, column) for column in columns))


def _constants(a: Enf, b: Enf) -> Iterator[str]:
    if a.constants == b.constants:
        return
    if len(a.constants) != len(b.constants):
        yield f"constants: {len(a.constants)} -> {len(b.constants)} bytes"
        return
    import numpy as np

    places = np.flatnonzero(np.frombuffer(a.constants, np.uint8) != np.frombuffer(b.constants, np.uint8))
    yield f"constants: {places.size} of {len(a.constants)} bytes differ, the first at {places[0]}"
    lines = []
    for i, c in enumerate(a.commands):
        source = c.operands[0]
        if source.space == Space.CONST and (n := _within(places, source)):
            lines.append(f"{n} of the bytes are loaded by command {i} ({dump.origin_name(a, i)})")
    yield from _limited("constants", lines)


def _within(places: Any, region: Region) -> int:
    """How many of the ascending places the bytes from a region's first to its last hold."""
    first, after = places.searchsorted((region.address, region.address + region.extent))
    return int(after - first)


def _sections(a: Enf, b: Enf) -> Iterator[str]:
    old, new = ({s.name: s for s in enf.sections} for enf in (a, b))
    for name in {**old, **new}:
        if name not in new:
            yield f"sections: {name} is gone"
        elif name not in old:
            yield f"sections: {name} is new"
        elif old[name].checksum != new[name].checksum:
            yield f"sections: {name}: {old[name].size} -> {new[name].size} bytes, the content differs"
    if [s[:4] for s in a.sections] != [s[:4] for s in b.sections] and set(old) == set(new):
        yield "sections: order, flags, offsets or sizes differ"
