"""Processes that answer requests: what reference runtimes run in, whose native code reads models that may come from a stranger.

What such a model does to its runtime, a crash say, ends that process and not the caller's.  Parent and child speak over a socket: a frame is a
header in JSON and the bytes that it announces, and the parent takes nothing but what it expects.  The child ends with its parent.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from furiosa.enf import interpreter, leaving
from furiosa.enf.command import internal
from furiosa.runtime.children import Copy
from furiosa.runtime.errors import FuriosaRuntimeError, NoHostProcess

MAX_HEADER = 16 << 20  # bytes
MAX_SENTENCE = 1000  # characters of what a child says, or a runtime writes to stderr
DYING = 2.0  # seconds that a process has to end after it has closed its socket
NO_MEMORY = "not enough memory"
MAX_NOISE = 1 << 16  # bytes of what a runtime writes to stderr that are kept

# what is raised where a process has gone, or says what none of ours does
GONE = (OSError, EOFError, ValueError, KeyError, TypeError)

# the errors of a child that its parent raises
_ERRORS = (
    "HostOutputMismatch",
    "HostRuntimeMissing",
    "ModelDeployFailed",
    "ModelExecutionFailed",
    "UnsupportedTensorType",
)
_LENGTH = struct.Struct("<I")

# What a child does with the header and the bytes of a request: returns those of its answer.
Service = Callable[[dict[str, Any], list[bytearray]], tuple[dict[str, Any], list[Any]]]


class Child(Protocol):
    """A process, as subprocess.Popen has it."""

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""

    def kill(self) -> None: ...

    def wait(self) -> int: ...


class Ends(NamedTuple):
    """What a child gets: its end of the socket, that of a pipe which closes with its parent, and a file as its stderr."""

    socket: socket.socket
    life: int
    noise: BinaryIO


class Running:
    """A process that runs, for the process and the thread that have started it."""

    def __init__(self, start: Callable[[Ends], Child]):
        self._parent = os.getpid()
        with ExitStack() as undo:
            self._noise = undo.enter_context(tempfile.TemporaryFile())
            self._socket, theirs = map(undo.enter_context, socket.socketpair())
            reading, self._life = os.pipe()
            undo.callback(os.close, self._life)
            with theirs, os.fdopen(reading, "rb"):
                self._child = start(Ends(theirs, reading, self._noise))
            self._undo = undo.pop_all()

    def ask(
        self,
        header: dict[str, Any],
        blobs: Sequence[Any],
        room: Callable[[dict[str, Any]], Sequence[Any]],
        deadline: float | None = None,
    ) -> tuple[str, str] | None:
        """One request and its answer, whose bytes go to the buffers that ``room`` has for an answer with that header.

        Returns:
            None, or the class and the sentence of an error of the child.

        Raises:
            TimeoutError: the deadline, a time of ``time.monotonic``, has come.
            any of GONE: the process has ended, or its answer is none.
        """
        if os.getpid() != self._parent:
            raise ValueError("the process belongs to the parent of this one")
        self._socket.settimeout(None if deadline is None else max(1e-3, deadline - time.monotonic()))
        _send(self._socket, header, blobs)
        answer = _receive_header(self._socket)
        if "error" in answer:
            kind, sentence = answer["error"]
            if kind not in _ERRORS or not isinstance(sentence, str):
                raise ValueError(kind)
            return kind, sentence[:MAX_SENTENCE]
        buffers = room(answer)
        if answer["sizes"] != [len(b) for b in buffers]:
            raise ValueError("other sizes than those that are expected")
        for buffer in buffers:
            _receive_into(self._socket, buffer)
        return None

    def end(self) -> None:
        """Ends the process; where it is that of a parent, lets it go."""
        with self._undo:
            if os.getpid() == self._parent:
                self._child.kill()
                self._child.wait()

    def obituary(self) -> tuple[str, int | None]:
        """How a process that answers no more has ended, and the signal that ended it; it is ended where it has not."""
        until = time.monotonic() + DYING
        while os.getpid() == self._parent and self._child.poll() is None and time.monotonic() < until:
            time.sleep(1e-3)
        status = self._child.poll() if os.getpid() == self._parent else None
        noise = _last_line(self._noise)
        self.end()
        if status is None:
            return "answers no more", None
        if status >= 0:
            return f"has ended with status {status}{noise}", None
        name = signal.Signals(-status).name
        return (
            f"was ended by {name}{noise}{', for lack of memory perhaps' if name == 'SIGKILL' else ''}",
            -status,
        )


def _last_line(noise: BinaryIO) -> str:
    """What a runtime wrote last, a failed assertion say."""
    size = os.fstat(noise.fileno()).st_size
    lines = os.pread(noise.fileno(), MAX_SENTENCE, max(0, size - MAX_SENTENCE)).splitlines()
    text = lines[-1].decode("utf-8", "backslashreplace").strip() if lines else ""
    return f" ({text})" if text else ""


# -- starting a process -------------------------------------------------------------------------------------------------------


def spawn(ends: Ends, code: str, what: str) -> Child:
    """A new interpreter, which has nothing of this process but where its modules are.

    Args:
        ends: what it gets.
        code: what it runs; it calls ``main`` with its two arguments.
        what: what to call the work that it is for.

    Raises:
        NoHostProcess: there is no interpreter to start.
    """
    descriptors = ends.socket.fileno(), ends.life
    try:
        return subprocess.Popen(
            interpreter.command(code, *descriptors),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=ends.noise,
            pass_fds=descriptors,
        )
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise NoHostProcess(
            f"{what} cannot run in a process of their own: '{sys.executable}' cannot be started: {reason}"
        ) from None


def main(service: Service, socket_: int, life: int) -> None:
    """The process that ``spawn`` starts."""
    run(service, socket.socket(fileno=socket_), life)


def run(service: Service, connection: socket.socket, life: int) -> None:
    """What every child does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    leaving.end_with_parent(life)
    serve(service, connection)


