"""``--auto-batch-size``: which batch sizes are tried, when the search ends, and what is chosen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from furiosa.compiler.errors import CompileError, InvalidModel, OutOfSram
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.tune import search
from furiosa.compiler.tune.point import Point, measure
from furiosa.compiler.tune.testing import mixing, point


@pytest.fixture
def machine(monkeypatch):
    """Puts throughputs by batch size, or errors, in the place of compilations."""

    def put(answers: dict[int, float | Point | CompileError], commands: int = 1) -> list[int]:
        compiled = []

        class Stand:
            beyond_dram = "the program needs too much"

            def __init__(self, data, options, **_):
                self.answer = answers[options.batch_size]
                self.size = options.batch_size
                self.lir = SimpleNamespace(commands=range(commands))

            def run(self, until):
                assert until == "lir"
                compiled.append(self.size)
                if isinstance(self.answer, CompileError):
                    raise self.answer
                return self

        monkeypatch.setattr(search, "Compilation", Stand)
        monkeypatch.setattr(
            search, "measure", lambda c: c.answer if isinstance(c.answer, Point) else point(c.size, c.answer)
        )
        return compiled

    return put


@pytest.mark.parametrize(
    ("answers", "chosen", "tried", "ended"),
    [
        ({1: 9, 2: 8, 4: 7}, 1, 3, "did not grow in 2 steps"),
        ({1: 5, 2: 9, 4: 8, 8: 7}, 2, 4, "did not grow"),
        ({1: 5, 2: 4, 4: 9, 8: 7, 16: 8}, 4, 5, "did not grow"),
        ({1: 5, 2: 5, 4: 5}, 1, 3, "did not grow"),
        ({1: 5, 2: 5.02, 4: 5.04}, 1, 3, "did not grow"),
        ({1: 1, 2: 2, 4: 3, 8: 4, 16: 5, 32: 6, 64: 7}, 64, 7, "64 is the largest that is tried"),
        ({1: 1, 2: 2, 4: 3, 8: 4, 16: 5, 32: 6, 64: 6}, 32, 7, "64 is the largest that is tried"),
        ({1: 5, 2: OutOfSram("no tile of 'a' fits")}, 1, 1, "no tile of 'a' fits"),
        ({1: 5, 2: 6, 4: InvalidModel("beyond 2 GiB")}, 2, 2, "beyond 2 GiB"),
        ({1: 5, 2: 6, 4: point(4, 9, fits_dram=False)}, 2, 2, "with 4, the program needs too much"),
        ({1: point(1, 9, fits_dram=False), 2: point(2, 9, fits_dram=False)}, 1, 1, "with 2, the"),
    ],
)
def test_rules(machine, answers, chosen, tried, ended):
    compiled = machine(answers)
    told = []
    choice = search.choose(b"", Options(), tell=told.append)
    assert choice.batch_size == chosen
    assert [p.batch_size for p in choice.tried] == list(search.CANDIDATES[:tried])
    assert told == choice.tried
    assert ended in choice.ended
    assert choice.is_refused == (len(compiled) > tried)
    assert compiled == list(answers)


def test_a_program_that_is_very_long_ends_the_search(machine):
    machine({1: 5.0}, commands=search.MAX_COMMANDS + 1)
    choice = search.choose(b"", Options())
    assert (choice.batch_size, choice.is_refused) == (1, False)
    assert "more than 131072 commands" in choice.ended


def test_a_model_that_cannot_be_compiled_at_all(machine):
    machine({1: OutOfSram("never fits")})
    with pytest.raises(OutOfSram, match="never fits"):
        search.choose(b"", Options())


@pytest.mark.parametrize("target", ["warboy", "warboy-2pe"])
def test_the_choice_is_the_best_of_all_candidates(quantized_model, target):
    """The stop rules lose nothing on a real model: all candidates compiled, none is better."""
    every = [measure(Compilation(quantized_model, Options(target, n)).run("lir")) for n in search.CANDIDATES]
    choice = search.choose(quantized_model, Options(target, batch_size=7))
    assert choice.tried == every[: len(choice.tried)]
    top = max(p.throughput_per_s for p in every)
    assert choice.batch_size == next(p.batch_size for p in every if p.throughput_per_s >= 0.99 * top)


def test_a_model_that_mixes_samples_stays_at_1():
    choice = search.choose(mixing(), Options())
    assert (choice.batch_size, choice.is_refused) == (1, True)
    assert choice.ended.startswith('batch size 2 is impossible for the tensor "y"')
