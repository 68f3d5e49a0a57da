"""The tar reader against archives of Python's tarfile and of strangers, the writer against tarfile."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.runtime.bundle import tar
from furiosa.runtime.errors import BundleError


def archive(
    *entries: tuple[str, bytes | None], edit=lambda info: None, form: int = tarfile.USTAR_FORMAT
) -> bytes:
    """An archive by tarfile; None as contents makes a folder, ``edit`` may change a header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as t:
        for name, contents in entries:
            info = tarfile.TarInfo(name)
            if contents is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(contents)
            edit(info)
            t.addfile(info, io.BytesIO(contents or b""))
    return out.getvalue()


def read(data: bytes) -> dict[str, bytes | None]:
    view = memoryview(data)
    return {
        m.name: None if m.is_folder else bytes(view[m.offset : m.offset + m.size]) for m in tar.members(view)
    }


def ours(*entries: tuple[str, bytes | None]) -> bytes:
    out = b""
    for name, contents in entries:
        out += (
            tar.header(name, len(contents or b""), contents is None)
            + (contents or b"")
            + tar.padding(len(contents or b""))
        )
    return out + tar.end(len(out))


ENTRIES = (("a", b""), ("d", None), ("d/b.enf", b"x" * 512), ("d/c.enf", b"yy" * 300))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_reads_what_tarfile_writes(form):
    assert read(archive(*ENTRIES, form=form)) == dict(ENTRIES)


def test_tarfile_reads_what_we_write_and_finds_no_trace_of_the_machine():
    data = ours(*ENTRIES)
    assert len(data) % tar.RECORD == 0 and read(data) == dict(ENTRIES)
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        for info, (name, contents) in zip(t.getmembers(), ENTRIES, strict=True):
            assert (info.name, info.isdir()) == (name, contents is None)
            assert contents is None or t.extractfile(info).read() == contents
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
            assert info.mode == (0o755 if contents is None else 0o644)


def test_the_bytes_are_those_of_the_standard():
    data = tar.header("m/a.enf", 1000)
    assert data[:7] == b"m/a.enf" and data[124:136] == b"00000001750\0" and data[257:265] == b"ustar\00000"
    assert data[148:156] == b"%06o\0 " % (sum(data) - sum(data[148:156]) + 8 * ord(" "))


@pytest.mark.parametrize("size", [0, 512, 9 * 1024, 10 * 1024 - 512, 10 * 1024, 12345 * 512])
def test_the_end_mark_fills_a_record(size):
    mark = tar.end(size)
    assert (size + len(mark)) % tar.RECORD == 0 and 1024 <= len(mark) < 1024 + tar.RECORD


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../up",
        "d/../../up",
        "..",
        ".",
        "d/./x",
        "a//b",
        "a\\b",
        "ä",
        "a b",
        "a\nb",
        "~",
        "c:x",
        "",
    ],
)
def test_paths_that_lead_elsewhere_are_refused(name):
    with pytest.raises(BundleError):
        read(archive((name, b"")))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.FIFOTYPE, "named pipe"),
        (tarfile.GNUTYPE_SPARSE, "sparse"),
        (b"Z", "unknown kind"),
    ],
)
def test_other_kinds_are_refused(kind, sentence):
    def edit(info):
        info.type, info.linkname = kind, "a"

    with pytest.raises(BundleError, match=sentence):
        read(archive(("a", b""), edit=edit))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_extensions_are_refused(form):
    with pytest.raises(BundleError, match="extension header"):
        read(archive(("n" * 200, b""), form=form))


def test_one_path_twice_is_refused():
    with pytest.raises(BundleError, match="'a' is in the archive twice"):
        read(archive(("a", b"1"), ("a", b"2")))


def test_damage_is_refused():
    good = archive(*ENTRIES)
    for cut in (0, 1, 511, 512, 1500, len(good) - tar.RECORD + 100):
        with pytest.raises(BundleError):
            read(good[:cut])
    for at in (0, 100, 124, 148, 156, 257, 345):
        bad = bytearray(good)
        bad[at] ^= 0x01
        with pytest.raises(BundleError):
            read(bytes(bad))
    with pytest.raises(BundleError, match="end mark"):
        read(good + b"x")


def test_sizes_are_bounded_by_the_archive():
    block = bytearray(tar.header("a", tar.MAX_SIZE))
    with pytest.raises(BundleError, match="ends outside the archive"):
        read(bytes(block) + tar.end(512))


def test_a_name_or_a_size_that_does_not_fit_is_no_silent_loss():
    for name, size in (("n" * 101, 0), ("a", tar.MAX_SIZE + 1)):
        with pytest.raises(ValueError, match="cannot hold"):
            tar.header(name, size)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_changed_bytes_never_raise_anything_else(data):
    bad = bytearray(ours(*ENTRIES))
    for _ in range(data.draw(st.integers(1, 8))):
        bad[data.draw(st.integers(0, 4000))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(bad))
    except BundleError:
        pass
