"""Files that are read and never mapped: what happens to a file later changes no bytes that were read, and kills no process.

A mapped file that somebody truncates ends the process that looks at it (SIGBUS); one that somebody writes to changes under
its reader.  Here every byte is copied once, and a file that changes meanwhile is said to.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

CHUNK = 1 << 20  # bytes that are read at a time where a file is gone through
_AT_ONCE = 1 << 30  # bytes of one system call, which has a limit of 2 GiB


class FileChanged(OSError):
    """A file became shorter or was written to while it was read."""


class _File:
    """An open file and what it was like then."""

    def __init__(self, path: str):
        self.path = path
        _regular(os.stat(path), path)  # a pipe would be waited for, until somebody writes to it
        self.raw = open(path, "rb", buffering=0)  # noqa: SIM115 - closed when nobody needs it any more
        status = _regular(os.fstat(self.raw.fileno()), path)
        self.size, self._written = status.st_size, status.st_mtime_ns

    def check(self) -> None:
        status = os.fstat(self.raw.fileno())
        if (status.st_size, status.st_mtime_ns) != (self.size, self._written):
            raise self.changed()

    def changed(self) -> FileChanged:
        return FileChanged(
            errno.ESTALE, "it was changed while it was read; replace files by renaming", self.path
        )

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            self.raw.close()


def _regular(status: os.stat_result, path: str) -> os.stat_result:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return status


class Part:
    """Some bytes of an open file, which are read when they are asked for.

    A slice is a part too, as of a ``memoryview``; ``bytes()`` reads it.  The file stays open as long as there are parts of it.

    Raises:
        OSError: reading fails.
        FileChanged: the file became shorter.
    """

    def __init__(self, file: _File, start: int, size: int):
        self._file, self._start, self._size = file, start, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> Part:
        start, stop, _ = slice(span.start, span.stop).indices(self._size)
        return Part(self._file, self._start + start, max(stop - start, 0))

    def __bytes__(self) -> bytes:
        pieces, left = [], self._size
        while left:
            piece = os.pread(self._file.raw.fileno(), min(left, _AT_ONCE), self._start + self._size - left)
            if not piece:
                raise self._file.changed()
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def read_into(self, memory: memoryview) -> None:
        """Fills memory of this part's size."""
        at = 0
        while at < self._size:
            piece = memory[at : min(at + _AT_ONCE, self._size)]
            count = os.preadv(self._file.raw.fileno(), [piece], self._start + at)
            if not count:
                raise self._file.changed()
            at += count

    def check(self) -> None:
        """Tells a change of the file since it was opened.

        Raises:
            FileChanged: it has another size or time of change.
        """
        self._file.check()


Content = memoryview | Part  # the bytes of a file, in memory or not


def open_file(path: str | os.PathLike[str]) -> Part:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be opened, or is a device, a pipe or a folder.
    """
    file = _File(os.fspath(path))
    return Part(file, 0, file.size)


def read(content: Content) -> bytes:
    """The bytes of a file that did not change meanwhile; raises as ``Part``."""
    data = bytes(content)
    if isinstance(content, Part):
        content.check()
    return data


def in_memory(content: Content) -> memoryview:
    """The same, read-only and not copied a second time; raises as ``Part``, and MemoryError."""
    if isinstance(content, memoryview):
        return content
    if len(content) < CHUNK:
        return memoryview(read(content))
    memory = allocate(len(content), is_filled=True)
    content.read_into(memory)
    content.check()
    return memory.toreadonly()


def chunks(content: Content) -> Iterator[bytes | memoryview]:
    """The bytes in pieces, one at a time in memory; raises as ``Part``."""
    for at in range(0, len(content), CHUNK):
        piece = content[at : at + CHUNK]
        yield piece if isinstance(piece, memoryview) else bytes(piece)


def allocate(size: int, *, is_filled: bool = False) -> memoryview:
    """Memory of zeros, which costs nothing until it is touched; ``is_filled`` where all of it will be, soon.

    Raises:
        MemoryError: there is not so much.
    """
    if not size:
        return memoryview(bytearray())
    try:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as e:
        raise MemoryError(f"{size} bytes: {e.strerror}") from None
    if is_filled:
        with suppress(AttributeError, OSError):  # not on every system; saves most of the page faults
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)
