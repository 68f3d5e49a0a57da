"""Tests of the command line."""

from __future__ import annotations

import os

import onnx
import pytest

from generator.__main__ import build, main


def test_writes_the_model(tmp_path):
    path = tmp_path / "tiny.onnx"
    assert main(["--model", "tiny", "--precision", "int8", "--output", str(path)]) == 0
    assert onnx.load(path) == build("tiny", "int8")
    assert os.listdir(tmp_path) == ["tiny.onnx"]


def test_a_missing_folder_is_one_clear_line(tmp_path, capsys):
    path = tmp_path / "missing" / "tiny.onnx"
    assert main(["--model", "tiny", "--output", str(path)]) == 1
    assert capsys.readouterr().err == f"generator: cannot write {path}: No such file or directory\n"


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "tiny.onnx").mkdir()
    assert main(["--model", "tiny", "--output", str(tmp_path / "tiny.onnx")]) == 1
    assert os.listdir(tmp_path) == ["tiny.onnx"]


@pytest.mark.parametrize("arguments", [[], ["--model", "alexnet", "--output", "x"], ["--model", "tiny"]])
def test_bad_arguments(arguments):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
