"""What goes to stderr."""

from __future__ import annotations

import io
import sys

import pytest

from furiosa.compiler.cli import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\udc80é", "\\udc80é"),
        ("\u2028", "\\u2028"),
    ],
)
def test_printable(text, shown):
    assert terminal.printable(text) == shown


def test_progress_without_emoji_where_the_terminal_knows_none(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    progress = terminal.Progress(1, loud=True)
    progress.stage("onnx", "dfg")
    progress.done()
    progress.finish()
    lines = stream.buffer.getvalue().decode("ascii").splitlines()
    assert lines[0] == "[1/1] Compiling from onnx to dfg"
    assert lines[1].startswith("Done in ") and lines[2].startswith("Finished in ")


def test_quiet_progress(capsys):
    progress = terminal.Progress(1, loud=False)
    progress.stage("onnx", "dfg")
    progress.done()
    progress.finish()
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_went_away_is_no_error(monkeypatch):
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    terminal.error("nobody reads this")
