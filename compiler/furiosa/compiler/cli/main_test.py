"""The command ``furiosa``: sub-commands, argument files, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from furiosa.compiler import __version__
from furiosa.compiler.cli import main as cli
from furiosa.compiler.cli.main import main


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A sub-command "echo" that records its arguments and returns 7."""
    calls: list[list[str]] = []
    module = types.ModuleType("echo_command")
    module.run = lambda argv: calls.append(argv) or 7
    monkeypatch.setitem(sys.modules, "echo_command", module)
    monkeypatch.setitem(cli.COMMANDS, "echo", ("echo_command", "run", "echoes"))
    return calls


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def test_a_sub_command_gets_the_rest_and_gives_the_status(echo):
    assert main(["echo", "a", "--b", "-h"]) == 7
    assert echo == [["a", "--b", "-h"]]


def test_argument_file(echo, tmp_path):
    """Lines are arguments as they stand: blanks, quotes, backslashes and a leading @ mean nothing in them."""
    (tmp_path / "p").write_bytes(b"echo\na b\n\n'c'\\\n@d\n\xc3\xa9\r\n")
    assert main([f"@{tmp_path}/p", "last"]) == 7
    assert echo == [["a b", "", "'c'\\", "@d", "é\r", "last"]]


def test_argument_file_without_a_last_line_end(echo, tmp_path):
    (tmp_path / "p").write_text("x\ny")
    (tmp_path / "empty").write_text("")
    assert main(["echo", f"@{tmp_path}/p", f"@{tmp_path}/empty"]) == 7
    assert echo == [["x", "y"]]


def test_help(capsys):
    assert main(["-h"]) == main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("compile", "enf", "bundle", "run"):
        assert f"\n  {command} " in out


@pytest.mark.parametrize("argv", [["--version"], ["compile", "--version"]])
def test_version(capsys, argv):
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"furiosa-compiler {__version__}" and lines[1].startswith("ENF ") and len(lines) == 2


@pytest.mark.parametrize("argv", [[], ["fly"], ["--fly"]])
def test_no_such_command(capsys, argv):
    assert main(argv) == 255
    err = capsys.readouterr().err
    assert err.startswith("ERROR: ") and err.count("\n") == 1 and "compile" in err


def test_a_package_that_is_not_installed(capsys, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "run", ("furiosa.no_such_room.cli", "run_main", ""))
    assert main(["run", "x"]) == 13
    assert capsys.readouterr().err == (
        "ERROR: 'furiosa run' needs the Python package furiosa.no_such_room, which is not installed\n"
    )


def test_interrupted(capsys, monkeypatch, tmp_path, quantized_model):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(quantized_model)
    monkeypatch.setattr("furiosa.enf.container.write", interrupt)
    assert main(["compile", "m.onnx"]) == 130
    assert capsys.readouterr().err == ""
    assert os.listdir() == ["m.onnx"]


def test_furiosa_compile_is_furiosa_compile(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["furiosa-compile", "--description"])
    monkeypatch.setattr(cli.gc, "freeze", lambda: None)  # the test's process goes on
    monkeypatch.setattr("furiosa.enf.leaving.on_signals", lambda: None)
    assert cli.compile_main() == 0
    assert capsys.readouterr().out.startswith("Compiles ")


def test_the_command_itself_is_light():
    """What takes long to import waits until a model is compiled."""
    code = "import sys; from furiosa.compiler.cli.main import main; main(['compile', '--description']); print(*sys.modules)"
    modules = set(python(code).stdout.split())
    assert "furiosa.compiler.cli.arguments" in modules
    assert not modules & {"numpy", "onnx", "google", "tflite", "onnxruntime", "ai_edge_litert", "shutil"}


def test_a_reader_that_goes_away():
    code = "import sys; from furiosa.compiler.cli import main as m\nsys.exit(m.main(['-h']))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_furiosa_bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["furiosa-bench", "-h"])
    monkeypatch.setattr(cli.gc, "freeze", lambda: None)
    assert cli.bench_main() == 0
    assert capsys.readouterr().out.startswith("usage: furiosa bench ")
