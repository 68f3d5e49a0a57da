"""What is done with files here."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from furiosa.enf.files import Content, chunks


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
