"""A bounded run of what ``bazel run //tests:faults_run`` does at length: a few moments of each kind of fault."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults import kinds
from tests.faults.trials import Tally

FACTOR = int(os.environ.get("FAULTS", "1"))  # FAULTS=20: twenty times as many moments


@pytest.mark.parametrize("name", [name for name, kind in kinds.KINDS.items() if kind.few])
def test_faults(name: str) -> None:
    tally = kinds.sample(name, FACTOR)
    assert not tally.findings, "\n".join(
        f"{name}, number {n}: {word}\n{text}" for n, word, text in tally.findings[:3]
    )
    assert tally.trials > 1, tally.words  # the fault came, and was seen


def test_findings_are_told() -> None:
    """What is made of wrong numbers, of a process that dies and of one that hangs."""
    from tests.faults import trials

    def trial(number: int) -> str:
        assert number != 1, "wrong numbers"
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3:
            while True:
                pass
        return "right"

    patience, trials.SECONDS = trials.SECONDS, 1.0
    try:
        tally: Tally = trials.sweep(trial, range(6))
    finally:
        trials.SECONDS = patience
    assert tally.words == {"right": 3, "wrong": 1, "crash": 1, "hang": 1}
    assert [(n, word) for n, word, _ in tally.findings] == [(1, "wrong"), (2, "crash"), (3, "hang")]
    assert "wrong numbers" in tally.findings[0][2]
