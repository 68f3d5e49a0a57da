"""Host clusters: what the NPU cannot take, run by the reference runtime of the model's own source format."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import finalize

import numpy as np

from furiosa.enf import threads
from furiosa.enf.enf_pb2 import HostCall, TensorDescriptor
from furiosa.enf.reader import Enf
from furiosa.runtime.errors import HostRuntimeMissing
from furiosa.runtime.tensor import DataType

if TYPE_CHECKING:
    from furiosa.runtime.host.process import HostProcess


MANY_CLUSTERS = 64  # of a program; each of more has one thread, or they would be as many as the system has


class Host(NamedTuple):
    """A host cluster: its model in the source's format, the call of the plan, what to call it in a sentence, and its threads."""

    model: bytes | memoryview
    call: HostCall
    where: str
    threads: int


class Executor(Protocol):
    """One host cluster, loaded.  Not for several threads at once."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The cluster's outputs; arrays are in the order of the host call.

        Raises:
            ModelExecutionFailed: the reference runtime refused, or returned another shape or element type than the
                file says.
        """


def open_executor(
    enf: Enf, index: int, call: HostCall, threads: int, process: HostProcess | None = None
) -> Executor:
    """Loads the model of a host call, the ``index``-th step of the plan; in a process of its own where one is given.

    ``threads`` is what ``threads_each`` says of the program.

    Raises:
        ModelDeployFailed: the reference runtime is not installed or refuses the model, or the model does not fit
            the host call.
        HostProcessEnded: the process ended.
    """
    host = Host(enf.host_model(call), call, f"step {index} of the plan (host, {call.format})", threads)
    if process is None:
        return load_executor(host)
    from furiosa.runtime.host.process import RemoteExecutor

    return RemoteExecutor(process, index, host)


def load_executor(host: Host) -> Executor:
    """The same in this process."""
    try:
        executor = _executor(host.call.format)
    except ModuleNotFoundError as e:
        raise HostRuntimeMissing(f"{host.where} runs by {e.name}, which is not installed") from None
    return _Owned(executor(bytes(host.model), host.call, host.where, host.threads))


class _Owned:
    """An executor that only the process which has loaded it frees.

    In a fork a runtime would wait for ever for its threads to end, which are not there.  So the executor has a reference of its own that
    nothing in the fork gives back, in whatever order things end there.
    """

    def __init__(self, executor: Executor):
        self.run = executor.run
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(executor))
        finalize(self, _free, executor, os.getpid())


def _free(executor: Executor, process: int) -> None:
    if os.getpid() == process:
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(executor))


@cache
def _executor(format: str) -> Callable[[bytes, HostCall, str, int], Executor]:
    """The class for a format, with its runtime loaded: on a thread of its own, for a package with native code whose import a signal
    handler interrupts cannot be imported again.
    """
    return threads.call(_onnx_executor if format == "onnx" else _tflite_executor)


def _onnx_executor() -> Callable[[bytes, HostCall, str, int], Executor]:
    from furiosa.runtime.host.onnx import OnnxExecutor

    return OnnxExecutor


def _tflite_executor() -> Callable[[bytes, HostCall, str, int], Executor]:
    from furiosa.runtime.host.tflite import TfliteExecutor

    return TfliteExecutor


def threads_each(clusters: int) -> int:
    """Threads for each of so many host clusters of a program."""
    return 1 if clusters > MANY_CLUSTERS else thread_count()


def thread_count() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def expected(descriptors: Sequence[TensorDescriptor]) -> list[tuple[str, tuple[int, ...], np.dtype]]:
    """Name, shape and element type of each tensor as the file says."""
    return [(d.name, tuple(d.shape), DataType(d.dtype).numpy_dtype) for d in descriptors]


def mismatch(
    name: str, shape: Sequence[int], dtype: object, found_shape: Sequence[object], found_dtype: object
) -> str:
    """The sentence for a tensor that differs from what the file says."""
    found = f"{tuple(found_shape)} ({found_dtype})"
    return f"tensor '{name}': the file says {tuple(shape)} ({dtype}), the host model {found}"
