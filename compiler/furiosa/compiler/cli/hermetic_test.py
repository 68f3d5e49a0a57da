"""A hermetic command opens the files that it was named, and what Python and its libraries consist of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

# Runs a command line, and writes to the file of the first argument what the process opened, listed, ran or connected to.
_WATCHED = """
import json, sys
seen = []
sys.addaudithook(lambda event, args: seen.append((event, str(args[0]))) if event in EVENTS else None)
EVENTS = ("open", "os.listdir", "os.scandir", "os.system", "subprocess.Popen", "socket.connect")
from furiosa.compiler.cli.main import main
status = main(sys.argv[2:])
taken, seen = seen, []
json.dump(taken, open(sys.argv[1], "w"))
sys.exit(status)
"""


def _opened(folder: Path, *arguments: str) -> set[str]:
    """What a command opened in or below no folder of Python's, by path or as a kind of event."""
    log = folder / "log.json"
    path = [os.path.abspath(p) for p in sys.path]
    environment = {
        "PATH": "",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "out"),
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-P", "-c", _WATCHED, str(log), *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
    own = tuple(os.path.join(p, "") for p in (*path, sys.prefix, sys.base_prefix, "/proc/self"))
    found = set()
    for event, what in json.loads(log.read_text()):
        path = os.path.join(os.path.abspath(folder / what), "")
        if event not in ("open", "os.listdir", "os.scandir"):
            found.add(event)
        elif not what.isdigit() and not path.startswith(own):
            found.add(what)
    return found


@pytest.fixture
def folder(quantized_model: bytes, tmp_path: Path) -> Path:
    """A model with its data, and what might be found without having been named."""
    model = onnx.load_from_string(quantized_model)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    for name in (
        ".furiosarc",
        "home/.furiosarc",
        "home/.config/furiosa/config.toml",
        "m.json",
        "w.bin.sha256",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("not to be read")
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("compile", "-o", "out/m.enf", "--report-json", "out/r.json", "--dot-graph", "out/m.dot"),
        ("compile", "--report", "out/r.html", "--chrome-trace", "out/t.json", "-o", "out/m.enf", "--optimize", "2"),
        ("compile", "--auto-batch-size", "-o", "out/m.enf"),
        ("tune", "--batch-sizes", "1,2", "--jobs", "1", "-o", "out/t.json"),
    ],
)  # fmt: skip
def test_what_is_opened(command: tuple[str, ...], folder: Path) -> None:
    name, *options = command
    found = _opened(folder, name, "m.onnx", "--hermetic", "--data", "w.bin", *options)
    written = {w for w in found if os.path.abspath(folder / w).startswith(str(folder / "out"))}
    assert written and found - written == {"m.onnx", "w.bin"}
