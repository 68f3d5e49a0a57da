"""What inferences take on this machine, measured while somebody records; nothing is measured otherwise.

All times here are wall time of the machine that runs the simulator.  They say nothing about the time of an NPU.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from furiosa.enf.reader import Enf
    from furiosa.runtime.program import Program
    from furiosa.runtime.session import Session
    from furiosa.runtime.workers import Workers

MAX_SPANS = 1 << 20  # that one recorder keeps: some hundred megabytes

RUNTIME, USER = "Runtime", "User"  # categories: what inferences do, what a program marks
# names of spans of the first
INFERENCE, WAIT, WRITE, SETUP, SIMULATE, HOST, READ = (
    "Inference",
    "WaitForWorker",
    "WriteToDram",
    "Setup",
    "SimulateNpu",
    "HostCluster",
    "ReadFromDram",
)
INNER = (WAIT, WRITE, SETUP, SIMULATE, HOST, READ)  # what an inference consists of

T = TypeVar("T")


class Span(NamedTuple):
    """From ``start`` to ``end``, in nanoseconds of ``time.perf_counter_ns``, on a thread (ident and name)."""

    name: str
    category: str
    start: int
    end: int
    thread: tuple[int, str]
    args: dict[str, Any]


class Recorder:
    """Collects spans from any thread.

    Attributes:
        spans: the first ``keep`` of them.
        dropped: how many more there were.
        totals: nanoseconds by name, of all inferences and their parts.
        programs: the programs that ran, with their names; those of the same name and bytes are one.
        paused: while true, nothing is collected.
    """

    def __init__(self, session: Session | None = None, keep: int = MAX_SPANS):
        """A recorder of one session, or of all."""
        self._session = session
        self._keep = keep
        self.spans: list[Span] = []
        self.dropped = 0
        self.totals: dict[str, int] = {}
        self.programs: dict[tuple[Any, ...], tuple[str, Enf]] = {}
        self.paused = False

    def wants(self, session: Session) -> bool:
        """Whether runs of a session are collected now."""
        return not self.paused and self._session in (None, session)

    def inferences(self) -> list[Span]:
        """The spans of whole inferences."""
        return [s for s in list(self.spans) if s.name == INFERENCE and s.category != USER]

    def add(self, spans: list[Span], program: tuple[str, Enf] | None = None) -> None:
        """Collects spans, and the program that they belong to."""
        with _lock:
            for span in spans:
                if span.category != USER:  # whose names are anybody's
                    self.totals[span.name] = self.totals.get(span.name, 0) + span.end - span.start
            room = max(self._keep - len(self.spans), 0)
            self.spans += spans[:room]
            self.dropped += len(spans[room:])
            if program is not None:
                name, enf = program
                self.programs.setdefault((name, *(s.checksum for s in enf.sections)), program)


active: tuple[Recorder, ...] = ()
_lock = threading.Lock()


def _forked() -> None:
    """Whoever had the lock is not here."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forked)


def start(recorder: Recorder) -> None:
    """From now on the recorder collects."""
    global active
    with _lock:
        active = (*active, recorder)


def stop(recorder: Recorder) -> None:
    """From now on it does not; inferences that have begun are still collected."""
    global active
    with _lock:
        active = tuple(r for r in active if r is not recorder)


def here() -> tuple[int, str]:
    """The thread that asks."""
    thread = threading.current_thread()
    return thread.ident or 0, thread.name


def run(session: Session, workers: Workers, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """One inference by an idle worker, as ``Session.run`` does it, for all recorders that want it."""
    begun = perf_counter_ns()
    return workers.use(lambda program: run_on(session, workers.enf, program, arrays, begun))


def run_on(
    session: Session, enf: Enf, program: Program, arrays: list[np.ndarray], begun: int | None = None
) -> list[np.ndarray]:
    """One inference by a worker that was taken; ``begun`` is when it was asked for."""
    thread = here()
    taken = perf_counter_ns()
    begun = taken if begun is None else begun
    spans = [Span(WAIT, RUNTIME, begun, taken, thread, {})]

    def timed(name: str, args: dict[str, Any], function: Callable[..., T], *arguments: Any) -> T:
        start = perf_counter_ns()
        try:
            return function(*arguments)
        finally:
            spans.append(Span(name, RUNTIME, start, perf_counter_ns(), thread, args))

    wanted = [r for r in active if r.wants(session)]
    try:
        return program.run_timed(arrays, timed)
    finally:
        whole = Span(INFERENCE, RUNTIME, begun, perf_counter_ns(), thread, {"model": session.name})
        for recorder in wanted:
            recorder.add([whole, *spans], (session.name, enf))
