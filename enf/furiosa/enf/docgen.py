"""docs/enf.md, from the tables that the code itself uses: ``python -m furiosa.enf.docgen > docs/enf.md``."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable, Iterator

from furiosa.enf import codec, container, coverage, dtypes, hazards, reader, relations, verify
from furiosa.enf.isa import HEADER_CODES, INSTRUCTIONS, Instruction, Param
from furiosa.enf.machine import Engine, Rounding, Space
from furiosa.enf.target import PARAMETERS, TARGETS, load_target

_CODES = {"B": "u8", "H": "u16", "h": "i16", "I": "u32", "i": "i32", "Q": "u64", "f": "float32"}

_INTRODUCTION = f"""\
# ENF {container.MAJOR}.{container.MINOR}

**The vendor's format of the name ENF is not public. This is not it.** What is described here is this project's own open
format, Executable NPU Format, for this project's own simulator of the machine; neither the vendor's tools nor a card can read
it, and this project cannot read the vendor's files. The instruction set is the project's own as well.

This page is generated from the tables that compiler, verifier, simulator and tools use themselves
(`python -m furiosa.enf.docgen > docs/enf.md`); a test fails where it is stale.

`furiosa enf dump FILE` shows a file, `furiosa enf verify FILE` proves that it is safe to run, `furiosa enf diff A B` says what
changed.

The same model, options and compiler version give the same bytes everywhere: no time, path, user, host or random number is in
a file.
"""

_FILE = """\
## The file

A header, the section table, and the sections in the table's order, each aligned, with gaps of zeros that are smaller than a
page (4096 bytes). Nothing follows the last section. All numbers are little-endian.
"""

_COMMANDS = """\
## Commands

The section `code` holds one record after the other, without padding. Each has a head, its operands, and its parameters in the
order of the tables below.
"""

_OPERAND = """\
An operand is a tile of one memory, `rank` dimensions of elements at byte strides:

| field | type | meaning |
|---|---|---|
| space | u8 | the memory |
| dtype | u8 | the element type |
| reserved | u16 | 0 |
| address | u64 | of the first element, in bytes from the start of the memory |
| shape | u32 times rank | elements in each dimension, at least 1 |
| strides | u32 times rank | bytes from one element to the next in each dimension; 0 reads one element again and again |

