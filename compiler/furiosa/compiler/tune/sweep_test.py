"""Many points side by side: the same answers, in order, and a child that dies is a point as well."""

from __future__ import annotations

import os
import signal

import pytest

from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.tune import sweep as module
from furiosa.compiler.tune.point import measure
from furiosa.compiler.tune.sweep import sweep

WANTED = [(npu, n) for npu in ("warboy", "warboy-2pe") for n in (4, 1, 2)]


@pytest.mark.parametrize("jobs", [1, 3, 64])
def test_the_same_as_one_by_one(quantized_model, jobs):
    told = []
    points = sweep(quantized_model, Options(), WANTED, jobs=jobs, tell=told.append)
    assert points == [measure(Compilation(quantized_model, Options(npu, n)).run("lir")) for npu, n in WANTED]
    assert len(told) == len(points) and all(p in told for p in points)


def test_children_that_end_badly(quantized_model, monkeypatch):
    class Odd(Compilation):
        def run(self, until):
            size = self.options.batch_size
            if size == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            if size == 3:
                raise MemoryError
            if size == 4:
                raise ZeroDivisionError("odd …")
            return super().run(until)

    monkeypatch.setattr(module, "Compilation", Odd)
    points = sweep(quantized_model, Options(), [("warboy", n) for n in (1, 2, 3, 4, 5)], jobs=2)
    assert [(p.batch_size, p.outcome) for p in points] == [
        (1, "ok"),
        (2, "crashed"),
        (3, "out-of-memory"),
        (4, "crashed"),
        (5, "ok"),
    ]
    assert points[1].message == "the compiler was ended by SIGKILL"
    assert points[3].message == "the compiler was ended with a defect, ZeroDivisionError: odd …"


def test_when_the_parent_stops_no_child_stays(quantized_model):
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(quantized_model, Options(), WANTED, jobs=3, tell=stop)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
