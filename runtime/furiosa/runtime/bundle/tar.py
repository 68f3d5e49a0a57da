"""Tar archives, as little of them as a bundle needs: plain files and folders in POSIX ustar form.

Written and read by one table, so that what is written never depends on clock, user or machine, and what is
read cannot say anything else: no links, no devices, no extensions, no path that leads elsewhere.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from furiosa.enf.files import Content, chunks
from furiosa.runtime.errors import BundleError

BLOCK = 512
RECORD = 20 * BLOCK  # archives are a multiple of this long, as tar writes them
MAX_SIZE = 8**11 - 1  # 11 octal digits

# name, mode, uid, gid, size, mtime, checksum, type, link, magic, version, user, group, major, minor, prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_CHECKSUM = slice(148, 156)
_FILE, _FOLDER = b"0", b"5"
_MAGICS = ((b"ustar\0", b"00"), (b"ustar ", b" \0"))  # POSIX, and GNU tar where a name needs no extension
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"S": "a sparse file",
    **dict.fromkeys((b"x", b"g", b"L", b"K", b"N", b"X"), "an extension header"),
}
_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", re.ASCII)


class Member(NamedTuple):
    """One entry of an archive; ``offset`` and ``size`` of its contents in bytes."""

    name: str
    is_folder: bool
    offset: int
    size: int


def header(name: str, size: int, is_folder: bool = False, executable: bool = False) -> bytes:
    """The block before a file's contents, or the whole entry of a folder.

    Mode is 0644, or 0755 for folders and programs; owner 0, time 0.

    Raises:
        ValueError: a name of more than 100 bytes that cannot be cut in two, or 8 GiB or more.
    """
    raw = (name + "/" if is_folder else name).encode("ascii")
    prefix, raw = _halves(raw)
    if len(raw) > 100 or size > MAX_SIZE:
        raise ValueError(f"{name}: a tar file cannot hold such a long name, or a file of {size} bytes")
    mode = b"0000755\0" if is_folder or executable else b"0000644\0"
    zero, kind = b"0000000\0", _FOLDER if is_folder else _FILE
    empty = b""
    block = bytearray(
        _HEADER.pack(
            raw,
            mode,
            zero,
            zero,
            b"%011o\0" % size,
            b"%011o\0" % 0,
            b" " * 8,
            kind,
            empty,
            *_MAGICS[0],
            empty,
            empty,
            zero,
            zero,
            prefix,
        )
    )
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)


def _halves(raw: bytes) -> tuple[bytes, bytes]:
    """A path as the fields prefix (up to 155 bytes) and name; the prefix is empty where the name takes it all."""
    if len(raw) <= 100:
        return b"", raw
    cut = raw.rfind(b"/", 0, min(156, len(raw) - 1))  # not the slash that ends a folder's name
    return (raw[:cut], raw[cut + 1 :]) if cut > 0 else (b"", raw)


def padding(size: int) -> bytes:
    """The zeros behind ``size`` bytes of contents."""
    return b"\0" * (-size % BLOCK)


def end(position: int) -> bytes:
    """The zeros that end an archive of ``position`` bytes."""
    return b"\0" * (2 * BLOCK + -(position + 2 * BLOCK) % RECORD)


def members(data: Content) -> Iterator[Member]:
    """The entries of an archive, in its order.

    Raises:
        BundleError: not a plain ustar archive, truncated or damaged, an entry that is no file and no folder,
            an absolute path, one with ``..`` or with other characters than letters, digits and ``-_./``, or
            one path twice.
    """
    seen: set[str] = set()
    at = 0
    while True:
        block = bytes(data[at : at + BLOCK])
        if len(block) < BLOCK:
            raise BundleError("the archive ends without its end mark: it is truncated or no tar file")
        at += BLOCK
        if not any(block):
            break
        member = _member(block, at)
        if member.size > len(data) - at:
            raise BundleError(f"'{member.name}' ends outside the archive: it is truncated")
        if member.name in seen:
            raise BundleError(f"'{member.name}' is in the archive twice")
        seen.add(member.name)
        yield member
        at += member.size + -member.size % BLOCK
    if any(bytes(chunk).strip(b"\0") for chunk in chunks(data[at:])):
        raise BundleError("bytes follow the archive's end mark")


def _member(block: bytes, offset: int) -> Member:
    name, _, _, _, size, _, checksum, kind, _, magic, version, _, _, _, _, prefix = _HEADER.unpack(block)
    if (magic, version) not in _MAGICS:
        raise BundleError("not a tar file in POSIX ustar form")
    blank = bytearray(block)
    blank[_CHECKSUM] = b" " * 8
    if _number(checksum) != sum(blank):
        raise BundleError(f"the header at byte {offset - BLOCK} of the archive is damaged")
    parts = [part.rstrip(b"\0").decode("ascii", "backslashreplace") for part in (prefix, name)]
    path = "/".join(part for part in parts if part)
    if kind not in (_FILE, b"\0", _FOLDER):
        raise BundleError(
            f"{path!r} is {_KINDS.get(kind, 'of an unknown kind')}; a bundle holds only files and folders"
        )
    if path.startswith("/"):
        raise BundleError(f"{path!r} is an absolute path")
    is_folder = kind == _FOLDER
    clean = path.removesuffix("/") if is_folder else path
    if not _NAME.fullmatch(clean) or any(part in (".", "..") for part in clean.split("/")):
        raise BundleError(f"{path!r} is no path that a bundle may hold")
    length = _number(size)
    if length is None or (is_folder and length):
        raise BundleError(f"{path!r}: its size is damaged")
    return Member(clean, is_folder, offset, length)


def _number(field: bytes) -> int | None:
    """An octal number, or None."""
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else None
