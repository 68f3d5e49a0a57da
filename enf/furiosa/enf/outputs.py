"""Output files of every command: all of them or none, and nobody sees half of one.

A regular file is written under a temporary name beside its place and renamed.  The name is locked while its process lives,
so the next run knows, and removes, what one that was killed left behind.
"""

from __future__ import annotations

import errno
import fcntl
import io
import itertools
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, NamedTuple, Self

from furiosa.enf import leaving

_TEMPORARY = (
    ".furiosa-"  # how temporary names begin; all are of one length, so that they fit where any name does
)
_DIRECT = (
    "/dev/",
    "/proc/",
)  # what lies there is written to: a name like /dev/stdout stands for an open file


_listener: Callable[[str], object] | None = None


def tell(listener: Callable[[str], object] | None) -> None:
    """From now on ``listener`` hears the path of each temporary as it is made; for who outlives this process.

    What the listener raises as OSError does not count.
    """
    global _listener
    _listener = listener


class _Pending(NamedTuple):
    """An output in the making: where its bytes are collected, and what becomes of them.

    ``temporary`` is None where they are copied to ``path``, a device or pipe; ``lock`` is a descriptor that keeps
    ``temporary`` from being taken for abandoned.
    """

    file: BinaryIO
    path: str
    temporary: str | None
    lock: int


class Outputs:
    """A context in which files are written; leaving it without an error puts all in their places, else none.

    A symbolic link stays, and the file that it names is replaced; a file that was there keeps its mode, and its owner where
    that is allowed.  Character devices and pipes are written to, at the end.  Errors are OSError and name the file.
    """

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    def open(self, path: str | os.PathLike[str]) -> BinaryIO:
        """A new binary file whose bytes will be at ``path``.

        Raises:
            OSError: ``path`` cannot be written, see ``check``.
        """
        path = os.fspath(path)
        if check(path):
            import tempfile

            with _naming(path), tempfile.TemporaryFile(buffering=0) as collected:
                file = io.BufferedWriter(_Named(os.dup(collected.fileno()), path))
            self._pending.append(_Pending(file, path, None, -1))
            return file
        final = os.path.realpath(path)
        with leaving.held():
            with _naming(path):
                descriptor, temporary = _claim(final, _new_file)
            leaving.undo(temporary, partial(os.unlink, temporary))
            try:
                lock = os.dup(descriptor)
                file = io.BufferedWriter(_Named(descriptor, path))
                self._pending.append(_Pending(file, final, temporary, lock))
            except BaseException:
                _quietly(os.close, descriptor)
                _remove(temporary)
                raise
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            for pending in self._pending:
                _quietly(pending.file.close)
                if pending.temporary is not None:
                    _remove(pending.temporary)
                    os.close(pending.lock)
            self._pending.clear()

    def _finish(self) -> None:
        for pending in self._pending:
            pending.file.flush()
            if pending.temporary is None:
                _copy(pending)
        for pending in self._pending:
            if pending.temporary is not None:
                _take_after(pending.path, pending.lock)
            pending.file.close()
        with leaving.held():  # all of them or none
            while self._pending:
                _, path, temporary, lock = self._pending[0]
                if temporary is not None:
                    with _naming(path):
                        os.replace(temporary, path)
                    leaving.done(temporary)
                    os.close(lock)
                del self._pending[0]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """One file of ``Outputs``."""
    with Outputs() as outputs:
        yield outputs.open(path)


def check(path: str) -> bool:
    """Finds out early that a file cannot be written; returns whether it is a device or pipe, which is written to in place.

    Raises:
        OSError: the name is empty, the folder is missing or may not be written, or ``path`` is a folder, socket or disk.
    """
    if not path:
        raise OSError(errno.ENOENT, "the name of the output is empty", path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    except ValueError:
        raise OSError(errno.EINVAL, "a name holds no null character", path) from None
    except OSError as e:
        e.filename = path
        raise
    if path.endswith(os.sep) or (mode is not None and stat.S_ISDIR(mode)):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, name a file", path)
    if mode is not None and not stat.S_ISREG(mode):
        if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
            return True
        raise OSError(errno.EINVAL, "it is neither a regular file nor a device or pipe to write to", path)
    if mode is not None and path.startswith(_DIRECT):
        return True
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"the folder {folder} does not exist, create it first", path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"no permission to create files in {folder}", path)
    return False


