"""Host clusters in a process of their own.

The reference runtimes are native code that reads a model which may come from a stranger: what such a model does to its
runtime, a crash say, ends that process and not the caller's.  Parent and child speak over a socket: a frame is a header in
JSON and the bytes that it announces, and the parent takes nothing but what it expects.  The child ends with its parent.
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
from typing import Any, BinaryIO, NamedTuple, Protocol, Self

import numpy as np

from furiosa.enf import interpreter, leaving
from furiosa.enf.command import internal
from furiosa.enf.enf_pb2 import HostCall
from furiosa.runtime import errors
from furiosa.runtime.children import Copy
from furiosa.runtime.errors import FuriosaRuntimeError, HostProcessEnded, ModelDeployFailed
from furiosa.runtime.host import Executor, Host, expected, load_executor

MAX_HEADER = 1 << 20  # bytes
MAX_SENTENCE = 1000  # characters of what a child says, or a runtime writes to stderr
DYING = 2.0  # seconds that a process has to end after it has closed its socket
NO_MEMORY = "not enough memory"
MAX_NOISE = 1 << 16  # bytes of what a runtime writes to stderr that are kept

# the errors of a child that its parent raises
_ERRORS = (
    "HostOutputMismatch",
    "HostRuntimeMissing",
    "ModelDeployFailed",
    "ModelExecutionFailed",
    "UnsupportedTensorType",
)
_LENGTH = struct.Struct("<I")

# what a new interpreter runs
_CODE = "from furiosa.runtime.host.process import main; main(*map(int, sys.argv[1:]))"


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


class HostProcess:
    """A process for the host clusters of one program, started for the first of them, and again after it has ended.

    Not for several threads at once.  It is closed when nobody refers to it any more.
    """

    def __init__(self, start: Callable[[Ends], Child] | None = None, memory: int | None = None):
        """A process that is not started yet.

        Args:
            start: begins a process that calls ``run``; None for ``spawn``, a new interpreter.
            memory: bytes of private memory that it may have; None for any number.
        """
        self._start, self._memory = start or spawn, memory
        self._running: _Running | None = None

    def begin(self) -> None:
        """Starts the process where it does not run.

        Raises:
            ModelDeployFailed: no process can be started.
        """
        if self._running is None:
            self._running = _Running(self._start)

    def load(self, index: int, host: Host, deadline: float | None = None) -> None:
        """Loads the model of a host call, the ``index``-th step of its plan, where that is not done.

        Raises:
            ModelDeployFailed: as ``open_executor``, or no process can be started.
            HostProcessEnded: the process ended.
            TimeoutError: it was not done by ``deadline``, a time of ``time.monotonic``, and the process is ended.
        """
        self.begin()
        if self._memory is not None and not self._running.is_limited:
            self._ask(host, {"memory": self._memory}, [], [], deadline)
            self._running.is_limited = True
        if index not in self._running.loaded:
            blobs = [host.call.SerializeToString(), host.model]
            self._ask(host, {"load": index, "where": host.where}, blobs, [], deadline)
            self._running.loaded.add(index)

    def run(self, index: int, host: Host, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of a host call; raises as ``load`` and ``Executor.run``."""
        self.load(index, host)
        results = [np.empty(shape, dtype) for _, shape, dtype in expected(host.call.outputs)]
        self._ask(host, {"run": index}, [_bytes(a) for a in inputs], [_bytes(a) for a in results], None)
        return results

    def attempt(self, index: int, host: Host, fill: int, deadline: float | None = None) -> None:
        """Runs a host call with inputs of one value and forgets the outputs; raises as ``load`` and ``Executor.run``."""
        self.load(index, host, deadline)
        self._ask(host, {"attempt": index, "fill": fill}, [], [], deadline)

    def close(self) -> None:
        """Ends the process, if it runs; may be called again."""
        running, self._running = self._running, None
        if running is not None:
            running.end()

    def _ask(
        self, host: Host, header: dict[str, Any], blobs: list[Any], results: list[Any], deadline: float | None
    ) -> None:
        """One request and its answer, whose bytes go to ``results``."""
        try:
            error = self._running.ask(header, blobs, results, deadline)
        except TimeoutError:
            self.close()
            raise
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
        ):  # it has gone, or says what none of ours does
            running, self._running = self._running, None
            how, number = running.obituary()
            raise HostProcessEnded(f"{host.where}: its process {how}", number) from None
        except BaseException:  # Ctrl-C, say: nobody waits for the answer any more
            self.close()
            raise
        if error is not None:
            kind, sentence = error
            raise getattr(errors, kind)(sentence)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class RemoteExecutor:
    """One host cluster in a process, as an ``Executor``; a run that ends the process leaves a new one to the next."""

    def __init__(self, process: HostProcess, index: int, host: Host):
        """Loads it; raises as ``HostProcess.load``."""
        self._process, self._index, self._host = process, index, host
        process.load(index, host)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._process.run(self._index, self._host, inputs)


