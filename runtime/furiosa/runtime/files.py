"""Files: written so that nobody ever sees half of one, read by mapping."""

from __future__ import annotations

import mmap
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write; at the end it takes the place of ``path``, after an error it is removed.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    path = os.fspath(path)
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        f = open(temporary, "xb")  # noqa: SIM115  # closed below
    except OSError as e:
        e.filename = path
        raise
    try:
        with f:
            yield f
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def map_file(path: str) -> memoryview:
    """The bytes of a file, mapped read-only; an empty file gives an empty view.

    Raises:
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as f:
        if os.fstat(f.fileno()).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ))
