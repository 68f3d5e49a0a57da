"""Output files that appear all together once everything has succeeded, or not at all."""

from __future__ import annotations

import os
from typing import BinaryIO, Self

from furiosa.compiler.errors import IoError


def check_writable(path: str) -> None:
    """Finds out early that a file cannot be written.

    Raises:
        IoError: the folder is missing or may not be written, or ``path`` is a folder or a device.
    """
    folder = os.path.dirname(os.path.realpath(path))
    if not path:
        raise IoError("cannot write an output: its name is empty")
    if os.path.isdir(path) or path.endswith(os.sep):
        raise IoError(f"cannot write {path}: it is a folder, name a file")
    if not os.path.isdir(folder):
        raise IoError(f"cannot write {path}: the folder {folder} does not exist, create it first")
    if os.path.exists(path) and not os.path.isfile(path):
        raise IoError(f"cannot write {path}: it is not a regular file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise IoError(f"cannot write {path}: no permission to create files in {folder}")


class Outputs:
    """A context in which files are written under temporary names in their own folders.

    Leaving it without an error renames all of them, so that a reader sees a whole file or none; leaving it with an error
    removes them.  Errors while writing are OSError.
    """

    def __init__(self) -> None:
        self._files: list[tuple[BinaryIO, str, str]] = []  # file, temporary path, path

    def open(self, path: str) -> BinaryIO:
        """A new binary file that will be at ``path``; a symbolic link there is followed."""
        final = os.path.realpath(path)
        number = 0
        while True:
            temporary = os.path.join(os.path.dirname(final), f".furiosa.{os.getpid()}.{number}.tmp")
            try:
                file = open(temporary, "xb")  # noqa: SIM115  closed by __exit__
            except FileExistsError:  # of another process that was killed, or has the same id in a container
                number += 1
            else:
                self._files.append((file, temporary, final))
                return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            for file, _, _ in self._files:
                file.close()
            while kind is None and self._files:
                os.replace(*self._files[0][1:])
                del self._files[0]
        finally:
            for file, temporary, _ in self._files:
                _quietly(file.close)
                _quietly(os.unlink, temporary)


def _quietly(function: object, *arguments: object) -> None:
    try:
        function(*arguments)
    except OSError:  # a disk that is full says so again when the file is closed
        pass