Every instruction writes its last operand and reads the others.
"""


def markdown() -> str:
    """The page."""
    parts = [
        _INTRODUCTION,
        _FILE,
        _fields("Header", container.HEADER_FIELDS),
        _fields("Section table, for each section", container.ENTRY_FIELDS),
        _sections(),
        _messages(),
        _codes(
            "Element types", ("code", "type", "bytes"), [(c, f"`{n}`", size) for n, c, size in dtypes.DTYPES]
        ),
        _codes("Memories", ("code", "name", "what"), _named(Space)),
        _codes("Engines", ("code", "name", "what"), _named(Engine)),
        _COMMANDS,
        _head(),
        _OPERAND,
        _codes("Whose arithmetic", ("rounding", "name", "what"), _named(Rounding)),
        "## Instructions\n",
        *(_instruction(i) for i in INSTRUCTIONS),
        _verifier(),
        _limits(),
        _targets(),
    ]
    return "\n".join(parts)


def _table(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _named(codes: type[Space | Engine | Rounding]) -> Iterator[tuple[int, str, str]]:
    return zip(range(len(codes.NAMES)), codes.NAMES, codes.DOCS, strict=True)


def _codes(title: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    return f"### {title}\n\n{_table(columns, rows)}"


def _fields(title: str, fields: tuple[container.Field, ...]) -> str:
    rows, at = [], 0
    for f in fields:
        rows.append((at, f.name, _CODES.get(f.code, f"{f.code[:-1]} bytes"), f.doc))
        at += struct.calcsize("<" + f.code)
    return f"### {title} ({at} bytes)\n\n{_table(('offset', 'field', 'type', 'meaning'), rows)}"


def _sections() -> str:
    rows = [
        (f"`{n}`", k.alignment, "yes" if k.required else "no", k.doc) for n, k in container.SECTIONS.items()
    ]
    return f"### Sections\n\n{_table(('name', 'alignment', 'required', 'content'), rows)}"


def _messages() -> str:
    with open(os.path.join(os.path.dirname(__file__), "enf.proto"), encoding="ascii") as f:
        return f"### Messages\n\n```proto\n{f.read().strip()}\n```\n"


def _head() -> str:
    waits = [f"wait_{name}" for name in Engine.NAMES]
    docs = ["of the instruction", "that runs the command", "0"]
    docs += [
        f"so many commands of engine {name} must have ended before this one starts" for name in Engine.NAMES
    ]
    rows = zip(["opcode", "engine", "reserved", *waits], (_CODES[c] for c in HEADER_CODES), docs)
    return _table(("field", "type", "meaning"), rows)


def _instruction(i: Instruction) -> str:
    engines = ", ".join(Engine.NAMES[e] for e in i.engines)
    operands = [
        (
            o.name,
            "written" if o.access == "w" else "read",
            o.rank,
            _types(o.dtypes),
            _spaces(o.spaces),
            _text(o.doc),
        )
        for o in i.operands
    ]
    out = [
        f"### {i.name}\n",
        f"Opcode 0x{i.opcode:02x}, on {engines}; {i.struct.size} bytes. {_text(i.doc)}\n",
        f"{_text(i.relation.__doc__)}\n",
        _table(("operand", "access", "rank", "element type", "memory", "meaning"), operands),
    ]
    if i.params:
        params = [(p.name, _CODES[p.code], _range(p), _text(p.doc)) for p in i.params]
        out.append(_table(("parameter", "type", "range", "meaning"), params))
    return "\n".join(out)


def _types(names: tuple[str, ...]) -> str:
    return "any" if len(names) == len(dtypes.DTYPES) else ", ".join(names)


def _spaces(spaces: tuple[int, ...]) -> str:
    return ", ".join(Space.NAMES[s] for s in spaces)


def _range(p: Param) -> str:
    if p.choices:
        return ", ".join(map(str, p.choices))
    if p.low is None:
        return "finite" if p.code == "f" else ""
    return f"from {p.low:g}" if p.high is None else f"{p.low:g} to {p.high:g}"


def _text(text: str) -> str:
    """Prose in which no sign means emphasis, on one line."""
    return " ".join(text.split()).replace("*", "\\*")


def _verifier() -> str:
    rules = verify.__doc__.split("\n\n", 1)[1]
    lead = "A file is loaded through the verifier or not at all; the verifier never runs anything."
    return f"## What the verifier proves\n\n{lead}\n\n{rules}"


def _limits() -> str:
    rows = [
        ("sections", container.MAX_SECTIONS),
        ("bytes of a section that is a message", reader.MAX_MESSAGE),
        ("commands", codec.MAX_COMMANDS),
        ("buffers of one memory that live at the same time", hazards.MAX_LIVE),
        ("dimensions of a tensor at the interface", verify.MAX_RANK),
        ("elements of an input with its padding", relations.MAX_PADDED),
        ("elements of the windows of one row of outputs", relations.MAX_PATCHES),
        ("bytes that may be looked at to prove scattered writes complete", coverage.MAX_MAPPED),
    ]
    return f"## Limits\n\n{_table(('at most', 'number'), rows)}"


def _targets() -> str:
    targets = [load_target(name) for name in TARGETS]
    rows = [
        (f"`{name}`", *(getattr(t, name) for t in targets), origin, meaning)
        for name, (origin, meaning) in PARAMETERS.items()
    ]
    head = ("parameter", *(f"`{t.name}`" for t in targets), "origin", "meaning")
    return f"## Targets\n\n{_target_sources()}\n{_table(head, rows)}"


def _target_sources() -> str:
    from furiosa.enf import target

    return target.__doc__.split("\n\n", 1)[1]


if __name__ == "__main__":
    sys.stdout.write(markdown())
