"""What goes to stderr."""

from __future__ import annotations

import io
import sys

from furiosa.compiler.cli import terminal


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
