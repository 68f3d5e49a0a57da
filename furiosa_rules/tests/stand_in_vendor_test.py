"""What npu_model builds with the vendor's commands, and that their stand-in refuses what they do not document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runfiles import Runfiles
from stand_in_vendor import Refused, check


@pytest.mark.parametrize("command", ["furiosa-compiler", "furiosa-compile", "furiosa compile"])
def test_built_by_the_command(command: str) -> None:
    path = Runfiles.Create().Rlocation(
        f"furiosa_rules/furiosa_rules/tests/built_by_{command.replace(' ', '_')}"
    )
    assert json.loads(Path(path).read_text(encoding="ascii")) == {
        "command": command,
        "source": "generated.onnx",
        "target_npu": "warboy",
        "batch_size": 4,
        "verbose": True,
        "no_cache": True if command == "furiosa-compiler" else None,
    }


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("furiosa-compiler", "-o a.enf --report-json a.json m.onnx", "unrecognized arguments: --report-json"),
        ("furiosa-compiler", "-o a.enf --min-npu-coverage 1 m.onnx", "unrecognized arguments"),
        ("furiosa-compiler", "compile -o a.enf m.onnx", "unrecognized arguments"),
        ("furiosa-compiler", "-o a.enf @m.onnx.params", "is none of"),
        ("furiosa-compiler", "-o /tmp/a.enf m.onnx", "is an absolute path"),
        ("furiosa-compiler", "m.onnx", "no output is named"),
        ("furiosa-compiler", "-o a.enf --target-npu warb m.onnx", "invalid choice: 'warb'"),
        ("furiosa-compile", "-o a.enf --no-cache m.onnx", "unrecognized arguments: --no-cache"),
        ("furiosa-compile", "--output a.enf m.onnx", "unrecognized arguments: --output"),
        ("furiosa-compile", "-o a.enf --compatibility 0.6.3 m.onnx", "unrecognized arguments"),
        ("furiosa compile", "-o a.enf m.onnx", "the first argument is not `compile`"),
        ("furiosa", "-o a.enf m.onnx", "STAND_IN_FOR is 'furiosa'"),
    ],
)
def test_undocumented(command: str, arguments: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        check(command, arguments.split())
