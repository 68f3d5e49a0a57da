"""The kinds of faults: what is tried of each, at length and in a few moments."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.faults import first_use, models, signalled
from tests.faults.first_use import PAST
from tests.faults.trials import Tally, Trial, sweep

MOST = 1_000_000  # moments; none has so many
BUSY = 20.0  # seconds that a command may take to end in the bounded run, on a machine that is busy with other tests


class Kind(NamedTuple):
    """Trials by number: a context that makes them, for the seconds in which something must end; of the bounded run the numbers,
    and of the long one."""

    make: Callable[[float], AbstractContextManager[Trial]]
    few: range
    all: range


def _first_run(case: str, error: type[BaseException], worker_num: int, step: int) -> Kind:
    @contextmanager
    def make(limit: float) -> Iterator[Trial]:
        yield first_use.first_run(models.CASES[case](), error, worker_num=worker_num)

    return Kind(make, range(0, MOST, step), range(MOST))


def _creation(error: type[BaseException]) -> Kind:
    @contextmanager
    def make(limit: float) -> Iterator[Trial]:
        case = models.CASES["NPU"]()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.enf")
            with open(path, "wb") as f:
                f.write(case.enf)
            yield first_use.creation(case, path, error)

    return Kind(make, range(0, MOST, 101), range(MOST))


def _importing(case: str) -> Kind:
    @contextmanager
    def make(limit: float) -> Iterator[Trial]:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.enf")
            with open(path, "wb") as f:
                f.write(models.CASES[case]().enf)
            yield first_use.importing(path)

    return Kind(make, range(3), range(200))


def _queues(error: type[BaseException]) -> Kind:
    @contextmanager
    def make(limit: float) -> Iterator[Trial]:
        yield first_use.queues(models.CASES["NPU"](), error)

    return Kind(make, range(0, MOST, 101), range(MOST))


def _signals(command: str, sent: Callable[[random.Random], list[int]], few: int) -> Kind:
    @contextmanager
    def make(limit: float) -> Iterator[Trial]:
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder, "in")
            inputs.mkdir()
            signalled.inputs(inputs)
            yield signalled.trials(inputs, command, sent, limit)

    return Kind(make, range(few), range(1000 if sent is signalled.one else 200))


ERRORS = (KeyboardInterrupt, MemoryError)
_OFTEN = (
    "compile",
    "run, with a host cluster",
    "bench",
    "bundle unpack, to a folder",
    "tune",
)  # in the bounded run
KINDS: dict[str, Kind] = {
    **{
        f"{error.__name__} in a first run ({case}, {workers} worker{'s' * (workers > 1)})": _first_run(
            case, error, workers, step
        )
        for case, step in (
            ("NPU", 23),
            ("NPU, two threads", 41),
            ("network", 211),
            ("onnxruntime", 17),
            ("LiteRT", 19),
        )
        for error in ERRORS
        for workers in (1, 2)
    },
    **{f"signal while {case} is loaded": _importing(case) for case in ("onnxruntime", "LiteRT")},
    **{f"{error.__name__} in session.create": _creation(error) for error in ERRORS},
    **{f"{error.__name__} in create_async": _queues(error) for error in ERRORS},
    **{
        f"{what} to furiosa {command}": _signals(command, sent, few if command in _OFTEN else 0)
        for what, sent, few in (("signal", signalled.one, 4), ("two signals", signalled.twice, 2))
        for command in signalled.COMMANDS
    },
}


def sample(name: str, factor: int = 1) -> Tally:
    """A few moments; ``factor`` times as many."""
    kind = KINDS[name]
    step = max(1, kind.few.step // factor)
    stop = kind.few.stop if kind.few.step > 1 else min(kind.few.stop * factor, kind.all.stop)
    return _sweep(kind, range(0, stop, step), BUSY)


def everything(name: str, most: int | None = None) -> Tally:
    """Every moment, or of what cannot be counted a thousand, or ``most``."""
    kind = KINDS[name]
    return _sweep(kind, kind.all if kind.all.stop == MOST else kind.all[:most], signalled.LIMIT)


def _sweep(kind: Kind, numbers: range, limit: float) -> Tally:
    with kind.make(limit) as trial:
        return sweep(trial, numbers, until=PAST)
