"""The file around the sections: header, section table, checksums.

The checksums find damage, not malice: the verifier is what makes a file safe to run.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from itertools import chain
from typing import BinaryIO, NamedTuple

import xxhash

from furiosa.enf import filetypes
from furiosa.enf.errors import EnfFormatError
from furiosa.enf.files import Content

MAGIC = b"FENF\r\n\x1a\n"
MAJOR, MINOR = 1, 1
PAGE = 4096  # alignment of the sections that a runtime maps
REQUIRED = 1  # section flag: a reader that does not know the section must refuse the file

MAX_SECTIONS = 64


class Field(NamedTuple):
    """A field of the header or the section table; ``code`` is its struct code, numbers are little-endian."""

    name: str
    code: str
    doc: str


HEADER_FIELDS = (
    Field(
        "magic", "8s", "`46 45 4e 46 0d 0a 1a 0a`, FENF and line ends that a transfer as text would change"
    ),
    Field("major", "H", "version: a reader refuses another major version"),
    Field("minor", "H", "version: a reader refuses a newer minor version and reads every older one"),
    Field("header_size", "I", "bytes of header and section table"),
    Field("file_size", "Q", "bytes of the whole file"),
    Field("sections", "I", f"entries of the section table, at most {MAX_SECTIONS}"),
    Field("reserved", "I", "0"),
    Field("checksum", "Q", "XXH3-64 of header and section table, this field taken as 0"),
)
ENTRY_FIELDS = (
    Field("name", "16s", "an ASCII identifier, filled up with zeros"),
    Field(
        "flags",
        "I",
        "bit 0: required, a reader that does not know the section must refuse the file; the rest 0",
    ),
    Field("reserved", "I", "0"),
    Field("offset", "Q", "of the section in the file, in bytes"),
    Field("size", "Q", "in bytes"),
    Field("checksum", "16s", "XXH3-128 of the section, in its canonical (big-endian) form"),
)
HEADER = struct.Struct("<" + "".join(f.code for f in HEADER_FIELDS))
ENTRY = struct.Struct("<" + "".join(f.code for f in ENTRY_FIELDS))


class Kind(NamedTuple):
    """What is known of a section: alignment of its offset in bytes, whether each file must have it, what is in it."""

    alignment: int
    required: bool
    doc: str


SECTIONS: dict[str, Kind] = {
    "metadata": Kind(
        8, True, "message Metadata: what the program was compiled from and for, and figures about it"
    ),
    "interface": Kind(8, True, "message Interface: the tensors that users hand over and get"),
    "plan": Kind(
        8, True, "message Plan: what runs once, then ranges of commands and host clusters, in order"
    ),
    "code": Kind(8, True, "the commands, one record after the other"),
    "memory": Kind(
        8, True, "message MemoryPlan: the buffers in SRAM and working DRAM, and how long they live"
    ),
    "debug": Kind(
        8, False, "message DebugMap: the operators of the model, and which of them each command comes from"
    ),
    "host_models": Kind(PAGE, True, "the models of the host clusters, in the format of the source model"),
    "constants": Kind(PAGE, True, "weights, biases, scales and tables, as LOAD reads them"),
}


class Section(NamedTuple):
    """One row of the section table; ``offset`` and ``size`` in bytes."""

    name: str
    flags: int
    offset: int
    size: int
    checksum: bytes

    @property
    def end(self) -> int:
        return self.offset + self.size


class Chunked(NamedTuple):
    """The content of a section as pieces at ascending offsets, so that large constants are never joined in memory."""

    size: int
    pieces: Iterable[tuple[int, bytes | memoryview]]


def _align(n: int, alignment: int) -> int:
    return -(-n // alignment) * alignment


def write(out: BinaryIO, sections: dict[str, bytes | Chunked]) -> int:
    """Writes an ENF of the given sections, in the order of ``SECTIONS``; returns its size in bytes.

    ``out`` must be empty and seekable; the header is written last.

    Raises:
        ValueError: an unknown section, or pieces that overlap or do not fit the section's size.
    """
    if unknown := sorted(set(sections) - set(SECTIONS)):
        raise ValueError(f"unknown sections: {', '.join(unknown)}")
    names = [n for n in SECTIONS if n in sections]
    header_size = HEADER.size + ENTRY.size * len(names)
    out.write(b"\0" * header_size)
    at = header_size
    table = []
    for name in names:
        alignment, required, _ = SECTIONS[name]
        start = _align(at, alignment)
        out.write(b"\0" * (start - at))
        content = sections[name]
        if not isinstance(content, Chunked):
            content = Chunked(len(content), ((0, content),))
        digest = xxhash.xxh3_128()
        done = 0
        for offset, piece in chain(content.pieces, [(content.size, b"")]):
            if offset < done:
                raise ValueError(f"section '{name}': a piece at {offset} where the one before ends at {done}")
            for part in (b"\0" * (offset - done), piece):
                digest.update(part)
                out.write(part)
            done = offset + memoryview(piece).nbytes
        at = start + content.size
        table.append(
            ENTRY.pack(name.encode(), REQUIRED if required else 0, 0, start, content.size, digest.digest())
        )
    out.seek(0)
    out.write(_header(header_size, at, table))
    out.seek(at)
    return at


def _header(header_size: int, file_size: int, table: list[bytes]) -> bytes:
    def pack(checksum: int) -> bytes:
        return HEADER.pack(MAGIC, MAJOR, MINOR, header_size, file_size, len(table), 0, checksum) + b"".join(
            table
        )

    return pack(xxhash.xxh3_64_intdigest(pack(0)))


def to_bytes(sections: dict[str, bytes | Chunked]) -> bytes:
    """The same as ``write``, in memory."""
    out = io.BytesIO()
    write(out, sections)
    return out.getvalue()


def read_table(data: Content, *, checksums: bool = True) -> list[Section]:
    """The section table of a file, with every checksum compared; without ``checksums`` only the header's.

    Raises:
        EnfFormatError: not an ENF, of another major version, truncated, damaged, or with an unknown required section.
    """
    head = bytearray(bytes(data[: HEADER.size + MAX_SECTIONS * ENTRY.size]))
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        known = filetypes.what_is(bytes(data[: filetypes.HEAD])) if bytes(data[:4]) != MAGIC[:4] else None
        raise EnfFormatError(f"not an ENF: {known or 'the file does not start with the ENF magic number'}")
    _, major, minor, header_size, file_size, count, reserved, checksum = HEADER.unpack_from(head)
    if major != MAJOR or minor > MINOR:
        raise EnfFormatError(
            f"the file has ENF version {major}.{minor}, this reader knows {MAJOR}.0 to {MAJOR}.{MINOR}: "
            "use the version of the software that wrote it"
        )
    if file_size != len(data):
        raise EnfFormatError(
            f"the file has {len(data)} bytes where its header says {file_size}: truncated or extended"
        )
    if (
        count > MAX_SECTIONS
        or header_size != HEADER.size + ENTRY.size * count
        or header_size > len(data)
        or reserved
    ):
        raise EnfFormatError("the header is damaged")
    del head[header_size:]
    head[HEADER.size - 8 : HEADER.size] = b"\0" * 8
    if xxhash.xxh3_64_intdigest(head) != checksum:
        raise EnfFormatError("the header's checksum does not match: the file is damaged")
    sections = []
    at = header_size
    for i in range(count):
        raw, flags, zero, offset, size, digest = ENTRY.unpack_from(head, HEADER.size + i * ENTRY.size)
        name = raw.rstrip(b"\0").decode("latin-1")
        if not name.isascii() or not name.isidentifier():
            raise EnfFormatError(f"section {i} has no proper name")
        if zero or flags & ~REQUIRED:
            raise EnfFormatError(f"section '{name}': reserved bits are set")
        if offset < at or offset > len(data) or size > len(data) - offset:
            raise EnfFormatError(f"section '{name}' overlaps what is before it or ends outside the file")
        if offset - at >= PAGE or bytes(data[at:offset]) != bytes(offset - at):
            raise EnfFormatError(f"section '{name}' is not right behind what is before it")
        if name in (s.name for s in sections):
            raise EnfFormatError(f"section '{name}' is there twice")
        if name not in SECTIONS:
            if flags & REQUIRED:
                raise EnfFormatError(f"section '{name}' is required and this reader does not know it")
        elif offset % SECTIONS[name].alignment:
            raise EnfFormatError(f"section '{name}' is not aligned to {SECTIONS[name].alignment} bytes")
        at = offset + size
        sections.append(Section(name, flags, offset, size, digest))
        if checksums:
            compare_checksum(data, sections[-1])
    if at != len(data):
        raise EnfFormatError("bytes follow the last section")
    for name, kind in SECTIONS.items():
        if kind.required and name not in (s.name for s in sections):
            raise EnfFormatError(f"section '{name}' is missing")
    return sections


def compare_checksum(data: memoryview, section: Section) -> None:
    """Reads a section and compares its checksum.

    Raises:
        EnfFormatError: they differ.
    """
    if xxhash.xxh3_128_digest(data[section.offset : section.offset + section.size]) != section.checksum:
        raise EnfFormatError(f"section '{section.name}': the checksum does not match: the file is damaged")
