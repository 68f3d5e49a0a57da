"""The worker: everything is imported once, then each request runs in a child that is forked from there.

A child starts in the same state as every other, so what it writes does not depend on what ran before, and its memory goes
when it ends: nothing accumulates.  Requests of a multiplex worker run side by side, each in its own folder.  Whatever
happens to a child, a defect of a native library or too little memory, its request is answered.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import re
import selectors
import signal
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, Self

from furiosa.compiler.worker import memory
from furiosa.compiler.worker.memory import MIB, Limits
from furiosa.compiler.worker.protocol import Either, ProtocolError, Request, Response
from furiosa.enf import command as commands
from furiosa.enf import host_trial, leaving, outputs
from furiosa.enf.command import BAD_ARGUMENTS, INTERRUPTED
from furiosa.enf.errors import printable

CHUNK = 1 << 20  # bytes read at a time
MAX_OUTPUT = 1 << 20  # bytes of what one command writes that are handed on
PATIENCE = 5.0  # seconds that a cancelled command has to remove its temporary files
SIGNALLED = (
    128  # plus the signal's number: the exit status of a command that a signal ended, as shells have it
)
ENDING = (signal.SIGINT, signal.SIGTERM)  # what Bazel, or who sits before it, ends a worker with
NO_MEMORY = 13  # exit status, as the compiler's own of a compilation that ran out of it

# what a child would import, beside all modules of our own packages but tests and entry points
WARM = ("furiosa.enf", "furiosa.compiler")
LIBRARIES = ("numpy", "onnx.external_data_helper", "onnx.shape_inference", "flatbuffers")
# resizing is what another process runs, with LiteRT
_APART = re.compile(r"[._](test|testing|conftest|bazel_run|docgen|resizing)\b")

Command = Callable[[list[str]], int]


class _Child(NamedTuple):
    """A running request; ``output`` collects what it writes, ``files`` is where it tells of files that it makes."""

    request: Request
    pid: int
    output: bytearray
    files: int


def serve(command: Command, limits: Limits, source: int = 0, sink: int = 1) -> int:
    """Answers requests from one file descriptor on another until the first ends; returns the exit status.

    ``command`` runs one command line and returns its exit status.
    """
    with _Server(command, limits, source, sink) as server:
        try:
            server.run()
        except ProtocolError as e:
            sys.stderr.write(f"ERROR: worker: {e}; only Bazel starts a worker\n")
            return BAD_ARGUMENTS
        except (BrokenPipeError, KeyboardInterrupt):  # the build has gone
            return INTERRUPTED
    return 0


def main(command: Command, flags: list[str]) -> int:
    """The process that Bazel starts as ``furiosa --persistent_worker FLAG…``; the flags are those of `memory.limits`."""
    try:
        limits = memory.limits(flags)
    except memory.BadFlag as e:
        sys.stderr.write(f"ERROR: worker: {e}\n")
        return BAD_ARGUMENTS
    leaving.no_more()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how Bazel ends a worker
    warm_up()
    return serve(command, limits)


def warm_up() -> None:
    """Imports what compiling needs, so that no child has to."""
    # one thread: a child has only the one that forked it, and compiling is no matrix work
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for library in LIBRARIES:
        importlib.import_module(library)
    for package in WARM:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not _APART.search(module.name):
                importlib.import_module(module.name)
    host_trial.warm_up()
    gc.collect()
    gc.freeze()  # or the first collection of every child would touch, and so copy, all of it


class _Server:
    def __init__(self, command: Command, limits: Limits, source: int, sink: int):
        self._encoding = Either()
        self._command, self._limits, self._source, self._sink = command, limits, source, sink
        self._events = selectors.DefaultSelector()
        self._children: dict[int, _Child] = {}  # by the file descriptor of their output
        self._impatient: dict[int, float] = {}  # pid of a cancelled child -> when it is killed

    def __enter__(self) -> Self:
        self._events.register(self._source, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # a second one finds all of this done
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            _remove_made(child.files)
        self._events.close()

    def run(self) -> None:
        """Serves until no more requests can come and all are answered."""
        open_ = True
        while open_ or self._children:
            for key, _ in self._events.select(self._next_deadline()):
                if key.fd != self._source:
                    self._heard(key.fd)
                    continue
                received = os.read(self._source, CHUNK)
                if not received:  # the build is over: nobody waits for what still runs
                    self._events.unregister(self._source)
                    open_ = False
                    for child in self._children.values():
                        self._cancel(child)
                for request in self._encoding.requests(received):
                    self._accept(request)
            self._kill_overdue()
            is_idle = open_ and not self._children and not self._encoding.is_waiting
            if is_idle and memory.resident() > self._limits.worker:
                memory.restart()  # what Bazel sends meanwhile stays in the pipe: it sees no worker end

    def _accept(self, request: Request) -> None:
        if request.cancel:
            for child in self._children.values():
                if child.request.id == request.id:
                    self._cancel(child)
            return
        # no signal between a child's start and its registration, nor before it is ready for one
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            self._start(request)
        except OSError as e:  # too many files or processes, or no memory for one more
            words = f"ERROR: worker: no process: {e.strerror}\n"
            self._answer(Response(request.id, BAD_ARGUMENTS, words))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _start(self, request: Request) -> None:
        opened: list[int] = []
        try:
            opened += os.pipe()
            opened += os.pipe()
            read, write, files, making = opened
            os.set_blocking(files, False)
            os.set_blocking(making, False)  # a child that makes very many files goes on without being heard
            pid = os.fork()
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        if pid == 0:
            os._exit(self._in_child(request, write, making))
        os.close(write)
        os.close(making)
        self._children[read] = _Child(request, pid, bytearray(), files)
        self._events.register(read, selectors.EVENT_READ)

    def _in_child(self, request: Request, write: int, making: int) -> int:
        """Runs the request's command in this process, which then ends; returns the exit status."""
        allowed = f"{self._limits.request // MIB:,} MiB"
        too_little = f"ERROR: the compiler needs more than the {allowed} that its worker allows; {memory.HINT} allows more\n"
        try:
            nothing = os.open(os.devnull, os.O_RDONLY)
            for old, new in ((nothing, 0), (write, 1), (write, 2)):
                os.dup2(old, new)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            leaving.on_signals()
            outputs.tell(lambda path: os.write(making, os.fsencode(os.path.abspath(path)) + b"\0"))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            memory.go_first()
            memory.confine(self._limits.request)
            if request.sandbox:
                os.chdir(request.sandbox)
            status = self._command(request.arguments)
            sys.stdout.flush()
            return status & 0xFF
        except KeyboardInterrupt:
            return INTERRUPTED
        except MemoryError:
            os.write(2, too_little.encode("ascii"))
            return NO_MEMORY
        except BaseException as e:  # noqa: BLE001  the build must hear of it
            sentence = f"ERROR: worker: {printable(commands.internal(e))}\n"
            os.write(2, sentence.encode("utf-8", "backslashreplace"))
            return commands.OTHER

    def _heard(self, fd: int) -> None:
        """Takes what a child wrote; answers its request where it has ended."""
        child = self._children[fd]
        written = os.read(fd, CHUNK)
        if written:
            child.output.extend(written[: MAX_OUTPUT - len(child.output)])
            return
        self._events.unregister(fd)
        os.close(fd)
        del self._children[fd]
        _, status, usage = os.wait4(child.pid, 0)
        status = os.waitstatus_to_exitcode(status)
        if status < 0:
            _remove_made(child.files)
        else:
            os.close(child.files)
        output = child.output.decode("utf-8", "replace")
        was_told = self._impatient.pop(child.pid, None) is not None
        # one that had done its work, or failed by itself, before it heard of its end has a result
        cancelled = was_told and (status < 0 or status == INTERRUPTED)
        if cancelled:
            self._answer(Response(child.request.id, 0, "", cancelled=True))
            return
        if status < 0:
            name = signal.Signals(-status).name
            output += f"ERROR: the compiler was ended by {name}: out of memory, or an internal error\n"
        if status:
            output += self._word_on_memory(usage.ru_maxrss * memory.MAXRSS_UNIT)
        status = SIGNALLED - status if status < 0 else status
        self._answer(Response(child.request.id, status, output))

    def _word_on_memory(self, peak: int) -> str:
        """What a request that failed is told where its memory may be the reason: it came near what it may have."""
        if peak < self._limits.request // 2:
            return ""
        had, allowed = (f"{n // MIB:,} MiB" for n in (peak, self._limits.request))
        return f"ERROR: the compiler had {had} of the {allowed} that its worker allows; {memory.HINT} allows more\n"

    def _answer(self, response: Response) -> None:
        data = memoryview(self._encoding.response(response))
        while data:
            data = data[os.write(self._sink, data) :]

    # -- cancellation -------------------------------------------------------------------------------------------------

    def _cancel(self, child: _Child) -> None:
        if child.pid not in self._impatient:
            os.kill(child.pid, signal.SIGINT)
            self._impatient[child.pid] = time.monotonic() + PATIENCE

    def _next_deadline(self) -> float | None:
        if not self._impatient:
            return None
        return max(0.0, min(self._impatient.values()) - time.monotonic())

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for pid, deadline in self._impatient.items():
            if deadline <= now:
                os.kill(pid, signal.SIGKILL)
                self._impatient[pid] = now + PATIENCE


def _remove_made(files: int) -> None:
    """Removes the temporary files that a child which was killed told of, and closes the pipe."""
    told = bytearray()
    try:
        while piece := os.read(files, CHUNK):
            told += piece
    except BlockingIOError:  # a process that the child began, and that lives on, has the other end
        pass
    finally:
        os.close(files)
    for path in told.split(b"\0")[:-1]:
        outputs.abandoned(os.fsdecode(bytes(path)))
