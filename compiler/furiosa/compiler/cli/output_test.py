"""Outputs: all of them or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from furiosa.compiler.cli.output import Outputs


def test_nothing_is_seen_before_the_end(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"old")
    with Outputs() as outputs:
        outputs.open(str(a)).write(b"new")
        outputs.open(str(b)).write(b"b")
        assert a.read_bytes() == b"old" and not b.exists()
    assert (a.read_bytes(), b.read_bytes()) == (b"new", b"b")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_removes_what_was_written(tmp_path, error):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error), Outputs() as outputs:
        outputs.open(str(tmp_path / "a")).write(b"new")
        outputs.open(str(tmp_path / "b"))
        raise error
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_left_over_temporary_file_is_no_hindrance(tmp_path):
    left = tmp_path / f".furiosa.{os.getpid()}.0.tmp"
    left.write_bytes(b"of a process that was killed")
    with Outputs() as outputs:
        outputs.open(str(tmp_path / "a")).write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert left.read_bytes() == b"of a process that was killed"


def test_a_file_that_cannot_be_renamed_leaves_no_temporary_file(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError), Outputs() as outputs:
        outputs.open(str(tmp_path / "a"))
    assert list(Path(tmp_path).iterdir()) == []
