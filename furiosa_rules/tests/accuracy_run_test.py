"""What npu_accuracy_test says when it is run: gates kept and broken, shards, scorers, images."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from runfiles import Runfiles

HERE = "furiosa_rules/furiosa_rules/tests"


def _run(name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a test target as Bazel does: from the folder of its repository in its runfiles."""
    path = Path(Runfiles.Create().Rlocation(f"{HERE}/{name}"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TEST_")}
    return subprocess.run(
        [path], cwd=path.parents[2], env=kept | variables, check=False, capture_output=True, text=True
    )


def _passed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "passed"
    return done.stdout


def test_a_gate_that_is_kept(tmp_path: Path) -> None:
    assert "drop from float" in _passed(_run("accuracy_kept", TEST_UNDECLARED_OUTPUTS_DIR=str(tmp_path)))
    found = json.loads((tmp_path / "accuracy.json").read_text())
    assert found["samples"] == 397 and found["shard"] is None and found["failures"] == []
    assert found["values"]["float"]["value"] > 0.97


def test_a_gate_that_is_broken() -> None:
    done = _run("accuracy_broken")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED: top-1 accuracy is 0.98" in done.stdout and "below the least of 0.999" in done.stdout


def test_shards(tmp_path: Path) -> None:
    counts = []
    for index in ("0", "1", "2"):
        status = tmp_path / index
        variables = {
            "TEST_TOTAL_SHARDS": "3",
            "TEST_SHARD_INDEX": index,
            "TEST_SHARD_STATUS_FILE": str(status),
        }
        _passed(_run("accuracy_kept", TEST_UNDECLARED_OUTPUTS_DIR=str(tmp_path), **variables))
        found = json.loads((tmp_path / "accuracy.json").read_text())
        counts.append(found["samples"])
        assert status.exists() and found["shard"] == {"index": int(index), "count": 3}
    assert sum(counts) == 397


@pytest.mark.parametrize("name", ["accuracy_scored", "accuracy_scored_by_file"])
def test_a_scorer(name: str) -> None:
    assert "the score of wrong_share" in _passed(_run(name))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "accuracy_without_labels",
            "calibration.npz: there are no labels; a .npz file has them in an array 'labels'",
        ),
        (
            "accuracy_of_a_wrong_shape",
            "'image': expected (1, 1, 8, 8) (float32) but got (3, 1, 7, 7) (float32)",
        ),
    ],
)
def test_samples_that_do_not_fit(name: str, words: str) -> None:
    done = _run(name)
    assert done.returncode == 255 and not done.stdout, done.stdout + done.stderr
    assert done.stderr.startswith("ERROR: ") and done.stderr.count("\n") == 1 and words in done.stderr


def test_images() -> None:
    assert "SQNR in dB on 1 sample" in _passed(_run("accuracy_of_images"))
    done = _run("comparison_of_images")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 input (given)" in done.stdout and "All elements are equal." in done.stdout
