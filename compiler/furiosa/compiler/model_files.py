"""The files that a model consists of: all that a compilation reads.

Whatever a model names, only files are opened that the caller named, or, where the caller allows it, that lie in the model's
own folder: what a compilation reads does not depend on whether it runs in a sandbox.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple, NoReturn

from furiosa.compiler.errors import InvalidModel, IoError
from furiosa.enf import files

MAX_MODEL = (
    1 << 33
)  # bytes of a model file: protobuf ends at 2 GiB, and TFLite may have buffers behind its flatbuffer
_PIECE = 1 << 20  # bytes of a pipe that are read at a time
_OPEN = 16  # files that are kept open: mostly one holds all constants, but some exporters write one for each
_NAMED = 3  # files that an error names


class DataFile(NamedTuple):
    """A file of external data.

    ``location`` is what the model calls it, a path relative to the model's folder.  None: a file below that folder is called
    by its path from there.  Any other, and one of the empty location, by all ends of its path: ``weights/a.bin`` and ``a.bin``
    stand for ``/mnt/weights/a.bin``.
    """

    path: str
    location: str | None = None


def parse_data(text: str) -> DataFile:
    """Reads ``FILE``, ``LOCATION=FILE`` or ``=FILE``; a "=" of the location is doubled."""
    at = text.find("=")
    while text.startswith("==", at):
        at = text.find("=", at + 2)
    return DataFile(text[at + 1 :], text[:at].replace("==", "=")) if at >= 0 else DataFile(text)


class Undeclared(IoError):
    """External data that may not be read, for nobody named them."""

    def __init__(self, files: ModelFiles, locations: list[str]):
        self._files = files
        shown = ", ".join(f'"{w}"' for w in locations[:_NAMED])
        more = len(locations) - _NAMED
        what = f"{shown} and {more} more files" if more > 0 else shown
        super().__init__(
            f"{files.name} has external data in {what}, not among the files that it may read: "
            f"declare them, data = [{shown}{', …' if more > 0 else ''}], or on the command line --data FILE"
            f"{files.remark(locations[0])}"
        )

    def of_all(self, locations: Iterable[str]) -> Undeclared:
        """The same of all that a model refers to."""
        return Undeclared(self._files, self._files.undeclared(locations))


class ModelFiles:
    """The model file and its external data.

    Args:
        path: the model file; None for a model that came as bytes, which has no folder.
        data: files of external data.
        is_hermetic: whether no others may be opened; else those in the model's folder may.
    """

    def __init__(self, path: str | None = None, data: Iterable[DataFile] = (), *, is_hermetic: bool = False):
        self._path, self._is_hermetic = path, is_hermetic
        self._folder = os.path.dirname(os.path.abspath(path)) if path is not None else None
        self._placed: dict[str, str] = {}  # path of a file by its location
        self._elsewhere: dict[str, list[str]] = {}  # paths of the others by their last component
        for file in data:
            self._add(file)
        self._open: dict[str, files.Part] = {}

    def _add(self, file: DataFile) -> None:
        location = file.location
        if location is None and self._folder is not None:
            below, here = os.path.abspath(file.path), os.path.join(self._folder, "")
            location = below.removeprefix(here) if below.startswith(here) else ""
        if location:
            self._placed[os.path.normpath(location)] = file.path
        else:
            self._elsewhere.setdefault(os.path.basename(file.path), []).append(file.path)

    @property
    def data(self) -> list[str]:
        """The files that were named."""
        return [*self._placed.values(), *(p for paths in self._elsewhere.values() for p in paths)]

    def model(self) -> bytes:
        """The bytes of the model file.

        Raises:
            IoError: it is missing, a folder, or not readable.
        """
        assert self._path is not None, "the model came as bytes"
        try:
            with open(self._path, "rb") as f:
                return self._read_model(f)
        except OSError as e:
            raise IoError(f"cannot read the model {self._path}: {e.strerror or e}") from None

    def _read_model(self, f: BinaryIO) -> bytes:
        """All of a file or pipe, which a stranger may have made endless."""
        status = os.fstat(f.fileno())
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            raise IoError(f"cannot read the model {self._path}: it is neither a regular file nor a pipe")
        if status.st_size > MAX_MODEL:
            raise IoError(
                f"cannot read the model {self._path}: it has {status.st_size:,} bytes, and a model file may have up to {MAX_MODEL:,}"
            )
        if stat.S_ISREG(status.st_mode):
            return f.read()
        pieces, left = [], MAX_MODEL + 1
        while left and (piece := f.read(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise IoError(
                f"cannot read the model {self._path}: the pipe gives more than {MAX_MODEL:,} bytes, which a model file may have"
            )
        return b"".join(pieces)

    def size(self, location: str, who: str) -> int:
        """The bytes of a file of external data.

        Args:
            location: what the model calls it.
            who: what has its data there, the subject of an error.

        Raises:
            InvalidModel: the location leads out of the model's folder, or stands for several files.
            IoError: there is no such file, it may not be opened, or cannot be.
        """
        return len(self._external(location, who))

    def read(self, location: str, who: str, offset: int, size: int) -> memoryview:
        """Some of its bytes, read-only; raises as ``size``."""
        part = self._external(location, who)
        try:
            return files.in_memory(part[offset : offset + size])
        except OSError as e:
            self._fail(e, location, who)

    def _external(self, location: str, who: str) -> files.Part:
        if location not in self._open:
            path = self._find(location, who)
            if len(self._open) >= _OPEN:
                self._open.clear()
            try:
                self._open[location] = files.open_file(path)
            except OSError as e:
                self._fail(e, location, who)
        return self._open[location]

    def _find(self, location: str, who: str) -> str:
        if self._folder is None and not self._placed and not self._elsewhere:
            raise InvalidModel(f'{who} has external data ("{location}"), which need a model in a folder')
        if not _is_inside(location):
            raise InvalidModel(
                f'{who} has external data at "{location}": they must lie in the model\'s own folder'
            )
        declared = self._declared(location, who)
        if declared is not None:
            return declared
        if self._is_hermetic or self._folder is None:
            raise Undeclared(self, [location])
        return self._beside(location, who)

    def _declared(self, location: str, who: str) -> str | None:
        """The named file that a location stands for."""
        normal = os.path.normpath(location)
        if normal in self._placed:
            return self._placed[normal]
        ends = f"{os.sep}{normal}"
        named = self._elsewhere.get(os.path.basename(normal), ())
        found = [p for p in named if os.path.abspath(p).endswith(ends)]
        if len(found) > 1:
            raise InvalidModel(
                f'{who} has external data at "{location}", which may be any of {", ".join(sorted(found))}: name one of them only'
            )
        return found[0] if found else None

    def _beside(self, location: str, who: str) -> str:
        """The path in the model's folder; of links, as a folder may be full of, one may lead to where the model itself lies."""
        real = os.path.realpath(os.path.join(self._folder, location))
        roots = (os.path.realpath(self._folder), os.path.dirname(os.path.realpath(self._path)))
        if not any(os.path.commonpath([root, real]) == root for root in roots):
            raise InvalidModel(
                f'{who} has external data at "{location}", a link that leads out of the model\'s folder'
            )
        return real

    def _fail(self, e: OSError, location: str, who: str) -> NoReturn:
        if e.errno in (errno.ENOENT, errno.ENOTDIR):
            raise IoError(
                f'{self.name}: {who} has its data in the file "{location}", which is missing: '
                f"put it where the exporter wrote it, beside the model, or name it by --data FILE"
            ) from None
        raise IoError(
            f'{self.name}: cannot read the external data "{location}" of {who}: {e.strerror or e}'
        ) from None

    def undeclared(self, locations: Iterable[str]) -> list[str]:
        """Those of the locations that stand for no file that was named, each once."""
        return [w for w in dict.fromkeys(locations) if _is_inside(w) and not self._declared(w, "the model")]

    @property
    def name(self) -> str:
        """What a sentence calls the model."""
        return self._path if self._path is not None else "the model"

    def remark(self, location: str) -> str:
        """A clause on a named file that a location nearly stands for; empty where there is none."""
        name = os.path.basename(location)
        for path in self.data:
            if os.path.isdir(path):
                return f"; {path} is declared, but a folder: declare the files in it, by glob()"
            if os.path.basename(path) == name:
                return f"; {path} is declared, but lies in another folder"
            if _folded(os.path.basename(path)) == _folded(name):
                return f"; {path} is declared, but spelt otherwise (upper and lower case, or Unicode form)"
        return ""


def _is_inside(location: str) -> bool:
    """Whether a location is a path that leads down from the model's folder."""
    parts = location.replace("\\", "/").split("/")
    return not (
        not location or "\0" in location or os.path.isabs(location) or ".." in parts or ":" in parts[0]
    )


def _folded(name: str) -> str:
    import unicodedata

    return unicodedata.normalize("NFKC", name).casefold()
