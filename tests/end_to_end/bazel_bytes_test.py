"""What the rule npu_model writes is, byte for byte, what the library writes in this process and the command in another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runfiles import Runfiles

from furiosa.compiler.pipeline import compile_model

FOLDER = "furiosa_rules/examples/models"


@pytest.fixture(scope="module")
def built() -> tuple[bytes, bytes]:
    """The tiny example model and its ENF, as Bazel built them."""
    runfiles = Runfiles.Create()
    if runfiles is None:
        pytest.skip("compares what Bazel has built: run it as //tests:bazel_bytes_test")
    return tuple(
        Path(runfiles.Rlocation(f"{FOLDER}/{n}")).read_bytes() for n in ("tiny_int8.onnx", "tiny.enf")
    )


def test_the_library_writes_the_same(built: tuple[bytes, bytes]) -> None:
    model, enf = built
    assert compile_model(model) == enf


def test_the_command_writes_the_same(built: tuple[bytes, bytes], tmp_path: Path) -> None:
    model, enf = built
    (tmp_path / "other name.onnx").write_bytes(model)
    command = [sys.executable, "-m", "furiosa.compiler.cli.main", "compile", "other name.onnx"]
    subprocess.run(
        command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert (tmp_path / "output.enf").read_bytes() == enf