class _Running:
    """A process that runs, and the steps whose models it has loaded."""

    def __init__(self, start: Callable[[Ends], Child]):
        self.loaded: set[int] = set()
        self.is_limited = False
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
        self, header: dict[str, Any], blobs: list[Any], results: list[Any], deadline: float | None
    ) -> tuple[str, str] | None:
        """None, or the class and the sentence of an error of the child.

        Raises:
            TimeoutError: the deadline has come.
            OSError, EOFError: the process has ended.
            ValueError, KeyError, TypeError: its answer is none.
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
        if answer["sizes"] != [len(r) for r in results]:
            raise ValueError("other sizes than those of the call")
        for result in results:
            _receive_into(self._socket, result)
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


def spawn(ends: Ends) -> Child:
    """A new interpreter, which has nothing of this process but where its modules are.

    Raises:
        ModelDeployFailed: there is no interpreter to start.
    """
    descriptors = ends.socket.fileno(), ends.life
    try:
        return subprocess.Popen(
            interpreter.command(_CODE, *descriptors),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=ends.noise,
            pass_fds=descriptors,
        )
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise ModelDeployFailed(
            f"host clusters cannot run in a process of their own: '{sys.executable}' cannot be started: {reason}"
        ) from None


def main(socket_: int, life: int) -> None:
    """The process that ``spawn`` starts."""
    run(socket.socket(fileno=socket_), life)


def run(connection: socket.socket, life: int) -> None:
    """What every child does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    leaving.end_with_parent(life)
    serve(connection)


def fork(ends: Ends) -> Child:
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
        run(ends.socket, ends.life)
        status = 0
    finally:
        os._exit(status)


def _keep_only(ends: Ends) -> None:
    """Closes what is not the child's: the other end of the pipe would keep it alive."""
    kept = sorted({0, 1, 2, ends.socket.fileno(), ends.life})
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)


# -- the child --------------------------------------------------------------------------------------------------------------


def serve(connection: socket.socket) -> None:
    """Answers requests until the other end closes."""
    loaded: dict[int, tuple[HostCall, Executor]] = {}
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
                answer = _answer(loaded, header, blobs)
            except FuriosaRuntimeError as e:
                kind = type(e).__name__
                _send(connection, {"error": [kind, e.message[:MAX_SENTENCE]]}, [])
            except MemoryError:
                _send(connection, {"error": ["ModelExecutionFailed", NO_MEMORY]}, [])
            except Exception as e:  # noqa: BLE001  the parent tells it
                kind = "ModelDeployFailed" if "load" in header else "ModelExecutionFailed"
                _send(connection, {"error": [kind, internal(e)[:MAX_SENTENCE]]}, [])
            else:
                _send(connection, {}, answer)
    except (EOFError, ConnectionError):  # the parent needs it no more
        return


def _answer(
    loaded: dict[int, tuple[HostCall, Executor]], header: dict[str, Any], blobs: list[bytearray]
) -> list[Any]:
    if "memory" in header:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = header["memory"] if hard == resource.RLIM_INFINITY else min(header["memory"], hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
        return []
    if "load" in header:
        call, model = HostCall.FromString(bytes(blobs[0])), bytes(blobs[1])
        loaded[header["load"]] = call, load_executor(Host(model, call, header["where"]))
        return []
    call, executor = loaded[header["run"] if "run" in header else header["attempt"]]
    shapes = expected(call.inputs)
    if "run" in header:
        arrays = [np.frombuffer(b, d).reshape(s) for (_, s, d), b in zip(shapes, blobs, strict=True)]
        return [_bytes(a) for a in executor.run(arrays)]
    executor.run([np.full(shape, header["fill"], dtype) for _, shape, dtype in shapes])
    return []


# -- frames -----------------------------------------------------------------------------------------------------------------


def _bytes(array: np.ndarray) -> memoryview:
    """The bytes of an array, copied only where they do not lie in a row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _send(connection: socket.socket, header: dict[str, Any], blobs: list[Any]) -> None:
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
