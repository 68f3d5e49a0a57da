"""Lines come while something is done, and none after it."""

from __future__ import annotations

import re
import time

import pytest

from furiosa.enf import progress


def test_what_is_done_is_told_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    err = ""
    with progress.Activity("m.onnx") as activity:
        activity.now("from cdfg to gir")
        activity.detail("cluster 3 of 9")
        deadline = time.monotonic() + 60
        while err.count("\n") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
            err += capsys.readouterr().err
    capsys.readouterr()
    lines = err.splitlines()
    assert any(
        re.fullmatch(r"m\.onnx: \d+ s so far, from cdfg to gir, cluster 3 of 9", line) for line in lines
    )
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_nothing_is_said_of_what_is_quick(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), progress.Activity("m.onnx"):
        raise KeyError
    assert capsys.readouterr().err == ""
