"""Inference by two ends: one submits inputs, the other receives results as they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from furiosa.runtime.errors import QueueWaitTimeout, SessionClosed, SessionTerminated
from furiosa.runtime.session import Inputs, Session
from furiosa.runtime.tensor import TensorArray


class _Exchange:
    """What both ends and the workers share; every field is guarded by ``changed``."""

    def __init__(self, session: Session, workers: int, input_size: int | None, output_size: int | None):
        self.changed = threading.Condition()
        self.inputs: deque[tuple[Any, list]] = deque()
        self.outputs: deque[tuple[Any, TensorArray | Exception]] = deque()
        self.input_size = input_size or float("inf")
        self.output_size = output_size or float("inf")
        self.running = 0
        self.submitter_open = self.receiver_open = True
        for i in range(workers):
            threading.Thread(target=self._work, args=(session,), name=f"worker-{i}", daemon=True).start()

    @property
    def drained(self) -> bool:
        """Whether no result can come any more."""
        return not (self.submitter_open or self.inputs or self.running)

    def _work(self, session: Session) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(
                    lambda: self.inputs or not self.submitter_open or not self.receiver_open
                )
                if not self.inputs or not self.receiver_open:
                    return
                context, arrays = self.inputs.popleft()
                self.running += 1
                self.changed.notify_all()
            try:
                result: TensorArray | Exception = session.run(arrays)
            except Exception as e:  # noqa: BLE001  # the receiver gets it
                result = e
            with self.changed:
                self.changed.wait_for(lambda: len(self.outputs) < self.output_size or not self.receiver_open)
                self.outputs.append((context, result))
                self.running -= 1
                self.changed.notify_all()


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
            SessionTerminated: the other end is closed.
        """
        arrays = [a.copy() for a in self._session.check(values)]
        e = self._exchange
        with e.changed:
            e.changed.wait_for(
                lambda: len(e.inputs) < e.input_size or not e.submitter_open or not e.receiver_open
            )
            if not e.submitter_open:
                raise SessionClosed("the session is closed")
            if not e.receiver_open:
                raise SessionTerminated("the completion queue is closed: nobody could receive the result")
            e.inputs.append((context, arrays))
            e.changed.notify_all()

    def close(self) -> None:
        """Ends submitting; what was submitted can still be received.  May be called again."""
        with self._exchange.changed:
            self._exchange.submitter_open = False
            self._exchange.changed.notify_all()

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

    def recv(self, timeout: int | None = None) -> tuple[Any, TensorArray]:
        """The next result, with the context it was submitted with.

        Args:
            timeout: milliseconds to wait; None waits for ever.

        Raises:
            QueueWaitTimeout: no result in time.
            SessionTerminated: the session is closed and everything is received, or this queue is closed.
            RuntimeError: a negative timeout.
            FuriosaRuntimeError: what the inference raised.
        """
        if timeout is not None and timeout < 0:
            raise RuntimeError(f"timeout is {timeout}, but must not be negative")
        e = self._exchange
        with e.changed:
            ready = e.changed.wait_for(
                lambda: e.outputs or e.drained or not e.receiver_open,
                None if timeout is None else timeout / 1000,
            )
            if not ready:
                raise QueueWaitTimeout(f"no result within {timeout} ms")
            if not e.outputs or not e.receiver_open:
                raise SessionTerminated("the session is closed and every result has been received")
            context, result = e.outputs.popleft()
            e.changed.notify_all()
        if isinstance(result, Exception):
            raise result
        return context, result

    def close(self) -> None:
        """Ends receiving; results and inputs that are still there are dropped.  May be called again."""
        with self._exchange.changed:
            self._exchange.receiver_open = False
            self._exchange.inputs.clear()
            self._exchange.outputs.clear()
            self._exchange.changed.notify_all()

    def __iter__(self) -> Iterator[tuple[Any, TensorArray]]:
        """The results until the session is closed and everything is received."""
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


def connect(
    session: Session, workers: int, input_queue_size: int | None, output_queue_size: int | None
) -> tuple[AsyncSession, CompletionQueue]:
    """Both ends of a session; None as a queue size is no bound."""
    exchange = _Exchange(session, workers, input_queue_size, output_queue_size)
    return AsyncSession(exchange, session), CompletionQueue(exchange)
