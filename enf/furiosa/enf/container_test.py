"""The file around the sections: what is written is read back, and every kind of damage is found and named."""

from __future__ import annotations

import io

import pytest

from furiosa.enf import container
from furiosa.enf.container import ENTRY, HEADER, PAGE, SECTIONS, Chunked
from furiosa.enf.errors import EnfFormatError
from furiosa.enf.testing.programs import seal, table

CONTENT = {name: name.encode() * 3 for name in SECTIONS}
FILE = container.to_bytes(CONTENT)
MINIMAL = {name: b"" for name, kind in SECTIONS.items() if kind.required}
NAME, FLAGS, RESERVED, OFFSET, SIZE = range(5)


def read(data: bytes) -> list[container.Section]:
    return container.read_table(memoryview(data))


def row(rows: list[list[object]], name: str) -> list[object]:
    return next(r for r in rows if r[NAME].rstrip(b"\0") == name.encode())


def refused(data: bytes, words: str) -> None:
    with pytest.raises(EnfFormatError, match=words):
        read(data)


def test_what_is_written_is_read_back():
    sections = read(FILE)
    assert [s.name for s in sections] == list(SECTIONS)
    for s in sections:
        assert FILE[s.offset : s.offset + s.size] == CONTENT[s.name]
        assert s.offset % SECTIONS[s.name].alignment == 0
        assert bool(s.flags & container.REQUIRED) == SECTIONS[s.name].required


def test_the_order_of_the_dict_does_not_matter():
    assert container.to_bytes(dict(reversed(CONTENT.items()))) == FILE


def test_golden_layout():
    """Files of version 1 are read for ever: where everything lies is spelled out once more here."""
    data = container.to_bytes(MINIMAL | {"code": b"abc", "constants": b"xyz"})
    assert data[:8] == b"FENF\r\n\x1a\n"
    assert data[8:24].hex() == "01000100" + "b0010000" + "0310000000000000"
    assert data[24:32].hex() == "0700000000000000"
    assert data[HEADER.size : HEADER.size + 24].hex() == b"metadata".hex() + "00" * 8 + "0100000000000000"
    assert data[-3:] == b"xyz" and data.index(b"abc") == 432 and len(data) == PAGE + 3
    assert data[32:40].hex() == "6bac671546cb186d"


def test_chunks_are_the_same_as_joined_bytes():
    pieces = [(2, b"ab"), (7, memoryview(b"cd"))]
    assert container.to_bytes(MINIMAL | {"constants": Chunked(12, pieces)}) == container.to_bytes(
        MINIMAL | {"constants": b"\0\0ab\0\0\0cd\0\0\0"}
    )


def test_write_returns_the_size():
    out = io.BytesIO()
    assert container.write(out, CONTENT) == len(FILE) == len(out.getvalue())
    assert out.getvalue() == FILE


@pytest.mark.parametrize("pieces", [[(4, b"abc"), (6, b"d")], [(4, b"abc"), (2, b"d")], [(9, b"abc")]])
def test_pieces_that_overlap_or_do_not_fit(pieces):
    with pytest.raises(ValueError, match="section 'constants': a piece at"):
        container.to_bytes(MINIMAL | {"constants": Chunked(10, pieces)})


def test_writing_an_unknown_section():
    with pytest.raises(ValueError, match="unknown sections: notes"):
        container.to_bytes(MINIMAL | {"notes": b""})


def test_sealing_changes_nothing_in_a_sound_file():
    assert seal(FILE) == FILE


@pytest.mark.parametrize("data", [b"", b"FENF", FILE[: HEADER.size - 1], b"\x7fELF" + FILE[4:]])
def test_not_an_enf(data):
    refused(data, "magic number")


def test_versions(monkeypatch):
    refused(seal(FILE, major=2), "version 2.1, this reader knows 1.0 to 1.1")
    refused(seal(FILE, minor=2), "version 1.2, this reader knows 1.0 to 1.1")
    assert read(seal(FILE, minor=0)) == read(FILE)
    monkeypatch.setattr(container, "MINOR", 3)
    assert read(seal(FILE, minor=2)) == read(FILE)
    assert read(FILE)


