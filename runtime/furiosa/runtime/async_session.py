"""Inference by two ends: one submits inputs, the other receives results as they come."""

from __future__ import annotations

import atexit
import math
import os
import signal
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Self, TypeVar

import numpy as np

from furiosa.enf import threads
from furiosa.runtime.errors import (
    QueueWaitTimeout,
    ResourceExhausted,
    SessionClosed,
    SessionTerminated,
    not_exhausted,
)
from furiosa.runtime.session import Inputs, Session
from furiosa.runtime.tensor import TensorArray

# Seconds after which a signal is heard that came right before the main thread began to wait, and so did not interrupt that.
SIGNALS = 0.5
PATIENCE = 5.0  # seconds that the end of the process waits for inferences under way

T = TypeVar("T")

Job = tuple[Any, list[np.ndarray]]  # a context and the inputs
Result = tuple[Any, TensorArray | Exception]  # a context and what became of it


class _Exchange:
    """What both ends and the workers share.

    A signal handler may raise, or close an end, anywhere in the main thread, and the collector may delete one anywhere.
    So the lock is one that C functions take and give back and that a thread may take twice, who waits is woken before a
    change and not after it, and who is about to wait looks whether there was one meanwhile.
    """

    def __init__(self, input_size: int | None, output_size: int | None):
        self.lock = threading.RLock()
        self.inputs: deque[Job] = deque()
        self.outputs: deque[Result] = deque()
        self.input_size = input_size or math.inf
        self.output_size = output_size or math.inf
        self.running = 0
        self.submitter_open = self.receiver_open = True
        self.failure: BaseException | None = None  # of a worker that could not even tell it as a result
        self.process = os.getpid()
        self._changes = 0
        self._bells: list[SimpleQueue[None]] = []
        self.workers: list[threading.Thread] = []
        _all.add(self)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def changing(self) -> None:
        """Wakes everybody who waits; called with the lock, right before a change."""
        self._changes += 1
        for bell in self._bells:
            bell.put(None)
        self._bells.clear()

    def wait(self, attempt: Callable[[], T | None], seconds: float | None = None) -> T:
        """What ``attempt`` returns, called with the lock now and after every change, until that is not None.

        Raises:
            Empty: not within the time.
        """
        end = None if seconds is None else monotonic() + seconds
        while True:
            with self.lock:
                changes = self._changes
                found = attempt()
                if found is not None:
                    return found
                bell: SimpleQueue[None] = SimpleQueue()
                self._bells.append(bell)
                if self._changes != changes:
                    continue
            left = math.inf if end is None else end - monotonic()
            try:
                bell.get(timeout=max(min(left, _longest_wait()), 0))
            except BaseException as e:
                with self.lock, suppress(ValueError):
                    self._bells.remove(bell)
                if not isinstance(e, Empty) or left <= _longest_wait():
                    raise

    # -- what the ends do: attempts, and ``close`` with the lock ---------------------------------------------------------

    def put(self, job: Job) -> bool | None:
        if not self.submitter_open:
            raise SessionClosed("the session is closed")
        if not self.receiver_open:
            raise SessionTerminated("the completion queue is closed: nobody could receive the result")
        self._tell_failure()
        if len(self.inputs) >= self.input_size:
            return None
        self.changing()
        self.inputs.append(job)
        return True

    def get(self) -> Result | None:
        if self.outputs and self.receiver_open:
            self.changing()
            with suppress(IndexError):  # just now closed by a signal handler
                return self.outputs.popleft()
        self._tell_failure()
        if not self.receiver_open or not (self.submitter_open or self.inputs or self.running):
            raise SessionTerminated("the session is closed and every result has been received")
        return None

    def _tell_failure(self) -> None:
        if self.failure is not None:
            raise ResourceExhausted(f"a worker has ended: {self.failure!r}") from self.failure

    def close_submitter(self) -> None:
        if self.is_ours:
            with self.lock:
                self.changing()
                self.submitter_open = False

    def close_receiver(self) -> None:
        if self.is_ours:
            with self.lock:
                self.changing()
                self.receiver_open = False
                self.inputs.clear()
                self.outputs.clear()

    @property
    def is_ours(self) -> bool:
        """Whether this is the process of the workers; in a fork of it nobody works, and the lock may be locked for ever."""
        return self.process == os.getpid()

    def check_process(self) -> None:
        """Refuses a fork."""
        if not self.is_ours:
            raise SessionTerminated(
                "the session is that of the process which this one was forked from: create one here"
            )

    # -- the workers --------------------------------------------------------------------------------------------------

    def start(self, session: Session, workers: int) -> None:
        """Starts the workers; all of them or none.

        Raises:
            ResourceExhausted: the system has no thread left.
        """
        try:
            for i in range(workers):
                worker = threading.Thread(target=self._work, args=(session,), name=f"worker-{i}", daemon=True)
                self.workers.append(worker)
                if not threads.start(worker):
                    raise ResourceExhausted(
                        f"no thread is left for worker {i + 1} of {workers}: ask for fewer, or raise this process's limit "
                        "(ulimit -u)"
                    )
        except BaseException:
            self.close_submitter()
            self.close_receiver()
            raise

    def _work(self, session: Session) -> None:
        try:
            while job := self.wait(self._next):
                context, arrays = job
                try:
                    result: TensorArray | Exception = session.run(arrays)
                except Exception as e:  # noqa: BLE001  # the receiver gets it
                    result = e
                self.wait(lambda: self._deliver((context, result)))  # noqa: B023  # called before the next turn
        except BaseException as e:  # noqa: BLE001  # no memory for that either
            self.failure = e
            with self.lock:
                self.changing()

    def _next(self) -> Job | tuple[()] | None:
        """An input; nothing where no more come."""
        if not self.receiver_open or not (self.inputs or self.submitter_open):
            return ()
        if not self.inputs:
            return None
        self.changing()
        self.running += 1
        return self.inputs.popleft()

    def _deliver(self, result: Result) -> bool | None:
        if self.receiver_open:
            if len(self.outputs) >= self.output_size:
                return None
            self.changing()
            self.outputs.append(result)
        self.running -= 1
        return True


