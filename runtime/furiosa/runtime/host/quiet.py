"""Keeps one known line of a C++ library off stderr."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable
from typing import TypeVar

from furiosa.enf import threads

T = TypeVar("T")

_lock = threading.Lock()
_stderr: int | None = None  # where descriptor 2 leads to in truth, while it leads elsewhere


def without_lines(prefix: bytes, function: Callable[[], T]) -> T:
    """What a function returns; drops the lines that begin with ``prefix`` from what is written to descriptor 2 meanwhile.

    LiteRT writes there directly and offers no way to say less.  Whatever else is written meanwhile, by any thread,
    comes out afterwards; it is held in a file without a name, which cannot block its writer as a pipe could.  Where
    there is no stderr or no room for the file, nothing is dropped.  No signal handler comes between: stderr is given back.
    """
    return threads.call(lambda: _without_lines(prefix, function))


def _without_lines(prefix: bytes, function: Callable[[], T]) -> T:
    global _stderr
    with _lock, contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:
            return function()
        stack.callback(os.close, stderr)
        _stderr = stderr
        os.dup2(held.fileno(), 2)
        try:
            return function()
        finally:
            os.dup2(stderr, 2)
            _stderr = None
            lines = os.pread(held.fileno(), os.fstat(held.fileno()).st_size, 0).splitlines(keepends=True)
            with contextlib.suppress(OSError):  # nobody reads stderr
                _write(stderr, b"".join(line for line in lines if not line.startswith(prefix)))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _forked() -> None:
    """In the child of a fork, where the thread that would give stderr back does not go on."""
    global _lock, _stderr
    _lock = threading.Lock()
    if _stderr is not None:
        os.dup2(_stderr, 2)
        _stderr = None


os.register_at_fork(after_in_child=_forked)
