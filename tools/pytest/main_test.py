"""The entry point of pytest_test: what a shard, a filter and a file without tests end in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = Path(__file__).with_name("main.py")


def run(folder: Path, *files: str, **env: str) -> tuple[int, str]:
    """The exit code and the output of the entry point over `files` of `folder`."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("TEST_", "TESTBRIDGE", "XML_", "PYTEST"))
    }
    done = subprocess.run(
        [sys.executable, str(MAIN), *files],
        check=False,
        cwd=folder,
        env={**clean, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def write(folder: Path, count: int, tests: int = 2) -> list[str]:
    """`count` files of `tests` tests each; returns their names."""
    names = [f"part{i}_test.py" for i in range(count)]
    for name in names:
        (folder / name).write_text("".join(f"def test_{i}():\n    pass\n" for i in range(tests)))
    return names


@pytest.mark.parametrize("count", [2, 10])
def test_the_shards_run_every_test_once(tmp_path: Path, count: int) -> None:
    """Few files are shared out by test, many by file."""
    names = write(tmp_path, count)
    passed = 0
    for shard in range(2):
        env = {
            "TEST_TOTAL_SHARDS": "2",
            "TEST_SHARD_INDEX": str(shard),
            "TEST_SHARD_STATUS_FILE": str(tmp_path / "status"),
        }
        code, text = run(tmp_path, *names, **env)
        assert code == 0, text
        passed += int(text.split(" passed")[0].split()[-1])
    assert passed == 2 * count


@pytest.mark.parametrize(
    "env", [{}, {"TEST_TOTAL_SHARDS": "2", "TEST_SHARD_INDEX": "0"}, {"TESTBRIDGE_TEST_ONLY": "test_1"}]
)
def test_a_file_without_tests_fails(tmp_path: Path, env: dict[str, str]) -> None:
    """In every shard and under every filter, and by its name."""
    names = write(tmp_path, 3)
    (tmp_path / "empty_test.py").write_text("")
    if env.get("TEST_TOTAL_SHARDS"):
        env = {**env, "TEST_SHARD_STATUS_FILE": str(tmp_path / "status")}
    code, text = run(tmp_path, *names, "empty_test.py", **env)
    assert code == pytest.ExitCode.USAGE_ERROR, text
    assert "no test was found in empty_test.py" in text


def test_a_filter_that_leaves_nothing_passes(tmp_path: Path) -> None:
    """Bazel gives --test_filter to every target."""
    assert run(tmp_path, *write(tmp_path, 2), TESTBRIDGE_TEST_ONLY="none_such")[0] == 0
    assert run(tmp_path, *write(tmp_path, 2))[0] == 0
