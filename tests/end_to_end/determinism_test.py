"""The same model, options and compiler give the same bytes, whatever is around them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
MODELS = ("tiny_model", "tiny_float_model")


def _compile(model: bytes, folder: Path, environment: dict[str, str], name: str) -> str:
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
    ]
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        command, check=True, env={"PATH": os.environ.get("PATH", "")} | paths | environment, cwd=folder
    )
    return hashlib.sha256((folder / "x.enf").read_bytes()).hexdigest()


@pytest.mark.parametrize("model", MODELS)
def test_same_bytes_everywhere(model: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    data = request.getfixturevalue(model)
    digests = {}
    for i, (what, environment) in enumerate(SURROUNDINGS.items()):
        folder = tmp_path / ("deep/" * i) / f"folder {i}"
        digests[what] = _compile(data, folder, environment, f"model_{i}.onnx")
    assert len(set(digests.values())) == 1, digests
