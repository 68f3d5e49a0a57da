"""Runs a session again and again: one query after the other, or as many at once as there are workers."""

from __future__ import annotations

import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple, Self

from furiosa.enf import threads
from furiosa.runtime import recording
from furiosa.runtime.async_session import AsyncSession, connect
from furiosa.runtime.errors import ResourceExhausted
from furiosa.runtime.recording import Recorder

if TYPE_CHECKING:
    from furiosa.runtime.session import Inputs, Session


class Measured(NamedTuple):
    """Wall time of this machine, in nanoseconds: of the queries together, of each (unordered), of their parts by name."""

    total_ns: int
    latencies_ns: list[int]
    parts_ns: dict[str, int]


class _Queries:
    """Hands out queries until there were so many and so much time has passed; safe for several threads."""

    def __init__(self, count: int, duration_s: float, threads: int = 1):
        self._left, self._threads = count, threads
        self._end = perf_counter_ns() + round(duration_s * 1e9)
        self._lock = threading.Lock()

    def next(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0 or perf_counter_ns() < self._end

    def is_last(self) -> bool:
        """Whether the thread that asks, for it asks for no more queries, is the last that does so."""
        with self._lock:
            self._threads -= 1
            return self._threads == 0


def latency(session: Session, inputs: Inputs, count: int, duration_s: float) -> Measured:
    """One query at a time, at least ``count`` and for at least ``duration_s`` seconds.

    Raises:
        FuriosaRuntimeError: as ``Session.run``.
    """
    latencies = []
    with _Totals() as parts:
        start = perf_counter_ns()
        queries = _Queries(count, duration_s)
        while queries.next():
            begun = perf_counter_ns()
            session.run(inputs)
            latencies.append(perf_counter_ns() - begun)
        total = perf_counter_ns() - start
    return Measured(total, latencies, parts.totals)


def throughput(session: Session, inputs: Inputs, count: int, duration_s: float, io_threads: int) -> Measured:
    """All workers at once, fed by ``io_threads`` threads; a query's latency is from its submission to its result.

    At most two queries a worker are under way, so that latencies show more than the length of a queue.

    Raises:
        FuriosaRuntimeError: as ``Session.run``.
    """
    workers = session.worker_num
    submitter, queue = connect(session, workers, workers, None)
    latencies = []
    failures: list[BaseException] = []
    with _Totals() as parts, queue:  # after an error the queue is closed, and nobody waits for room any more
        start = perf_counter_ns()
        queries = _Queries(count, duration_s, io_threads)
        for i in range(io_threads):
            thread = threading.Thread(
                target=_feed, args=(submitter, queries, inputs, failures), name=f"io-thread-{i}", daemon=True
            )
            if not threads.start(thread):
                raise ResourceExhausted(
                    f"no thread is left for I/O thread {i + 1} of {io_threads}: ask for fewer"
                )
        for begun, _ in queue:
            latencies.append(perf_counter_ns() - begun)
        total = perf_counter_ns() - start
    if failures:
        raise failures[0]
    return Measured(total, latencies, parts.totals)


def _feed(submitter: AsyncSession, queries: _Queries, inputs: Inputs, failures: list[BaseException]) -> None:
    try:
        while queries.next():
            submitter.submit(inputs, perf_counter_ns())
    except Exception as e:  # noqa: BLE001 - told by the thread that receives
        failures.append(e)
    finally:
        if queries.is_last():
            submitter.close()


class _Totals(Recorder):
    """Records how long the parts of all inferences took, and keeps no single one."""

    def __init__(self) -> None:
        super().__init__(keep=0)

    def __enter__(self) -> Self:
        recording.start(self)
        return self

    def __exit__(self, *_: object) -> None:
        recording.stop(self)
