"""What a command says of an output file that cannot be written."""

from __future__ import annotations

from collections.abc import Iterable

from furiosa.compiler.errors import IoError
from furiosa.enf import outputs


def check_writable(paths: Iterable[str]) -> None:
    """Finds out before anything is compiled that an output cannot be written.

    Raises:
        IoError: one cannot.
    """
    for path in paths:
        try:
            outputs.check(path)
        except OSError as e:
            raise unwritable(e) from None


def unwritable(e: OSError) -> IoError:
    """An error of ``outputs`` as a sentence for the user."""
    return IoError(f"cannot write {e.filename or 'an output'}: {e.strerror or e}")
