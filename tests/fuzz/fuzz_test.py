"""The bounded run: the same damaged files every time, each refused with a documented error or handled."""

from __future__ import annotations

import os

import pytest

from tests.fuzz.workers import Worker

CASES = {"onnx": 150, "tflite": 200, "enf": 200, "bundle": 150}
FACTOR = int(os.environ.get("FUZZ_CASES", "1"))  # FUZZ_CASES=100: a hundred times as many


@pytest.mark.parametrize("target", CASES)
def test_damaged_files(target: str) -> None:
    with Worker(target) as worker:
        verdicts = [worker.run(number) for number in range(CASES[target] * FACTOR)]
    findings = [f"{target}:{v.number} {v.word}\n{v.finding}" for v in verdicts if v.finding is not None]
    assert not findings, "\n".join(findings[:5])
    words = {v.word for v in verdicts}
    expected = {"onnx": "compiled", "tflite": "compiled", "enf": "ran", "bundle": "verified"}[target]
    assert expected in words and len(words) > 1, words  # some go all the way, and some do not


def test_a_finding_is_told() -> None:
    """What a worker makes of an exception that is not documented, and of its own death."""
    with Worker("onnx") as worker:
        assert worker.run(0, b"no model").word == "code 4"
        worker._process.kill()
        died = worker.run(0)
        assert (died.word, died.finding) == ("crash", "the process died: SIGKILL")
        assert worker.run(1).finding is None  # by a new process
