"""The inputs of a comparison."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from furiosa.runtime.compare.inputs import RANDOM, input_files, random_inputs, read_inputs
from furiosa.runtime.errors import InvalidInput
from furiosa.runtime.tensor import DataType, TensorDesc

REAL = TensorDesc("x", (40, 50), DataType.FLOAT32)
BYTE = TensorDesc("q", (40, 50), DataType.INT8)
INDEX = TensorDesc("i", (40,), DataType.INT64)
MASK = TensorDesc("m", (40,), DataType.BOOL)


def test_random_inputs_reach_the_whole_range() -> None:
    descs, ranges = [REAL, REAL, BYTE, INDEX, MASK], [(-2.0, 6.0), None, (-128.0, 127.0), None, None]
    sets = list(random_inputs(descs, ranges, 5))
    assert len(sets) == RANDOM
    for limited, real, byte, index, mask in sets:
        assert -2 <= limited.min() < -1.9 and 5.9 < limited.max() <= 6
        assert -1 <= real.min() < -0.9 and 0.9 < real.max() < 1
        assert byte.min() == -128 and byte.max() == 127
        assert set(index.tolist()) == {0, 1} and set(mask.tolist()) == {False, True}
        assert [a.dtype for a in (limited, byte, index, mask)] == ["float32", "int8", "int64", "bool"]
    assert not np.array_equal(sets[0][2], sets[1][2])
    again = list(random_inputs(descs, ranges, 5))
    assert all(np.array_equal(a, b) for x, y in zip(sets, again) for a, b in zip(x, y))
    assert not np.array_equal(sets[0][2], next(random_inputs(descs, ranges, 6))[2])


def test_a_folder_stands_for_its_files_by_name(tmp_path: Path) -> None:
    for name in ("b.npy", "a.npz", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    assert input_files([str(tmp_path), "z.npy"]) == [
        str(tmp_path / "a.npz"),
        str(tmp_path / "b.npy"),
        "z.npy",
    ]
    with pytest.raises(InvalidInput, match="no .npy or .npz file in this folder"):
        (tmp_path / "empty").mkdir()
        input_files([str(tmp_path / "empty")])


def test_files_are_read(tmp_path: Path) -> None:
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32))
    i = np.arange(40)
    np.save(tmp_path / "x.npy", x)
    np.savez_compressed(tmp_path / "both.npz", x=x, i=i)
    np.testing.assert_array_equal(read_inputs(str(tmp_path / "x.npy"), [REAL])[0], x)
    for got, wanted in zip(read_inputs(str(tmp_path / "both.npz"), [INDEX, REAL]), (i, x)):
        np.testing.assert_array_equal(got, wanted)
    with pytest.raises(InvalidInput, match="the model has 2 inputs"):
        read_inputs(str(tmp_path / "x.npy"), [REAL, INDEX])


def test_an_array_that_claims_to_be_huge_is_not_allocated(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InvalidInput, match=r"but got \(1000000000000,\)"):
        read_inputs(str(tmp_path / "a.npz"), [REAL])


def test_nothing_is_unpickled_and_nothing_truncated_is_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    with pytest.raises(InvalidInput, match="expected"):
        read_inputs(str(tmp_path / "objects.npz"), [REAL])
    whole = tmp_path / "x.npy"
    np.save(whole, np.zeros(REAL.shape, np.float32))
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        archive.writestr("x.npy", whole.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match="truncated or followed by more"):
        read_inputs(str(tmp_path / "short.npz"), [REAL])
    with zipfile.ZipFile(tmp_path / "junk.npz", "w") as archive:
        archive.writestr("x.npy", b"junk")
    with pytest.raises(InvalidInput, match="is no array"):
        read_inputs(str(tmp_path / "junk.npz"), [REAL])
