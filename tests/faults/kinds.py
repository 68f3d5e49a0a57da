"""The kinds of faults: what is tried of each, at length and in a few moments."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable

from tests.faults import first_use, models
from tests.faults.first_use import PAST
from tests.faults.trials import Tally, sweep

Run = Callable[[Iterable[int]], Tally]  # trials of these numbers


def _first_run(case: str, error: type[BaseException], worker_num: int) -> Run:
    def run(numbers: Iterable[int]) -> Tally:
        trial = first_use.first_run(models.CASES[case](), error, worker_num=worker_num)
        return sweep(trial, numbers, until=PAST)

    return run


def _creation(error: type[BaseException]) -> Run:
    def run(numbers: Iterable[int]) -> Tally:
        case = models.CASES["NPU"]()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.enf")
            with open(path, "wb") as f:
                f.write(case.enf)
            return sweep(first_use.creation(case, path, error), numbers, until=PAST)

    return run


def _queues(error: type[BaseException]) -> Run:
    return lambda numbers: sweep(first_use.queues(models.CASES["NPU"](), error), numbers, until=PAST)


ERRORS = (KeyboardInterrupt, MemoryError)
# name -> what runs it, and of the bounded run the step from one moment to the next
_KINDS: dict[str, tuple[Run, int]] = {
    **{
        f"{error.__name__} in a first run ({case}, {workers} worker{'s' * (workers > 1)})": (
            _first_run(case, error, workers),
            step,
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
    **{f"{error.__name__} in session.create": (_creation(error), 101) for error in ERRORS},
    **{f"{error.__name__} in create_async": (_queues(error), 101) for error in ERRORS},
}
NAMES = list(_KINDS)
MOST = 1_000_000  # moments; none has so many


def sample(name: str, factor: int = 1) -> Tally:
    """A few moments, in steps that ``factor`` divides."""
    run, step = _KINDS[name]
    return run(range(0, MOST, max(1, step // factor)))


def everything(name: str) -> Tally:
    """Every moment."""
    return _KINDS[name][0](range(MOST))
