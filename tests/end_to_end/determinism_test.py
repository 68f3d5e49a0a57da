"""The same model, options and compiler give the same bytes, whatever is around them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from generator.__main__ import build

SURROUNDINGS = {
    "hash seed 0": {"PYTHONHASHSEED": "0"},
    "hash seed 1": {"PYTHONHASHSEED": "1"},
    "hash seed random": {"PYTHONHASHSEED": "random"},
    "one thread": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    "another time zone": {"TZ": "Pacific/Kiritimati"},
    "another locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "another home and user": {"HOME": "/nonexistent", "USER": "somebody", "LOGNAME": "somebody"},
}
REPORTS = {
    "--report-json": "r",
    "--report": "p",
    "--analyze-memory": "m",
    "--chrome-trace": "t",
    "--dot-graph": "d",
}
MODELS = ("tiny_model", "tiny_float_model")


def _compile(
    model: bytes,
    folder: Path,
    environment: dict[str, str],
    name: str,
    *options: str,
    reports: bool = False,
) -> str:
    """The digest of the ENF, or those of all reports."""
    folder.mkdir(parents=True)
    source = folder / name
    source.write_bytes(model)
    command = [
        sys.executable,
        "-m",
        "furiosa.compiler.cli.main",
        "compile",
        str(source),
        "-o",
        str(folder / "x.enf"),
        *options,
        *(f"{option}={folder / name}" for option, name in REPORTS.items() if reports),
    ]
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        command, check=True, env={"PATH": os.environ.get("PATH", "")} | paths | environment, cwd=folder
    )
    written = REPORTS.values() if reports else ("x.enf",)
    return " ".join(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in written)


@pytest.mark.parametrize("model", MODELS)
def test_same_bytes_everywhere(model: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    data = request.getfixturevalue(model)
    digests = {}
    for i, (what, environment) in enumerate(SURROUNDINGS.items()):
        folder = tmp_path / ("deep/" * i) / f"folder {i}"
        digests[what] = _compile(data, folder, environment, f"model_{i}.onnx")
    assert len(set(digests.values())) == 1, digests


def test_same_reports_everywhere(tiny_model: bytes, tmp_path: Path) -> None:
    """They have the file's name in them, and nothing else of where they were made."""
    digests = {}
    for i, (what, environment) in enumerate(SURROUNDINGS.items()):
        folder = tmp_path / ("deep/" * i) / f"folder {i}"
        digests[what] = _compile(tiny_model, folder, environment, "model.onnx", reports=True)
    assert len(set(digests.values())) == 1, digests


@pytest.mark.parametrize("level", ["1", "2"])
def test_same_search_everywhere(level: str, tmp_path: Path) -> None:
    """Of a program whose tensors do not fit SRAM, so that cascades are compared."""
    data = build("ssd_mobilenet", "int8").SerializeToString(deterministic=True)
    options = ("--target-npu=warboy", "--batch-size=8", f"--optimize={level}")
    digests = {}
    for what, environment in list(SURROUNDINGS.items())[:3]:
        digests[what] = _compile(data, tmp_path / what, environment, "model.onnx", *options)
    assert len(set(digests.values())) == 1, digests
