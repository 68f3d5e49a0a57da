"""Keeps one known line of a C++ library off stderr."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

_lock = threading.Lock()


@contextlib.contextmanager
def without_lines(prefix: bytes) -> Iterator[None]:
    """Drops the lines that begin with ``prefix`` from what is written to file descriptor 2 meanwhile.

    LiteRT writes there directly and offers no way to say less.  Whatever else is written meanwhile, by any thread,
    comes out afterwards; it is held in a file without a name, which cannot block its writer as a pipe could.  Where
    there is no stderr or no room for the file, nothing is dropped.
    """
    with _lock, contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:
            yield
            return
        stack.callback(os.close, stderr)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            lines = os.pread(held.fileno(), os.fstat(held.fileno()).st_size, 0).splitlines(keepends=True)
            with contextlib.suppress(OSError):  # nobody reads stderr
                _write(stderr, b"".join(line for line in lines if not line.startswith(prefix)))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
