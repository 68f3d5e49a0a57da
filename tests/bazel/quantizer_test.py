"""Bazel in Bazel: a float model becomes an int8 program; what a change runs again; the same bytes in another folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from inner_bazel import InnerBazel, copy_checkout, executions, scratch

_TARGET = "@furiosa_rules//examples/digits:digits_enf"
_STEPS = ("NpuCalibrate", "NpuQuantize", "NpuCompile")


@pytest.fixture(scope="module")
def checkout() -> Path:
    return copy_checkout(scratch() / "first")


@pytest.fixture(scope="module")
def bazel(checkout: Path) -> Iterator[InnerBazel]:
    with InnerBazel(checkout / "examples/smoke", "quantizer") as inner:
        yield inner


def _ran(bazel: InnerBazel, *flags: str) -> dict[str, int]:
    """Builds the program, and says how many actions of each step ran."""
    log = bazel.folder / "log.json"
    bazel.run("build", *flags, f"--execution_log_json_file={log}", _TARGET)
    return {step: len(executions(log, step)) for step in _STEPS}


def _edit(checkout: Path, old: str, new: str) -> None:
    file = checkout / "examples/digits/BUILD.bazel"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def _bytes(bazel: InnerBazel) -> dict[str, bytes]:
    folder = "@furiosa_rules//examples/digits"
    found = bazel.outputs(f"{folder}:ranges + {folder}:digits_int8 + {_TARGET}")
    assert set(found) == {"ranges.json", "digits_int8.onnx", "digits.enf"}
    return {name: path.read_bytes() for name, path in found.items()}


def test_a_changed_method_runs_no_calibration(bazel: InnerBazel, checkout: Path) -> None:
    assert _ran(bazel) == {"NpuCalibrate": 1, "NpuQuantize": 1, "NpuCompile": 1}
    before = _bytes(bazel)
    assert _ran(bazel) == dict.fromkeys(_STEPS, 0)
    _edit(checkout, 'method = "min-max"', 'method = "mse"')
    assert _ran(bazel) == {"NpuCalibrate": 0, "NpuQuantize": 1, "NpuCompile": 1}
    changed = _bytes(bazel)
    assert changed["ranges.json"] == before["ranges.json"]
    assert changed["digits_int8.onnx"] != before["digits_int8.onnx"]
    _edit(checkout, 'method = "mse"', 'exclude = ["Softmax"], method = "min-max"')
    _edit(checkout, "max_host_operators = 0", "max_host_operators = 2")
    assert _ran(bazel) | {"NpuCompile": 0} == {"NpuCalibrate": 0, "NpuQuantize": 1, "NpuCompile": 0}
    _edit(checkout, 'exclude = ["Softmax"], ', "")
    _edit(checkout, "max_host_operators = 2", "max_host_operators = 0")
    _ran(bazel)
    assert _bytes(bazel) == before


def test_another_folder_and_mapped_paths_give_the_same_bytes(bazel: InnerBazel) -> None:
    _ran(bazel)
    expected = _bytes(bazel)
    other = copy_checkout(scratch() / "a second folder, with a longer name")
    with InnerBazel(other / "examples/smoke", "other") as second:
        mapped = ("--experimental_output_paths=strip", "--noworker_multiplex", "--worker_sandboxing")
        assert _ran(second, *mapped, "-c", "opt")["NpuCalibrate"] == 1
        folder = "@furiosa_rules//examples/digits"
        found = second.outputs(f"{folder}:ranges + {folder}:digits_int8 + {_TARGET}", "-c", "opt")
        assert {name: path.read_bytes() for name, path in found.items()} == expected
