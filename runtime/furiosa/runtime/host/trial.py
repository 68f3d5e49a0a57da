"""Loads each host cluster of a program and runs it once, in another process, so that what cannot run is found before it is used."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from furiosa.enf import progress
from furiosa.enf.command import INVALID_MODEL
from furiosa.enf.enf_pb2 import HostCall
from furiosa.enf.reader import Enf
from furiosa.runtime.children import is_single_threaded
from furiosa.runtime.errors import (
    FuriosaRuntimeError,
    HostOutputMismatch,
    HostProcessEnded,
    HostRuntimeMissing,
    ModelDeployFailed,
    ModelExecutionFailed,
    UnsupportedTensorType,
)
from furiosa.runtime.host import Host, threads_each
from furiosa.runtime.host.process import Child, Ends, HostProcess, fork, spawn

SECONDS = 60.0  # for all host clusters of a program
FILLS = (0, 1)  # the inputs that are made up: all elements have this value


class HostClusterRefused(FuriosaRuntimeError):
    """A host cluster that cannot run."""

    exit_code = INVALID_MODEL


def try_host_clusters(enf: Enf, seconds: float = SECONDS, *, name: str = "the program") -> list[str]:
    """Loads and runs each host cluster once.

    A runtime that refuses a cluster, has no kernel for it, ends its process or gives other tensors than the file says is an
    error.  One that objects to the values of inputs, which are made up here, is not: it may take those of a user.

    Args:
        enf: a verified program, all of it read.
        seconds: for all of them together.
        name: what to call the program where it takes long.

    Returns:
        Sentences about what could not be tried, or did not go well.

    Raises:
        HostClusterRefused: the first that cannot run.
    """
    deadline = time.monotonic() + seconds
    said: list[str] = []
    with HostProcess(_start, _memory()) as process:
        process.begin()  # before there is another thread
        with progress.Activity(name):
            for index, host in _clusters(enf):
                progress.now(f"trying {host.where}")
                try:
                    said += _try(process, index, host, deadline)
                    process.forget(index, host, deadline)  # memory and threads do not grow with clusters
                except HostProcessEnded as e:
                    said.append(f"{e.message}, when it was freed")
                except TimeoutError:
                    said.append(f"{host.where} is not tried to its end: {seconds:.0f} seconds are over")
                    break
    return list(dict.fromkeys(said))


def _start(ends: Ends) -> Child:
    """A copy of this process, or a new one where another thread may be in the midst of something."""
    return (fork if is_single_threaded() else spawn)(ends)


def _clusters(enf: Enf) -> Iterator[tuple[int, Host]]:
    calls = [(i, s.host_call) for i, s in enumerate(enf.plan.steps) if s.HasField("host_call")]
    threads = threads_each(len(calls))
    for number, (index, call) in enumerate(calls, 1):
        yield index, Host(enf.host_model(call), call, _name(call, number, len(calls)), threads)


def _name(call: HostCall, number: int, count: int) -> str:
    made = f"'{call.outputs[0].name}'" + (
        f" and {len(call.outputs) - 1} more" if len(call.outputs) > 1 else ""
    )
    return f"host cluster {number} of {count} ({call.format}), which makes {made}"


def _try(process: HostProcess, index: int, host: Host, deadline: float) -> list[str]:
    """Tries one; returns what there is to say."""
    failures: list[FuriosaRuntimeError] = []
    for fill in FILLS:
        try:
            process.attempt(index, host, fill, deadline)
        except HostRuntimeMissing as e:
            return [f"{e.message}: it is not tried"]
        except (ModelDeployFailed, UnsupportedTensorType) as e:
            raise HostClusterRefused(e.message) from None
        except HostProcessEnded as e:
            if e.signal == signal.SIGKILL:  # from outside, as the kernel does where memory runs out
                return [f"{e.message}: it is not tried to its end"]
            failures.append(e)
        except ModelExecutionFailed as e:
            failures.append(e)
        else:
            return [
                f"{f.message}, with inputs of {FILLS[0]}" for f in failures if isinstance(f, HostProcessEnded)
            ]
    fatal = [f for f in failures if isinstance(f, HostProcessEnded | HostOutputMismatch)]
    if fatal:
        raise HostClusterRefused(fatal[0].message)
    return [f"{failures[0].message}: it is loaded, but not tried with inputs that it takes"]


def _memory() -> int:
    """Bytes that a trial may have: what the machine has.  A cluster that needs more is not worth the trouble of the others."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
