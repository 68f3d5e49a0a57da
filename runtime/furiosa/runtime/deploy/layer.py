"""Writes a bundle as an archive that is unpacked at the root of a file system: a layer of a container image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from furiosa.enf.files import Content, open_file
from furiosa.enf.outputs import replacing
from furiosa.runtime.bundle import tar
from furiosa.runtime.bundle.reader import Bundle
from furiosa.runtime.deploy import portable
from furiosa.runtime.errors import BundleError
from furiosa.runtime.files import copy

_PREFIX = re.compile(r"/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", re.ASCII)
_MAX_PREFIX = 100  # bytes; with a model's file behind it, it must fit a tar header


def write(
    output: str | os.PathLike[str],
    bundle: str | os.PathLike[str],
    prefix: str,
    runtime: Iterable[str | os.PathLike[str]] | None = None,
) -> None:
    """Writes the files of a bundle below a folder, as an uncompressed POSIX ustar archive.

    Files have mode 0644 (``run`` 0755), folders 0755, all of them owner 0 and time 0, in the order of their names.
    The bytes depend on nothing but the bundle, the prefix and the runtime's files.  Folders above the prefix are
    no entries, so those of an image keep their mode and owner.

    Args:
        output: the archive to write.
        bundle: a bundle's archive; it is verified first.
        prefix: the folder, like ``/opt/models``; a slash in front says nothing.
        runtime: None, or the files of the runtime and its wheels, for ``portable.files``.

    Raises:
        BundleError: a bundle that is not sound, a prefix that is no plain path, or a runtime that cannot be packed.
        OSError: a file cannot be read or written.
    """
    if len(prefix) > _MAX_PREFIX or not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
        raise BundleError(
            f"prefix {prefix!r}: a path like '/opt/models' is expected, of letters, digits, '-', '_' and '.'"
        )
    source = Bundle.open(bundle)
    source.verify()
    found: dict[str, Path | bytes] = portable.files(runtime) if runtime is not None else {}
    with replacing(output) as f:
        made: set[str] = set()
        for name in sorted({*source.files, *found}):
            for folder in _folders(prefix.strip("/"), name):
                if folder not in made:
                    made.add(folder)
                    f.write(_header(folder, 0, is_folder=True))
            is_of_bundle = name in source.files
            contents = source.files[name] if is_of_bundle else _content(found[name])
            executable = name == portable.PROGRAM
            f.write(_header(f"{prefix.strip('/')}/{name}", len(contents), executable=executable))
            if is_of_bundle:
                source.copy(name, f)
            else:
                copy(contents, f)
            f.write(tar.padding(len(contents)))
        f.write(tar.end(f.tell()))


def _content(found: Path | bytes) -> Content:
    return open_file(found) if isinstance(found, Path) else memoryview(found)


def _folders(prefix: str, name: str) -> list[str]:
    """The prefix and the folders between it and a file, from above."""
    parts = name.split("/")[:-1]
    return ["/".join([prefix, *parts[:n]]) for n in range(len(parts) + 1)]


def _header(name: str, size: int, is_folder: bool = False, executable: bool = False) -> bytes:
    try:
        return tar.header(name, size, is_folder, executable)
    except ValueError as e:
        raise BundleError(str(e)) from None
