"""``furiosa compare`` and runtimes that refuse, crash or object: a sentence and the documented code, and no process left."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.enf.command import INVALID_MODEL, OTHER
from furiosa.runtime.compare import isolated
from furiosa.runtime.compare.compare import compare
from furiosa.runtime.compare.reference import Refused
from furiosa.runtime.testing.enf_files import onnx_model, tflite_softmax
from tests.end_to_end.compared_models import tflite_network

ONES, DEADLY = [np.ones(2, np.int32)] * 2, [np.full(2, -(1 << 31), np.int32), np.full(2, -1, np.int32)]


def children() -> str:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text("ascii")


def floor_mod(folder: Path) -> str:
    """x mod y of int32 [2]; LiteRT's division of the lowest integer by -1 is one that x86 ends with SIGFPE."""
    b = ModelBuilder()
    x, y, z = (b.tensor(name, [2], "int32") for name in "xyz")
    b.operator("FLOOR_MOD", [x, y], [z], options("FloorModOptions"))
    path = folder / "mod.tflite"
    path.write_bytes(b.build([x, y], [z]))
    return str(path)


def test_a_model_that_ends_its_runtime_is_refused_and_the_others_run_on(tmp_path: Path) -> None:
    x = np.arange(-3, 3, dtype=np.int8).reshape(2, 3)
    with isolated.References("tflite") as references:
        other = references.open(tflite_softmax((2, 3)))
        deadly = references.open(Path(floor_mod(tmp_path)).read_bytes())
        (before,) = other.run([x])
        for _ in range(2):
            with pytest.raises(Refused, match="^LiteRT fails on it: its process was ended by SIGFPE"):
                deadly.run(DEADLY)
            assert other.run([x])[0].tobytes() == before.tobytes()
        assert deadly.run(ONES)[0].tolist() == [0, 0]


def test_a_crash_of_the_program_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = children()
    np.savez(tmp_path / "fine.npz", **dict(zip("xy", ONES, strict=True)))
    np.savez(tmp_path / "deadly.npz", **dict(zip("xy", DEADLY, strict=True)))
    model = floor_mod(tmp_path)
    assert main(["compare", model, "--inputs", str(tmp_path / "fine.npz")]) == 0
    capsys.readouterr()
    assert main(["compare", model, "--inputs", str(tmp_path / "deadly.npz")]) == OTHER
    err = capsys.readouterr().err
    assert err.count("ERROR: ") == 1 and "was ended by SIGFPE" in err and "internal" not in err
    assert children() == before


def test_a_crash_of_the_reference_leaves_the_other_layers_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runtime of the reference dies of each part with a certain tensor in it, that of the program of none."""
    code = (
        "import os, signal; from furiosa.runtime.compare import isolated; load = isolated._load; "
        "isolated._load = lambda h, b: os.kill(os.getpid(), signal.SIGSEGV) if b'sine' in b[0] else load(h, b); "
    )
    monkeypatch.setattr(isolated, "_CODE", code + isolated._CODE)
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite_network())
    before = children()
    result = compare(str(path))
    assert [r.tensor for r in result.unjudged] == ["sine", "again"]
    assert {r.reason for r in result.unjudged} == {"LiteRT fails on it: its process was ended by SIGSEGV"}
    assert all(r.tally.elements and not r.differs for r in result.rows if r.tensor in ("a", "b"))
    assert not result.is_right and children() == before
    assert main(["compare", str(path)]) == 1
    assert "FAILED: 2 tensors could not be compared" in capsys.readouterr().out


def test_a_host_part_of_another_shape_than_the_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many rows as there are ones: ``compile`` refuses it, and ``compare`` says the same by the same code."""
    b = ModelBuilder()
    x, y = b.tensor("x", [4], "bool"), b.tensor("y", [4, 1], "int64")
    b.operator("WHERE", [x], [y])
    path = tmp_path / "where.tflite"
    path.write_bytes(b.build([x], [y]))
    np.save(tmp_path / "x.npy", np.array([True, False, True, False]))
    assert main(["compare", str(path), "--inputs", str(tmp_path / "x.npy")]) == INVALID_MODEL
    assert "tensor 'y': the file says (4, 1) (int64), the host model (2, 1)" in capsys.readouterr().err


def test_random_inputs_to_which_a_runtime_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An index of 0 or 1 in a table of one row."""
    nodes = [("Gather", ["t", "i"], ["y"], {"axis": 0})]
    model = onnx_model(nodes, {"t": ("float32", (1, 2)), "i": ("int64", (8,))}, {"y": ("float32", (8, 2))})
    path = tmp_path / "gather.onnx"
    path.write_bytes(model)
    assert main(["compare", str(path)]) == OTHER
    err = capsys.readouterr().err
    assert "out of data bounds" in err and "name those that the model takes by --inputs" in err
    assert err.count("ERROR: ") == 1 and "internal" not in err
    np.savez(tmp_path / "x.npz", t=np.ones((1, 2), np.float32), i=np.zeros(8, np.int64))
    assert main(["compare", str(path), "--inputs", str(tmp_path / "x.npz")]) == 0
