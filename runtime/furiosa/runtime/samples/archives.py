"""Arrays by their names: a .npz file, or .npy files that belong together."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from furiosa.enf.files import FileChanged, open_file
from furiosa.runtime.errors import InvalidInput
from furiosa.runtime.samples.stored import BeforeStart, PartFile, Stored


class Archive(NamedTuple):
    """``open`` gives the array of a name, which is one of ``names``; ``where`` says how to call a name in a sentence."""

    names: list[str]
    open: Callable[[str], Stored]
    where: Callable[[str], str]


@contextmanager
def npz(path: str) -> Iterator[Archive]:
    """The arrays of a .npz file; nothing is unpacked to disk, and entries are read as far as they are asked for.

    Raises (inside, too):
        InvalidInput: a damaged file, or one that changes meanwhile.
        OSError: it cannot be opened.
    """
    content = open_file(path)

    def where(name: str) -> str:
        return f"{path}: '{name}'"

    try:
        with zipfile.ZipFile(io.BufferedReader(PartFile(content))) as archive:
            entries = {e.filename.removesuffix(".npy"): e for e in archive.infolist()}

            def stored(name: str) -> Stored:
                entry = entries[name]
                return Stored(archive.open(entry), entry.file_size, where(name))

            yield Archive(list(entries), stored, where)
        content.check()
    except FileChanged as e:
        raise InvalidInput(f"{path}: {e.strerror}") from None
    # what zipfile raises for damage, for compression that it lacks and for encryption
    except (BeforeStart, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        if isinstance(e, RecursionError):
            raise
        raise InvalidInput(f"{path} is not a whole .npz file: {e}") from e


@contextmanager
def npys(paths: Mapping[str, str]) -> Iterator[Archive]:
    """.npy files, each the array of a name; raises as ``npz``."""
    contents = {}

    def stored(name: str) -> Stored:
        contents[name] = content = open_file(paths[name])
        return Stored(io.BufferedReader(PartFile(content)), len(content), paths[name])

    try:
        yield Archive(list(paths), stored, paths.__getitem__)
        for content in contents.values():
            content.check()
    except FileChanged as e:
        raise InvalidInput(f"{e.filename}: {e.strerror}") from None