def fork(ends: Ends, service: Service) -> Child:
    """A copy of this process, which need not load again what is loaded; for a process of one thread."""
    pid = os.fork()
    if pid:
        return Copy(pid)
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for old, new in ((nothing, 0), (nothing, 1), (ends.noise.fileno(), 2)):
            os.dup2(old, new)
        _keep_only(ends)
        run(service, ends.socket, ends.life)
        status = 0
    finally:
        os._exit(status)


def _keep_only(ends: Ends) -> None:
    """Closes what is not the child's: the other end of the pipe would keep it alive."""
    kept = sorted({0, 1, 2, ends.socket.fileno(), ends.life})
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)


# -- the child --------------------------------------------------------------------------------------------------------------


def serve(service: Service, connection: socket.socket) -> None:
    """Answers requests until the other end closes."""
    try:
        while True:
            header = _receive_header(connection)
            blobs = [bytearray(size) for size in header["sizes"]]
            for blob in blobs:
                _receive_into(connection, blob)
            if os.fstat(2).st_size > MAX_NOISE:
                os.ftruncate(2, 0)
                os.lseek(2, 0, os.SEEK_SET)
            try:
                answer = service(header, blobs)
            except FuriosaRuntimeError as e:
                answer = {"error": [type(e).__name__, e.message[:MAX_SENTENCE]]}, []
            except MemoryError:
                answer = {"error": ["ModelExecutionFailed", NO_MEMORY]}, []
            except Exception as e:  # noqa: BLE001  the parent tells it
                kind = "ModelDeployFailed" if "load" in header else "ModelExecutionFailed"
                answer = {"error": [kind, internal(e)[:MAX_SENTENCE]]}, []
            _send(connection, *answer)
    except (EOFError, ConnectionError):  # the parent needs it no more
        return


# -- frames -----------------------------------------------------------------------------------------------------------------


def raw(array: np.ndarray) -> memoryview:
    """The bytes of an array, copied only where they do not lie in a row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _send(connection: socket.socket, header: dict[str, Any], blobs: Sequence[Any]) -> None:
    text = json.dumps({**header, "sizes": [len(b) for b in blobs]}).encode("ascii")
    for part in (_LENGTH.pack(len(text)) + text, *blobs):
        connection.sendall(part, socket.MSG_NOSIGNAL)


def _receive_header(connection: socket.socket) -> dict[str, Any]:
    length = bytearray(_LENGTH.size)
    _receive_into(connection, length)
    (size,) = _LENGTH.unpack(length)
    if size > MAX_HEADER:
        raise ValueError(f"a header of {size} bytes")
    text = bytearray(size)
    _receive_into(connection, text)
    header = json.loads(text)
    if not isinstance(header, dict):
        raise TypeError("a header that is no object")
    return header


def _receive_into(connection: socket.socket, buffer: bytearray | memoryview) -> None:
    """Fills a buffer.

    Raises:
        EOFError: the other end has closed.
    """
    view = memoryview(buffer)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
