"""Standard streams that are closed or full: a command does its work, or ends with a documented exit code; files are whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from furiosa.compiler.frontend.onnx.testing import model
from furiosa.runtime import session

FURIOSA = f"{sys.executable} -m furiosa.compiler.cli.main"
# the last redirection of each wins; a full disk as standard output is an error only for who writes there
STREAMS = [
    ("<&-", 0),
    (">&-", 0),
    ("2>&-", 0),
    (">&- 2>&-", 0),
    ("<&- >&- 2>&-", 0),
    ("2>/dev/full", 0),
    (">/dev/full", 2),
    (">/dev/full 2>/dev/full", 2),
]
# command, whether it writes to standard output
COMMANDS = [
    ("compile float.onnx -v -o out", False),
    ("run m.enf --random 1 -o out", True),
    ("enf dump m.enf --json", True),
    ("bundle list v.tar", True),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    # a model of the host: compiling it warns on standard error, and its runtime is a library that may print
    (folder / "float.onnx").write_bytes(model("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"))
    (folder / "setup").write_text(
        f"{FURIOSA} compile float.onnx -o m.enf && {FURIOSA} bundle pack -o v.tar --model m=m.enf"
    )
    subprocess.run(["sh", "setup"], cwd=folder, env=_environment(), check=True, capture_output=True)
    return folder


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.mark.parametrize(("command", "prints"), COMMANDS, ids=[c.split(" -")[0] for c, _ in COMMANDS])
@pytest.mark.parametrize(("streams", "status"), STREAMS, ids=[s for s, _ in STREAMS])
def test_a_command_does_its_work(folder: Path, command: str, prints: bool, streams: str, status: int) -> None:
    if "/dev/full" in streams and not os.path.exists("/dev/full"):
        pytest.skip("/dev/full, which is always full, is Linux's")
    out = folder / "out"
    out.unlink(missing_ok=True)
    done = subprocess.run(
        ["sh", "-c", f"exec {FURIOSA} {command} {streams}"],
        cwd=folder,
        env=_environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == (status if prints else 0), done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    if command.startswith("compile"):
        assert out.read_bytes() == (folder / "m.enf").read_bytes()
        session.create(out).close()
    elif "-o out" in command and not status:
        assert out.read_bytes()[:2] == b"PK"


def test_a_reader_that_has_seen_enough(folder: Path) -> None:
    script = f"{{ {FURIOSA} enf dump m.enf --json; echo $? >status; }} | head -c 1"
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=_environment(), check=True, capture_output=True, text=True
    )
    assert done.stderr == "" and int((folder / "status").read_text()) in (0, 141)
