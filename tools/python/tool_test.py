"""The programs that build actions run: how many files and bytes they are, and that they need nothing of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = "furiosa_onnx_compiler"
MODEL = Path("examples/models/tiny_int8.onnx")
MAX_FILES, MAX_BYTES = 60, 60_000_000

pytestmark = pytest.mark.skipif(
    "TEST_SRCDIR" not in os.environ, reason="Bazel builds the programs: bazel test //tools/python:tests"
)


def _tool(name: str = COMPILER) -> Path:
    return Path.cwd() / "compiler" / name


def _files(name: str) -> list[Path]:
    return [p for p in _tool().with_name(f"{name}.files").rglob("*") if p.is_file()]


def _run(tool: Path | str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool, *arguments], check=False, capture_output=True, text=True, env={}, cwd=cwd)


def test_the_compiler_is_few_files() -> None:
    files = _files(COMPILER)
    assert 10 < len(files) <= MAX_FILES
    assert sum(p.stat().st_size for p in files) <= MAX_BYTES


@pytest.mark.parametrize("name", ["furiosa_compiler", "furiosa_verifier"])
def test_the_others_are_few_files(name: str) -> None:
    assert 10 < len(_files(name)) <= MAX_FILES


@pytest.mark.parametrize("is_relative", [True, False])
def test_it_compiles_with_an_empty_environment_from_anywhere(tmp_path: Path, is_relative: bool) -> None:
    tool = os.path.relpath(_tool(), tmp_path) if is_relative else _tool()
    done = _run(tool, "compile", MODEL.absolute(), "-o", tmp_path / "x.enf", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verified = _run(_tool("furiosa_verifier"), "enf", "verify", tmp_path / "x.enf", cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr


def test_it_is_found_from_its_own_folder() -> None:
    done = _run("./" + COMPILER, "--version", cwd=_tool().parent)
    assert done.returncode == 0 and done.stdout.startswith("furiosa-compiler "), done.stderr


def test_without_its_interpreter_it_says_so(tmp_path: Path) -> None:
    lines = _tool().read_text().splitlines(keepends=True)
    [loop] = [line for line in lines if line.startswith("for python in")]
    changed = [f'for python in "{tmp_path}/python3"; do\n' if line is loop else line for line in lines]
    tool = tmp_path / "tool"
    tool.write_text("".join(changed))
    tool.chmod(0o755)
    done = _run(tool, "--version", cwd=tmp_path)
    assert done.returncode == 127
    assert done.stderr.startswith("ERROR: furiosa_onnx_compiler: none of the Python interpreters")


def test_errors_are_one_line_from_the_archive_too(tmp_path: Path) -> None:
    shutil.copy(MODEL, tmp_path / "cut.onnx")
    os.truncate(tmp_path / "cut.onnx", 100)
    done = _run(_tool(), "compile", "cut.onnx", "-o", "x.enf", cwd=tmp_path)
    assert done.returncode not in (0, 1) and "Traceback" not in done.stderr
    assert done.stderr.startswith("ERROR: ") and len(done.stderr.splitlines()) <= 3, done.stderr
