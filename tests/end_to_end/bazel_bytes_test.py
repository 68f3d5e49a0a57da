"""What the rule npu_model writes is, byte for byte, what the library writes in this process and the command in another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from furiosa.compiler.pipeline import compile_model

FOLDER = "furiosa_rules/examples/models"


PAGES = {"--report": "report.html", "--analyze-memory": "memory.html", "--chrome-trace": "trace.json"}


def read(name: str) -> bytes:
    """A file of the example models, as Bazel built it."""
    if "RUNFILES_DIR" not in os.environ and "TEST_SRCDIR" not in os.environ:
        pytest.skip("compares what Bazel has built: run it as //tests:bazel_bytes_test")
    from runfiles import Runfiles

    runfiles = Runfiles.Create()
    return Path(runfiles.Rlocation(f"{FOLDER}/{name}")).read_bytes()


@pytest.fixture(scope="module")
def built() -> tuple[bytes, bytes]:
    """The tiny example model and its ENF."""
    return read("tiny_int8.onnx"), read("tiny.enf")


def test_the_library_writes_the_same(built: tuple[bytes, bytes]) -> None:
    model, enf = built
    assert compile_model(model) == enf


def test_the_command_writes_the_same(built: tuple[bytes, bytes], tmp_path: Path) -> None:
    model, enf = built
    (tmp_path / "other name.onnx").write_bytes(model)
    compile_in(tmp_path, "other name.onnx")
    assert (tmp_path / "output.enf").read_bytes() == enf


def test_the_command_writes_the_same_pages(built: tuple[bytes, bytes], tmp_path: Path) -> None:
    """The output groups html, memory and trace."""
    (tmp_path / "tiny_int8.onnx").write_bytes(built[0])
    compile_in(tmp_path, "tiny_int8.onnx", *(x for pair in PAGES.items() for x in pair))
    for name in PAGES.values():
        assert (tmp_path / name).read_bytes() == read(f"tiny.{name}")


def compile_in(folder: Path, *argv: str) -> None:
    command = [sys.executable, "-m", "furiosa.compiler.cli.main", "compile", *argv]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, cwd=folder, env=environment)
