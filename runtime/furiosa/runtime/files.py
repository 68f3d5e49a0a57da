"""Files, written so that nobody ever sees half of one."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from furiosa.enf.files import Content, chunks


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


def copy(content: Content, out: BinaryIO) -> str:
    """Writes the bytes of a file to another and returns their SHA-256 as hexadecimal digits.

    Raises:
        OSError: one of them cannot be read or written.
        FileChanged: the first became shorter meanwhile.
    """
    digest = hashlib.sha256()
    for chunk in chunks(content):
        digest.update(chunk)
        out.write(chunk)
    return digest.hexdigest()