def _longest_wait() -> float:
    is_main = threading.current_thread() is threading.main_thread()
    return SIGNALS if is_main else threading.TIMEOUT_MAX


class AsyncSession:
    """The end that submits.  Safe for several threads; close it, or use it in a ``with``."""

    def __init__(self, exchange: _Exchange, session: Session):
        self._exchange, self._session = exchange, session

    def submit(self, values: Inputs, context: Any = None) -> None:
        """Queues one inference; waits while the input queue is full.

        Args:
            values: as for ``Session.run``; copied, so they may be changed at once.
            context: comes back with the result.

        Raises:
            InvalidInput, UnsupportedTensorType: the values do not fit.
            SessionClosed: this end is closed.
            SessionTerminated: the other end is closed, or this process is a fork of the session's.
            ResourceExhausted: there is not enough memory.
        """
        self._exchange.check_process()
        with not_exhausted():
            job = context, [a.copy() for a in self._session.check(values)]
            self._exchange.wait(lambda: self._exchange.put(job))

    def close(self) -> None:
        """Ends submitting; what was submitted can still be received.  May be called again, and in a signal handler."""
        self._exchange.close_submitter()

    def close_on_signal(self, number: int = signal.SIGTERM) -> None:
        """Closes this end when a signal comes, so that what was submitted is still received, and nothing more.

        The handler that was there is back from then on, and is called where it is a function; the next signal of the kind does
        what it did before.

        Raises:
            ValueError: this is not the main thread, or no such signal.
        """
        exchange, before = weakref.ref(self._exchange), signal.getsignal(number)

        def close(number: int, frame: object) -> None:
            signal.signal(number, before if before is not None else signal.SIG_DFL)
            if (open_ := exchange()) is not None:
                open_.close_submitter()
            if callable(before):
                before(number, frame)

        signal.signal(number, close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        """The model part, as of a ``Session``: ``inputs()``, ``summary()`` and so on."""
        if name.startswith("_") or name in ("run", "run_with"):
            raise AttributeError(name)
        return getattr(self._session, name)


class CompletionQueue:
    """The end that receives.  With several workers, results may come in another order than their inputs."""

    def __init__(self, exchange: _Exchange):
        self._exchange = exchange

    def recv(self, timeout: float | None = None) -> tuple[Any, TensorArray]:
        """The next result, with the context it was submitted with.

        Args:
            timeout: milliseconds to wait; None or infinity waits for ever.

        Raises:
            QueueWaitTimeout: no result in time.
            SessionTerminated: the session is closed and everything is received, this queue is closed, or this process is
                a fork of the session's.
            TypeError: a timeout that is no number.
            RuntimeError: a negative one, or NaN.
            FuriosaRuntimeError: what the inference raised.
        """
        seconds = _seconds(timeout)
        self._exchange.check_process()
        try:
            context, result = self._exchange.wait(self._exchange.get, seconds)
        except Empty:
            raise QueueWaitTimeout(f"no result within {timeout} ms") from None
        if isinstance(result, Exception):
            raise result
        return context, result

    def close(self) -> None:
        """Ends receiving; results and inputs that are still there are dropped.  May be called again."""
        self._exchange.close_receiver()

    def __iter__(self) -> Iterator[tuple[Any, TensorArray]]:
        """The results until the session is closed and everything is received; raises as ``recv`` in a fork."""
        self._exchange.check_process()
        while True:
            try:
                item = self.recv()
            except SessionTerminated:
                return
            yield item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _seconds(timeout: float | None) -> float | None:
    """A number of milliseconds in seconds; None for no end."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float, np.integer, np.floating)):
        raise TypeError(
            f"timeout: a number of milliseconds or None is expected, not {type(timeout).__name__}"
        )
    try:
        number = float(timeout)
    except OverflowError:  # an integer that no float reaches
        number = math.inf if timeout > 0 else -math.inf
    if not number >= 0:
        raise RuntimeError(f"timeout is {number} ms, but must be 0 or more")
    return None if number == math.inf else number / 1000


def connect(
    session: Session, workers: int, input_queue_size: int | None, output_queue_size: int | None
) -> tuple[AsyncSession, CompletionQueue]:
    """Both ends of a session; None as a queue size is no bound.

    Raises:
        ResourceExhausted: the system has no thread left; those that were started have ended.
    """
    exchange = _Exchange(input_queue_size, output_queue_size)
    ends = AsyncSession(exchange, session), CompletionQueue(exchange)
    exchange.start(session, workers)
    return ends


_all: weakref.WeakSet[_Exchange] = weakref.WeakSet()


def _at_exit() -> None:
    """Ends the workers before the interpreter does: onnxruntime aborts the process where that takes its thread away."""
    exchanges = [e for e in _all if e.is_ours]
    for exchange in exchanges:
        exchange.close_submitter()
        exchange.close_receiver()
    end = monotonic() + PATIENCE
    for exchange in exchanges:
        for worker in exchange.workers:
            with suppress(RuntimeError):  # it was never started
                worker.join(max(end - monotonic(), 0))


atexit.register(_at_exit)
