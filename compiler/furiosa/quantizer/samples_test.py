"""Samples from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import CompileError
from furiosa.quantizer.samples import Samples, random

X, N = Tensor("x", (1, 2, 3), "float32"), Tensor("n", (2,), "int64")


def test_one_and_several_in_a_file(tmp_path: Path):
    values = np.arange(18, dtype=np.float64).reshape(3, 2, 3)
    np.save(tmp_path / "b.npy", values)
    np.savez(tmp_path / "a.npz", x=values[:1] + 100)
    (tmp_path / "notes.txt").write_text("no sample")
    found = list(Samples([str(tmp_path)], [X]))
    assert [s["x"].dtype for s in found] == [np.float32] * 4
    assert np.array_equal(np.concatenate([s["x"] for s in found]), np.concatenate([values[:1] + 100, values]))


def test_several_inputs(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2, 3), np.float32), n=np.arange(4))
    assert [s["n"].tolist() for s in Samples([str(tmp_path / "a.npz")], [X, N])] == [[0, 1], [2, 3]]


def test_random_samples_are_the_same_each_time():
    first, second = (list(random([X, N], 3)) for _ in range(2))
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(first, second, strict=True))
    assert first[0]["x"].dtype == np.float32 and not np.array_equal(first[0]["x"], first[1]["x"])
    assert first[0]["n"].tolist() == [0, 0]


ZEROS = np.zeros((1, 2, 3), np.float32)


@pytest.mark.parametrize(
    "arrays, inputs, sentence",
    [
        ({"y": ZEROS}, [X], "there is no array for the input 'x'"),
        ({"x": ZEROS, "z": ZEROS}, [X], "the model has no input 'z'; it has 'x'"),
        ({"x": ZEROS[0]}, [X], "has the shape 2x3, and the input 1x2x3"),
        ({"x": ZEROS[:0]}, [X], "has the shape 0x2x3"),
        ({"x": ZEROS, "n": np.zeros(4, int)}, [X, N], "different numbers of samples"),
        ({"x": ZEROS.astype(complex)}, [X], "of type complex128, and the input float32"),
        ({"x": ZEROS, "n": np.zeros(2)}, [X, N], "of type float64, and the input int64"),
        ({"x": np.array([None])}, [X], "not a whole NumPy file of numbers"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict, inputs: list[Tensor], sentence: str):
    file = str(tmp_path / "s.npz")
    np.savez(file, **arrays)
    with pytest.raises(CompileError, match=sentence) as error:
        list(Samples([file], inputs))
    assert str(error.value).startswith(file)


@pytest.mark.parametrize(
    "name, content",
    [("a.npz", b""), ("a.npz", b"PK\3\4junk"), ("a.npy", b""), ("a.npy", b"\x93NUMPY\1\0v\0{'descr'")],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CompileError, match="not a whole NumPy file"):
        list(Samples([str(tmp_path / name)], [X]))


def test_paths_that_are_none(tmp_path: Path):
    for path, sentence in [
        (tmp_path / "missing.npz", "no such file or folder"),
        (tmp_path / "a.txt", "samples are .npy or .npz files"),
        (tmp_path, "the folder holds no samples"),
    ]:
        with pytest.raises(CompileError, match=sentence):
            Samples([str(path)], [X])
    np.save(tmp_path / "a.npy", ZEROS)
    with pytest.raises(CompileError, match="use .npz"):
        list(Samples([str(tmp_path)], [X, N]))
