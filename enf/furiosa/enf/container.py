"""The file around the sections: header, section table, checksums.

    header   magic 8 | major u16 | minor u16 | header size u32 | file size u64 | sections u32 | reserved u32 | checksum u64
    table    for each section: name 16 | flags u32 | reserved u32 | offset u64 | size u64 | checksum 16
    sections in the table's order, each aligned; the gaps are zero and smaller than a page

All numbers little-endian.  The header's checksum is XXH3-64 over header and table with its own field zero, a section's is
XXH3-128; they find damage, not malice: the verifier is what makes a file safe to run.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

import xxhash

from furiosa.enf.errors import EnfFormatError

MAGIC = b"FENF\r\n\x1a\n"
MAJOR, MINOR = 1, 0
PAGE = 4096  # alignment of the sections that a runtime maps
REQUIRED = 1  # section flag: a reader that does not know the section must refuse the file

HEADER = struct.Struct("<8sHHIQIIQ")
ENTRY = struct.Struct("<16sIIQQ16s")
MAX_SECTIONS = 64

# name -> (alignment, required)
SECTIONS: dict[str, tuple[int, bool]] = {
    "metadata": (8, True),
    "interface": (8, True),
    "plan": (8, True),
    "code": (8, True),
    "memory": (8, True),
    "debug": (8, False),
    "host_models": (PAGE, True),
    "constants": (PAGE, True),
}


class Section(NamedTuple):
    """One row of the section table; ``offset`` and ``size`` in bytes."""

    name: str
    flags: int
    offset: int
    size: int
    checksum: bytes


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
        alignment, required = SECTIONS[name]
        start = _align(at, alignment)
        out.write(b"\0" * (start - at))
        content = sections[name]
        if not isinstance(content, Chunked):
            content = Chunked(len(content), ((0, content),))
        digest = xxhash.xxh3_128()
        done = 0
        for offset, piece in (*content.pieces, (content.size, b"")):
            if offset < done:
                raise ValueError(f"section '{name}': a piece at {offset} where the one before ends at {done}")
            for part in (b"\0" * (offset - done), piece):
                digest.update(part)
                out.write(part)
            done = offset + memoryview(piece).nbytes
        at = start + content.size
        table.append(ENTRY.pack(name.encode(), REQUIRED if required else 0, 0, start, content.size, digest.digest()))
    out.seek(0)
    out.write(_header(header_size, at, table))
    out.seek(at)
    return at


def _header(header_size: int, file_size: int, table: list[bytes]) -> bytes:
    def pack(checksum: int) -> bytes:
        return HEADER.pack(MAGIC, MAJOR, MINOR, header_size, file_size, len(table), 0, checksum) + b"".join(table)

    return pack(xxhash.xxh3_64_intdigest(pack(0)))


def to_bytes(sections: dict[str, bytes | Chunked]) -> bytes:
    """The same as ``write``, in memory."""
    out = io.BytesIO()
    write(out, sections)
    return out.getvalue()


def read_table(data: memoryview) -> list[Section]:
    """The section table of a file, with every checksum compared.

    Raises:
        EnfFormatError: not an ENF, of another major version, truncated, damaged, or with an unknown required section.
    """
    if len(data) < HEADER.size or bytes(data[: len(MAGIC)]) != MAGIC:
        raise EnfFormatError("not an ENF: the file does not start with the ENF magic number")
    _, major, minor, header_size, file_size, count, reserved, checksum = HEADER.unpack_from(data)
    if major != MAJOR or minor > MINOR:
        raise EnfFormatError(
            f"the file has ENF version {major}.{minor}, this reader knows {MAJOR}.0 to {MAJOR}.{MINOR}: "
            "use the version of the software that wrote it"
        )
    if file_size != len(data):
        raise EnfFormatError(f"the file has {len(data)} bytes where its header says {file_size}: truncated or extended")
    if count > MAX_SECTIONS or header_size != HEADER.size + ENTRY.size * count or header_size > len(data) or reserved:
        raise EnfFormatError("the header is damaged")
    head = bytearray(data[:header_size])
    head[HEADER.size - 8 : HEADER.size] = b"\0" * 8
    if xxhash.xxh3_64_intdigest(head) != checksum:
        raise EnfFormatError("the header's checksum does not match: the file is damaged")
    sections = []
    at = header_size
    for i in range(count):
        raw, flags, zero, offset, size, digest = ENTRY.unpack_from(data, HEADER.size + i * ENTRY.size)
        name = raw.rstrip(b"\0").decode("latin-1")
        if not name.isascii() or not name.isidentifier():
            raise EnfFormatError(f"section {i} has no proper name")
        if zero or flags & ~REQUIRED:
            raise EnfFormatError(f"section '{name}': reserved bits are set")
        if offset < at or offset > len(data) or size > len(data) - offset:
            raise EnfFormatError(f"section '{name}' overlaps what is before it or ends outside the file")
        if offset - at >= PAGE or any(data[at:offset]):
            raise EnfFormatError(f"section '{name}' is not right behind what is before it")
        if name in (s.name for s in sections):
            raise EnfFormatError(f"section '{name}' is there twice")
        if name not in SECTIONS:
            if flags & REQUIRED:
                raise EnfFormatError(f"section '{name}' is required and this reader does not know it")
        elif offset % SECTIONS[name][0]:
            raise EnfFormatError(f"section '{name}' is not aligned to {SECTIONS[name][0]} bytes")
        if xxhash.xxh3_128_digest(data[offset : offset + size]) != digest:
            raise EnfFormatError(f"section '{name}': the checksum does not match: the file is damaged")
        at = offset + size
        sections.append(Section(name, flags, offset, size, digest))
    if at != len(data):
        raise EnfFormatError("bytes follow the last section")
    for name, (_, required) in SECTIONS.items():
        if required and name not in (s.name for s in sections):
            raise EnfFormatError(f"section '{name}' is missing")
    return sections
