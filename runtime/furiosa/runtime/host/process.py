"""Host clusters in a process of their own, by furiosa.runtime.remote."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from furiosa.enf.enf_pb2 import HostCall
from furiosa.runtime import errors, remote
from furiosa.runtime.errors import HostProcessEnded
from furiosa.runtime.host import Executor, Host, expected, load_executor
from furiosa.runtime.remote import Child, Ends, Running, raw

# what a new interpreter runs
_CODE = "from furiosa.runtime.host.process import main; main(*map(int, sys.argv[1:]))"


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
        self._running: Running | None = None
        self._loaded: set[int] = set()  # the steps whose models it has
        self._is_limited = False

    def begin(self) -> None:
        """Starts the process where it does not run.

        Raises:
            NoHostProcess: no process can be started.
        """
        if self._running is None:
            self._running, self._loaded, self._is_limited = Running(self._start), set(), False

    def load(self, index: int, host: Host, deadline: float | None = None) -> None:
        """Loads the model of a host call, the ``index``-th step of its plan, where that is not done.

        Raises:
            ModelDeployFailed: as ``open_executor``, or no process can be started.
            HostProcessEnded: the process ended.
            TimeoutError: it was not done by ``deadline``, a time of ``time.monotonic``, and the process is ended.
        """
        self.begin()
        if self._memory is not None and not self._is_limited:
            self._ask(host, {"memory": self._memory}, [], [], deadline)
            self._is_limited = True
        if index not in self._loaded:
            blobs = [host.call.SerializeToString(), host.model]
            header = {"load": index, "where": host.where, "threads": host.threads}
            self._ask(host, header, blobs, [], deadline)
            self._loaded.add(index)

    def run(self, index: int, host: Host, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of a host call; raises as ``load`` and ``Executor.run``."""
        self.load(index, host)
        results = [np.empty(shape, dtype) for _, shape, dtype in expected(host.call.outputs)]
        self._ask(host, {"run": index}, [raw(a) for a in inputs], [raw(a) for a in results], None)
        return results

    def attempt(self, index: int, host: Host, fill: int, deadline: float | None = None) -> None:
        """Runs a host call with inputs of one value and forgets the outputs; raises as ``load`` and ``Executor.run``."""
        self.load(index, host, deadline)
        self._ask(host, {"attempt": index, "fill": fill}, [], [], deadline)

    def forget(self, index: int, host: Host, deadline: float | None = None) -> None:
        """Frees what was loaded of a host call, where the process still has it; raises as ``load``."""
        if self._running is not None and index in self._loaded:
            self._ask(host, {"forget": index}, [], [], deadline)
            self._loaded.remove(index)

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
            error = self._running.ask(header, blobs, lambda answer: results, deadline)
        except TimeoutError:
            self.close()
            raise
        except remote.GONE:
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


# -- the process ------------------------------------------------------------------------------------------------------------


def spawn(ends: Ends) -> Child:
    """A new interpreter.

    Raises:
        NoHostProcess: there is none to start.
    """
    return remote.spawn(ends, _CODE, "host clusters")


def fork(ends: Ends) -> Child:
    """A copy of this process, which must have one thread."""
    return remote.fork(ends, _service())


def main(socket_: int, life: int) -> None:
    """The process that ``spawn`` starts."""
    remote.main(_service(), socket_, life)


def _service() -> remote.Service:
    return partial(_answer, {})


def _answer(
    loaded: dict[int, tuple[HostCall, Executor]], header: dict[str, Any], blobs: list[bytearray]
) -> tuple[dict[str, Any], list[Any]]:
    if "memory" in header:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = header["memory"] if hard == resource.RLIM_INFINITY else min(header["memory"], hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
        return {}, []
    if "load" in header:
        call, model = HostCall.FromString(bytes(blobs[0])), bytes(blobs[1])
        host = Host(model, call, header["where"], header["threads"])
        loaded[header["load"]] = call, load_executor(host)
        return {}, []
    if "forget" in header:
        del loaded[header["forget"]]
        return {}, []
    call, executor = loaded[header["run"] if "run" in header else header["attempt"]]
    shapes = expected(call.inputs)
    if "run" in header:
        arrays = [np.frombuffer(b, d).reshape(s) for (_, s, d), b in zip(shapes, blobs, strict=True)]
        return {}, [raw(a) for a in executor.run(arrays)]
    executor.run([np.full(shape, header["fill"], dtype) for _, shape, dtype in shapes])
    return {}, []