@contextmanager
def temporary_folder(place: str) -> Iterator[str]:
    """A new folder beside ``place``; removed at the end, if it is still there, or by the next run.

    Raises:
        OSError: it cannot be made.
    """
    with leaving.held():
        with _naming(place):
            lock, temporary = _claim(place, _new_folder)
        leaving.undo(temporary, partial(_remove_folder, temporary))
    try:
        yield temporary
    finally:
        with leaving.held():
            _remove_folder(temporary)
            leaving.done(temporary)
            os.close(lock)


def is_temporary(name: str) -> bool:
    """Whether a file's name is one of a temporary of this module."""
    return name.startswith(_TEMPORARY)


def abandoned(path: str) -> bool:
    """Removes what a run that was killed left at ``path``; returns whether there was something of the kind."""
    if not is_temporary(os.path.basename(path)):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # none, or nothing of ours
        return False
    try:
        if not _locked(descriptor, otherwise=False) or os.fstat(descriptor).st_uid != os.geteuid():
            return False
        if not _is_at(descriptor, path):
            return False
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            _remove_folder(path)
        else:
            os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


# -- temporary names ------------------------------------------------------------------------------------------------------


def _claim(place: str, make: Callable[[str], int]) -> tuple[int, str]:
    """A new temporary beside ``place``, locked: its descriptor and path.  What is abandoned there goes."""
    names = _names(place)
    for path in names:
        abandoned(path)
        try:
            descriptor = make(path)
        except FileExistsError:  # of a run that lives
            continue
        try:
            if _locked(descriptor, otherwise=True) and _is_at(descriptor, path):
                while abandoned(next(names)):  # of runs that ran beside another
                    pass
                if _listener is not None:
                    _quietly(_listener, path)
                return descriptor, path
        except BaseException:
            os.close(descriptor)
            abandoned(path)
            raise
        os.close(descriptor)  # before it was locked, another run took it for abandoned
    raise AssertionError("there is no end of names")


def _names(place: str) -> Iterator[str]:
    """The temporaries that ``place`` may have, in the order in which runs at the same time take them."""
    folder, name = os.path.split(place)
    for number in itertools.count():
        yield os.path.join(folder, f"{_TEMPORARY}{zlib.crc32(os.fsencode(name)):08x}-{number}.tmp")


def _new_file(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def _new_folder(path: str) -> int:
    os.mkdir(path)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _locked(descriptor: int, *, otherwise: bool) -> bool:
    """Locks a file; False where another process has it, ``otherwise`` where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    """Removes a temporary, and with it the name, which another run may take from then on."""
    with leaving.held():
        _quietly(os.unlink, path)
        leaving.done(path)


def _remove_folder(path: str) -> None:
    import shutil  # which few runs need, and which takes time to import

    shutil.rmtree(path, ignore_errors=True)


# -- files ----------------------------------------------------------------------------------------------------------------


class _Named(io.FileIO):
    """A file whose errors name it."""

    def __init__(self, descriptor: int, path: str):
        super().__init__(descriptor, "r+b")
        self.name = path

    def write(self, data: bytes) -> int | None:
        with _naming(self.name):
            return super().write(data)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Inside, an OSError is one of ``path``."""
    try:
        yield
    except OSError as e:
        e.filename, e.filename2 = path, None
        raise


def _take_after(path: str, descriptor: int) -> None:
    """Gives a new file the mode of the one that it replaces, and its owner where that is allowed."""
    try:
        old = os.stat(path)
    except OSError:
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:  # only root gives files away
            pass
    with _naming(path):
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)


def _copy(pending: _Pending) -> None:
    """Writes what was collected to a device or pipe."""
    source = pending.file.fileno()
    os.lseek(source, 0, os.SEEK_SET)
    with _naming(pending.path):
        # appended, and nothing is cut off: /dev/stdout may be a file with something in it
        target = os.open(pending.path, os.O_WRONLY | os.O_APPEND)
        try:
            while data := os.read(source, 1 << 20):
                view = memoryview(data)
                while view:
                    view = view[os.write(target, view) :]
        finally:
            os.close(target)


def _quietly(function: Callable[..., object], *arguments: object) -> None:
    try:
        function(*arguments)
    except OSError:  # a disk that is full says so again when the file is closed
        pass
