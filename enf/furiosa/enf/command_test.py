"""How commands end: exit codes, one line, and no traceback unless it is asked for."""

from __future__ import annotations

import io
import sys

import pytest

from furiosa.enf import command
from furiosa.enf.errors import EnfFormatError


def ends(e: BaseException, argv: list[str] = [], **options) -> int:  # noqa: B006
    def fail(_: list[str]) -> None:
        raise e

    return command.run(fail, "furiosa x", argv, **options)


class NoMemory(MemoryError):
    """As numpy's own."""


def told() -> list[tuple[BaseException, int, str]]:
    missing = ModuleNotFoundError("No module named 'onnx'", name="onnx")
    broken = ImportError("libx.so: cannot open shared object file", name="onnx")
    return [
        (command.CommandError(7, "seven"), 7, "seven"),
        (EnfFormatError("odd"), 4, "odd"),
        (FileNotFoundError(2, "No such file or directory", "a.npy"), 2, "a.npy: No such file or directory"),
        (PermissionError(13, "Permission denied", b"a.npy"), 2, "a.npy: Permission denied"),
        (OSError(28, "No space left on device"), 2, "cannot write the output: No space left on device"),
        (TimeoutError(), 2, "cannot write the output: TimeoutError"),
        (MemoryError(), 13, "not enough memory"),
        (NoMemory("Unable to allocate 8 GiB"), 13, "not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), 13, "what it was given is nested too deeply"),
        (missing, 13, "'furiosa x' needs the Python package onnx, which is not installed"),
        (broken, 13, "'furiosa x' cannot load the Python package onnx: libx.so: "),
    ]


@pytest.mark.parametrize(("e", "code", "words"), told(), ids=lambda v: type(v).__name__)
def test_what_has_a_sentence(e, code, words, capsys):
    assert ends(e, ["-v"] if code != 13 else []) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"ERROR: {words}") and err.count("\n") == 1


@pytest.mark.parametrize(
    "e", [KeyError("k"), AssertionError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), StopIteration()]
)
def test_what_nobody_has_foreseen(e, capsys):
    assert ends(e, subject=lambda: "m.onnx", internal_error="internal compiler error") == 13
    err = capsys.readouterr().err
    assert err.startswith(f"ERROR: m.onnx: internal compiler error, {type(e).__name__}")
    assert err.endswith(f"; {command.PLEASE_REPORT}\n") and err.count("\n") == 1


def test_it_says_where(capsys):
    """The innermost place in this project's code: a library's own lines say nothing to who looks for the reason."""
    from furiosa.enf import dtypes

    assert command.run(lambda _: dtypes.NAME["x"].upper(), "furiosa x", []) == 13
    assert " in furiosa/enf/command_test.py, line " in capsys.readouterr().err


def test_names_of_strangers_stay_on_the_line(capsys):
    assert ends(KeyError("a\nERROR: \x1b[31m\udc80\u2028" + "é" * 5000)) == 13
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "\x1b" not in err and len(err) < 1000 and command.PLEASE_REPORT in err


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
def test_the_traceback_is_for_who_asks(flag, capsys):
    assert ends(KeyError("k"), [flag]) == 13
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n") and "KeyError: 'k'" in err
    assert err.splitlines()[-1].startswith("ERROR: internal error, KeyError")


@pytest.mark.parametrize(
    ("e", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 141), (SystemExit(0), 0)]
)
def test_what_is_not_told(e, code, capsys, monkeypatch):
    monkeypatch.setattr(command, "_abandon", lambda stream: None)  # the test's own
    assert ends(e) == code
    assert capsys.readouterr() == ("", "")


def test_success(capsys):
    assert [command.run(lambda _, s=s: s, "furiosa x", []) for s in (None, 0, 1)] == [0, 0, 1]
    assert capsys.readouterr() == ("", "")


def test_the_arguments_are_those_of_the_process_where_none_are_given(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["furiosa", "a", "b"])
    assert command.run(lambda argv: len(argv), "furiosa x", None) == 2


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_no_stderr_at_all(stream, monkeypatch):
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert ends(KeyError("k"), ["-v"]) == 13


def test_a_terminal_that_knows_only_ascii(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    assert command.run(lambda _: print("größe …"), "furiosa x", []) == 0
    assert stream.buffer.getvalue() == b"gr\\xf6\\xdfe \\u2026\n"


def test_every_command_has_the_option(capsys):
    p = command.Parser(prog="x")
    p.add_subparsers().add_parser("y")
    assert p.parse_args(["y", "-v"]).verbose and p.parse_args(["-v"]).verbose
    with pytest.raises(command.CommandError, match=r"unrecognized arguments: --frob; see x -h"):
        p.parse_args(["--frob"])
