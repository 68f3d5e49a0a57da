"""Compiles a model for many NPUs and batch sizes, several side by side, each in a process of its own."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial

from furiosa.compiler.cli.outcome import INTERNAL_ERROR
from furiosa.compiler.errors import CompileError
from furiosa.compiler.model_files import ModelFiles
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.tune.point import Point, failed, measure
from furiosa.enf import leaving, progress
from furiosa.enf.command import internal, say

CHUNK = 1 << 16  # bytes read at a time


class Interrupted(CompileError):
    """A compilation that this machine, or a defect, keeps from its end: that says nothing about the model."""

    code = 13


def sweep(
    data: bytes,
    options: Options,
    points: Iterable[tuple[str, int]],
    *,
    files: ModelFiles | None = None,
    jobs: int = 1,
    tell: Callable[[Point], None] = lambda point: None,
) -> list[Point]:
    """The points of a model, in the order asked for, however many are compiled at a time.

    A compilation that the compiler refuses is a point too.  Each runs in a child of this process, so none finds less memory
    than the one before.

    Args:
        data: the model file.
        options: whose NPU and batch size are replaced.
        points: pairs of an NPU and a batch size.
        files: as in Compilation.
        jobs: so many children at a time.
        tell: is told of each point when it is done.

    Raises:
        Interrupted: a child has no memory left, is killed, or has a defect.  The others are ended: a sweep that depends on the
            machine would not be the same elsewhere.
    """

    def work(npu: str, size: int) -> Point:
        chosen = replace(options, target_npu=npu, batch_size=size)
        try:
            return measure(Compilation(data, chosen, files=files).run("lir"))
        except CompileError as e:
            return failed(npu, size, e)

    started = time.monotonic()
    waiting = list(enumerate(points))[::-1]
    done: dict[int, Point] = {}
    running: dict[
        int, tuple[int, int, tuple[str, int], bytearray]
    ] = {}  # by the file descriptor of its answer
    with selectors.DefaultSelector() as events:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    place, wanted = waiting.pop()
                    with leaving.held():
                        fd, pid = _start(work, wanted)
                        running[fd] = place, pid, wanted, bytearray()
                        leaving.undo(fd, partial(os.kill, pid, signal.SIGKILL))
                    events.register(fd, selectors.EVENT_READ)
                found = events.select(progress.EVERY)
                if not found:
                    sizes = ", ".join(f"{size} on {npu}" for _, _, (npu, size), _ in running.values())
                    say(f"{time.monotonic() - started:.0f} s so far, compiling for batch size {sizes}")
                for key, _ in found:
                    place, pid, wanted, answer = running[key.fd]
                    if piece := os.read(key.fd, CHUNK):
                        answer += piece
                        continue
                    events.unregister(key.fd)
                    os.close(key.fd)
                    del running[key.fd]
                    with leaving.held():
                        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                        leaving.done(key.fd)
                    done[place] = _point(wanted, status, bytes(answer))
                    tell(done[place])
        finally:  # of an error: nobody waits for the others any more
            for fd, (_, pid, _, _) in running.items():
                with leaving.held():
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    leaving.done(fd)
                os.close(fd)
    return [done[place] for place in sorted(done)]


def _start(work: Callable[[str, int], Point], wanted: tuple[str, int]) -> tuple[int, int]:
    """Forks a child that works; returns where its answer can be read, and its process id."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return read, pid
    status = 1
    try:
        os.close(read)
        answer = memoryview(json.dumps(asdict(work(*wanted))).encode("ascii"))
        while answer:
            answer = answer[os.write(write, answer) :]
        status = 0
    except MemoryError:
        os.write(write, b"not enough memory to compile it")
    except Exception as e:  # noqa: BLE001  a defect: told by the parent, which lives
        os.write(write, internal(e, INTERNAL_ERROR).encode("utf-8", "backslashreplace"))
    finally:
        os._exit(status)


def _point(wanted: tuple[str, int], status: int, answer: bytes) -> Point:
    if status == 0:
        return Point(**json.loads(answer))
    why = f"ended by {signal.Signals(-status).name}" if status < 0 else answer.decode("utf-8", "replace")
    npu, size = wanted
    raise Interrupted(f"batch size {size} on {npu}: {why}")
