"""Many points side by side: the same answers, in order, and a child that dies is a point as well."""

from __future__ import annotations

import os
import signal

import pytest

from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.tune import sweep as module
from furiosa.compiler.tune.point import measure
from furiosa.compiler.tune.sweep import Interrupted, sweep

WANTED = [(npu, n) for npu in ("warboy", "warboy-2pe") for n in (4, 1, 2)]


@pytest.mark.parametrize("jobs", [1, 3, 64])
def test_the_same_as_one_by_one(quantized_model, jobs):
    told = []
    points = sweep(quantized_model, Options(), WANTED, jobs=jobs, tell=told.append)
    assert points == [measure(Compilation(quantized_model, Options(npu, n)).run("lir")) for npu, n in WANTED]
    assert len(told) == len(points) and all(p in told for p in points)


def _kill(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _starve(_: int) -> None:
    raise MemoryError


def _fail(_: int) -> None:
    raise ZeroDivisionError("odd …")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (_kill, "batch size 2 on warboy: ended by SIGKILL"),
        (_starve, "batch size 2 on warboy: not enough memory to compile it"),
        (_fail, "batch size 2 on warboy: internal compiler error, ZeroDivisionError (odd …) in furiosa/"),
    ],
)
def test_a_child_that_ends_badly_ends_the_sweep(quantized_model, monkeypatch, end, words):
    """Its table would not be the same on another machine."""

    class Odd(Compilation):
        def run(self, until):
            if self.options.batch_size == 2:
                end(2)
            return super().run(until)

    monkeypatch.setattr(module, "Compilation", Odd)
    with pytest.raises(Interrupted) as e:
        sweep(quantized_model, Options(), [("warboy", n) for n in (1, 2, 3, 4)], jobs=2)
    assert str(e.value).startswith(words)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_when_the_parent_stops_no_child_stays(quantized_model):
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(quantized_model, Options(), WANTED, jobs=3, tell=stop)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
