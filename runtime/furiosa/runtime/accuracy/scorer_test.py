"""A user's scorer: what it gets, and what becomes of one that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from furiosa.runtime.accuracy.scorer import Scorer, ScorerFailed
from furiosa.runtime.errors import InvalidInput


def _value(folder: Path, program: Path, labels: bool = True) -> float:
    scorer = Scorer(str(program), str(folder / "given"), ["scores", "a/b", "labels"], 3)
    for k in range(3):
        outputs = [np.full((1, 2), k, np.float32), np.int8([k]), np.zeros((2, 2))]
        scorer.add(outputs, np.asarray(k) if labels else None, [])
    return scorer.value()


def test_a_python_file_gets_arrays_of_all_samples(tmp_path: Path) -> None:
    program = tmp_path / "scorer.py"
    program.write_text(
        "import os, sys, numpy as np\n"
        "folder = sys.argv[1]\n"
        "found = {n: np.load(f'{folder}/{n}') for n in sorted(os.listdir(folder))}\n"
        "assert list(found) == ['labels.npy', 'output_1.npy', 'output_2.npy', 'scores.npy'], list(found)\n"
        "assert found['labels.npy'].tolist() == [0, 1, 2] and found['output_1.npy'].shape == (3,)\n"
        "assert found['scores.npy'].tolist() == [[0, 0], [1, 1], [2, 2]] and found['output_2.npy'].shape == (3, 2, 2)\n"
        "print('a note')\n"
        "print(found['scores.npy'].sum())\n"
    )
    assert _value(tmp_path, program) == 6.0


def test_any_program_will_do(tmp_path: Path) -> None:
    program = tmp_path / "scorer"
    program.write_text('#!/bin/sh\ntest ! -e "$1/labels.npy" && test -s "$1/scores.npy" && echo -0.25\n')
    program.chmod(0o755)
    assert _value(tmp_path, program, labels=False) == -0.25


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("#!/bin/sh\nexit 3\n", 0o755, "ended with exit code 3"),
        ("#!/bin/sh\necho 1\necho good\n", 0o755, "must print a number on its last line, but printed 'good'"),
        ("#!/bin/sh\necho 1; echo nan\n", 0o755, "but printed 'nan'"),
        ("#!/bin/sh\n", 0o755, "but printed ''"),
        ("#!/bin/sh\necho 1\n", 0o644, "cannot be started: Permission denied"),
        ("no program", 0o755, "cannot be started: Exec format error"),
    ],
)
def test_a_scorer_that_fails_is_a_sentence(tmp_path: Path, text: str, mode: int, words: str) -> None:
    program = tmp_path / "scorer"
    program.write_text(text)
    program.chmod(mode)
    with pytest.raises(ScorerFailed, match=words):
        _value(tmp_path, program)


def test_arrays_of_one_shape(tmp_path: Path) -> None:
    scorer = Scorer("none", str(tmp_path / "given"), ["y"], 2)
    scorer.add([np.zeros((1, 2))], np.zeros(2), [])
    with pytest.raises(InvalidInput, match=r"labels.npy: \(3,\) \(float64\) of one sample, and \(\(2,\)"):
        scorer.add([np.zeros((1, 2))], np.zeros(3), [])