@pytest.mark.parametrize("data", [FILE[:-1], FILE + b"\0", FILE[: HEADER.size], FILE[: len(FILE) // 2]])
def test_truncated_or_extended(data):
    refused(data, "truncated or extended")


@pytest.mark.parametrize(
    "header",
    [
        {"sections": container.MAX_SECTIONS + 1},
        {"sections": 2**32 - 1},
        {"header_size": HEADER.size},
        {"header_size": 2**32 - 1},
        {"reserved": 1},
    ],
)
def test_impossible_headers(header):
    refused(seal(FILE, **header), "header is damaged")


def test_a_table_longer_than_the_file():
    count = container.MAX_SECTIONS
    size = HEADER.size + count * ENTRY.size
    short = FILE[: HEADER.size + ENTRY.size]
    refused(seal(short, [], sections=count, header_size=size, file_size=len(short)), "header is damaged")


def test_checksums():
    damaged = bytearray(FILE)
    damaged[HEADER.size + 40] ^= 1
    refused(bytes(damaged), "header's checksum")
    for s in read(FILE):
        damaged = bytearray(FILE)
        damaged[s.offset] ^= 1
        refused(bytes(damaged), f"section '{s.name}': the checksum")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (RESERVED, 1, "reserved bits"),
        (FLAGS, 2, "reserved bits"),
        (FLAGS, 2**31, "reserved bits"),
        (OFFSET, 0, "overlaps"),
        (OFFSET, 2**64 - 1, "outside the file"),
        (OFFSET, 2**63, "outside the file"),
        (SIZE, 2**64 - 1, "outside the file"),
        (SIZE, 2**63, "outside the file"),
        (NAME, b"", "no proper name"),
        (NAME, b"code\nERROR: x", "no proper name"),
        (NAME, "codé".encode("latin-1"), "no proper name"),
        (NAME, b"code\0x", "no proper name"),
        (NAME, b"metadata", "there twice"),
    ],
)
def test_bad_rows(field, value, words):
    rows = table(FILE)
    row(rows, "code")[field] = value
    refused(seal(FILE, rows), words)


def test_misaligned():
    rows = table(FILE)
    code = row(rows, "code")
    code[OFFSET] += 1
    code[SIZE] -= 1
    data = bytearray(FILE)
    data[code[OFFSET] - 1] = 0
    refused(seal(data, rows), "not aligned to 8 bytes")


def test_overlapping_sections():
    rows = table(FILE)
    row(rows, "interface")[OFFSET] -= 8
    refused(seal(FILE, rows), "section 'interface' overlaps")


def test_gaps():
    data = bytearray(FILE)
    data[row(table(FILE), "host_models")[OFFSET] - 1] = 1
    refused(seal(data), "section 'host_models' is not right behind")
    rows = table(FILE)
    rows[-1][OFFSET] += PAGE
    far = FILE[: -rows[-1][SIZE]] + bytes(PAGE) + FILE[-rows[-1][SIZE] :]
    refused(seal(far, rows, file_size=len(far)), "section 'constants' is not right behind")


def test_bytes_behind_the_last_section():
    refused(seal(FILE + b"\0", file_size=len(FILE) + 1), "bytes follow the last section")


def test_unknown_sections():
    """Another reader's optional section is stepped over, a required one is refused by name."""
    rows = table(FILE)
    row(rows, "debug")[NAME] = b"notes"
    assert "notes" in [s.name for s in read(seal(FILE, rows))]
    row(rows, "notes")[FLAGS] = container.REQUIRED
    refused(seal(FILE, rows), "section 'notes' is required and this reader does not know it")


@pytest.mark.parametrize("name", list(SECTIONS))
def test_missing_sections(name):
    rest = {n: c for n, c in CONTENT.items() if n != name}
    if SECTIONS[name].required:
        refused(container.to_bytes(rest), f"section '{name}' is missing")
    else:
        assert len(read(container.to_bytes(rest))) == len(rest)
