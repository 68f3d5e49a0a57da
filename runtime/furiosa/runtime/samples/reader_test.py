"""Samples out of arrays: what is one, in which order they come, and what is refused in which words."""

from __future__ import annotations

import itertools
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from furiosa.runtime.errors import InvalidInput
from furiosa.runtime.samples import Samples, open_samples
from furiosa.runtime.samples.stored import read_npy
from furiosa.runtime.tensor import DataType, TensorDesc

REAL = TensorDesc("x", (1, 4, 5), DataType.FLOAT32)
PLAIN = TensorDesc("p", (4, 5), DataType.FLOAT32)
BYTE = TensorDesc("q", (1, 3), DataType.INT8)
RNG = np.random.default_rng(0)


def _real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _numbers(samples: Samples, **span: int) -> list[float]:
    return [float(s.arrays[0].flat[0]) for s in samples.read(**span)]


def test_an_array_is_one_sample_or_a_batch(tmp_path: Path) -> None:
    batch = _real(6, 4, 5)
    shapes = [(REAL, (1, 4, 5), 1), (REAL, (4, 5), 1), (REAL, (6, 4, 5), 6), (REAL, (6, 1, 4, 5), 6)]
    shapes += [(PLAIN, (4, 5), 1), (PLAIN, (6, 4, 5), 6)]
    for desc, shape, count in shapes:
        np.save(tmp_path / "a.npy", batch[:count].reshape(shape))
        samples = open_samples([str(tmp_path / "a.npy")], [desc])
        assert len(samples) == count, shape
        for k, sample in enumerate(samples):
            assert sample.number == k and sample.label is None
            np.testing.assert_array_equal(sample.arrays[0], batch[k].reshape(desc.shape))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_by_name_with_labels(tmp_path: Path, save) -> None:
    x, q = np.asfortranarray(_real(5, 4, 5)), RNG.integers(-128, 128, (5, 3)).astype(np.int8)
    save(tmp_path / "named.npz", q=q, labels=np.arange(5) * 10, x=x, ignored=np.zeros(3))
    save(tmp_path / "unnamed.npz", x, q)
    samples = open_samples([str(tmp_path / "named.npz")], [REAL, BYTE], with_labels=True)
    for k, s in enumerate(samples):
        np.testing.assert_array_equal(s.arrays[0][0], x[k])
        np.testing.assert_array_equal(s.arrays[1][0], q[k])
        assert s.label == 10 * k and s.name == f"{tmp_path}/named.npz, sample {k}"
    unnamed = open_samples([str(tmp_path / "unnamed.npz")], [REAL, BYTE])
    assert not unnamed.has_labels
    for a, b in zip(unnamed, samples, strict=True):
        np.testing.assert_array_equal(a.arrays[1], b.arrays[1])


def test_files_that_belong_together(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.npy" for name in ("x", "q", "right")}
    np.save(paths["x"], _real(2, 4, 5))
    np.save(paths["q"], np.array([[1, 2, 3], [4, 5, 6]], np.int8))
    np.save(paths["right"], np.array([[7, 7], [8, 8]]))
    named = [f"q={paths['q']}", f"x={paths['x']}"]
    samples = open_samples([*named, f"labels={paths['right']}"], [REAL, BYTE], with_labels=True)
    assert [s.arrays[1].tolist() for s in samples] == [[[1, 2, 3]], [[4, 5, 6]]]
    assert [s.label.tolist() for s in samples.read(1)] == [[8, 8]]
    for bad, words in [
        ([*named, f"z={paths['x']}"], "the model has no input 'z'; it has 'x', 'q'"),
        ([named[0]], "input 'x' is missing; the file has 'q'"),
        ([*named, named[0]], "'q' is given twice"),
        ([str(paths["x"])], "give them together as a .npz file or as NAME=FILE.npy each"),
    ]:
        with pytest.raises(InvalidInput, match=words):
            open_samples(bad, [REAL, BYTE])
    # an array in the archive that the model calls by the name of the labels is an input
    np.savez(tmp_path / "l.npz", labels=np.zeros((2, 3), np.int8))
    assert not open_samples(
        [str(tmp_path / "l.npz")], [TensorDesc("labels", (1, 3), DataType.INT8)]
    ).has_labels


def test_the_order_is_that_of_the_names_and_any_part_can_be_read(tmp_path: Path) -> None:
    for name, values in (("b.npy", [3, 4]), ("a/z.npz", [0]), ("a/zz.npy", [1, 2]), ("B.npy", [-1])):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        arrays = np.array(values, np.float32)[:, None, None] * np.ones((1, 4, 5), np.float32)
        np.savez(path, x=arrays) if name.endswith("z") else np.save(path, arrays)
    (tmp_path / "notes.txt").write_text("no sample")
    samples = open_samples([str(tmp_path)], [REAL])
    everything = [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert _numbers(samples) == everything and len(list(samples.names())) == 6
    assert [s.name for s in samples] == list(samples.names())
    for start, stop, step in itertools.product(range(7), range(7), range(1, 5)):
        assert _numbers(samples, start=start, stop=stop, step=step) == everything[start:stop:step]
    assert [s.number for s in samples.read(1, None, 2)] == [1, 3, 5]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="there is no .npy or .npz file in this folder"):
        open_samples([str(tmp_path / "empty")], [REAL])
    with pytest.raises(InvalidInput, match="no samples are given"):
        open_samples([], [REAL])


def test_a_type_that_holds_every_value_takes_it(tmp_path: Path) -> None:
    path = str(tmp_path / "a.npy")
    for dtype in ("u1", "i1", "i2", "f2", "?", ">f4"):
        np.save(path, np.arange(20).reshape(4, 5).astype(dtype))
        (sample,) = open_samples([path], [REAL])
        assert sample.arrays[0].dtype == np.float32 and sample.arrays[0].dtype.isnative
        np.testing.assert_array_equal(sample.arrays[0][0], np.arange(20).reshape(4, 5).astype(dtype))
    for dtype in ("f8", "i8", "c8"):
        np.save(path, np.zeros((4, 5), dtype))
        with pytest.raises(
            InvalidInput, match=r"expected \(1, 4, 5\) \(float32\) but got .*convert input 'x' with astype"
        ):
            open_samples([path], [REAL])


def test_what_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "a.npz")
    good = {"x": _real(3, 4, 5), "q": np.zeros((3, 3), np.int8)}
    for change, words in [
        (
            {"x": _real(3, 5, 4)},
            r"'x': expected \(1, 4, 5\) \(float32\) but got \(3, 5, 4\) \(float32\); N samples of input 'x' are \(N, 4, 5\)",
        ),
        ({"q": np.zeros((2, 3), np.int8)}, "'q': 2 samples, but 3 of input 'x'"),
        ({"labels": np.zeros(4)}, r"labels of shape \(4,\) for 3 samples"),
        ({"labels": np.zeros(())}, r"labels of shape \(\) for 3 samples"),
        ({"x": np.zeros((0, 4, 5), np.float32), "q": np.zeros((0, 3), np.int8)}, "there is no sample in"),
        ({"x": np.array([{}], object)}, "is no array of numbers"),
    ]:
        np.savez(path, **(good | change))
        with pytest.raises(InvalidInput, match=words):
            open_samples([path], [REAL, BYTE])
    np.savez(path, **good)
    with pytest.raises(InvalidInput, match="there are no labels; a .npz file has them in an array 'labels'"):
        open_samples([path], [REAL, BYTE], with_labels=True)
    with pytest.raises(InvalidInput, match="cat.jpg is an image: say by a preprocessing"):
        open_samples(["cat.jpg"], [REAL])
    with pytest.raises(InvalidInput, match="samples are .npy or .npz files, or folders"):
        open_samples(["cat.pt"], [REAL])


def test_numbers_that_are_none_are_refused_where_that_is_asked(tmp_path: Path) -> None:
    x = _real(3, 4, 5)
    x[1, 2, 3], x[1, 0, 0] = np.nan, np.inf
    np.save(tmp_path / "a.npy", x)
    paths = [str(tmp_path / "a.npy")]
    assert len(list(open_samples(paths, [REAL]))) == 3
    with pytest.raises(
        InvalidInput, match="a.npy, sample 1: 2 of 20 elements of input 0 are NaN or infinite"
    ):
        list(open_samples(paths, [REAL], is_finite=True))


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, _real(3, 4, 5))
    samples = open_samples([str(path)], [REAL])
    np.save(path, _real(2, 4, 5))
    with pytest.raises(InvalidInput, match="changed while it was read"):
        list(samples)


def test_nothing_of_a_claimed_size_is_allocated(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4, 5), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    claim = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", claim)
    (tmp_path / "a.npy").write_bytes(claim)
    for name in ("a.npz", "a.npy"):
        with pytest.raises(InvalidInput, match="the array is truncated or followed by more"):
            open_samples([str(tmp_path / name)], [REAL])


def test_a_zip_bomb_is_read_a_sample_at_a_time(tmp_path: Path) -> None:
    """128 MiB of zeros in a file of 130 kB never are in memory together."""
    size, desc = 128 << 20, TensorDesc("x", (1, 4096), DataType.FLOAT32)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as f:
        np.lib.format.write_array_header_1_0(
            f, {"descr": "<f4", "fortran_order": False, "shape": (size >> 14, 4096)}
        )
        for _ in range(size >> 20):
            f.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 18
    tracemalloc.start()
    try:
        samples = open_samples([str(path)], [desc])
        assert sum(not s.arrays[0].any() for s in samples) == len(samples) == size >> 14
        assert [s.number for s in samples.read(len(samples) - 1)] == [len(samples) - 1]
        assert tracemalloc.get_traced_memory()[1] < 40 << 20  # zipfile skips 16 MiB at a time
    finally:
        tracemalloc.stop()


def test_damage_is_told_and_nothing_is_unpickled(tmp_path: Path) -> None:
    whole = tmp_path / "x.npy"
    np.save(whole, _real(3, 4, 5))
    data = whole.read_bytes()
    for entry, words in [
        (data[:-1], "truncated or followed by more"),
        (data + b"\0", "truncated or followed by more"),
        (b"junk", "is no array"),
        (b"", "is no array"),
    ]:
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("x.npy", entry)
        (tmp_path / "a.npy").write_bytes(entry)
        for name in ("a.npz", "a.npy"):
            with pytest.raises(InvalidInput, match=words):
                open_samples([str(tmp_path / name)], [REAL])
    np.savez(tmp_path / "a.npz", x=_real(3, 4, 5))
    archive = bytearray((tmp_path / "a.npz").read_bytes())
    at = archive.index(b"\x93NUMPY") + 200  # among the numbers: the archive has a checksum of them
    archive[at] ^= 1
    (tmp_path / "a.npz").write_bytes(archive)
    with pytest.raises(InvalidInput, match="is not a whole .npz file: Bad CRC-32"):
        list(open_samples([str(tmp_path / "a.npz")], [REAL]))
    (tmp_path / "a.npz").write_bytes(archive[: len(archive) // 2])
    with pytest.raises(InvalidInput, match="is not a whole .npz file"):
        open_samples([str(tmp_path / "a.npz")], [REAL])
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(OSError, match="not a regular file"):
        open_samples([str(tmp_path / "pipe.npz")], [REAL])


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_in_a_file_is_told_in_a_sentence(tmp_path: Path, seed: int) -> None:
    """Files that are cut, extended and changed at random give samples or InvalidInput."""
    rng = np.random.default_rng(seed)
    save = (np.savez, np.savez_compressed)[seed % 2]
    save(tmp_path / "a.npz", x=_real(3, 4, 5), labels=np.arange(3))
    np.save(tmp_path / "a.npy", _real(3, 4, 5))
    refused = 0
    for number in range(300):
        name = ("a.npz", "a.npy")[number % 2]
        data = bytearray((tmp_path / name).read_bytes())
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        if rng.random() < 0.5:
            data = data[: rng.integers(0, len(data))]
        (tmp_path / f"b{name}").write_bytes(data)
        try:
            list(open_samples([str(tmp_path / f"b{name}")], [REAL]))
        except InvalidInput:
            refused += 1
    assert refused > 150


def test_the_numbers_of_one_file(tmp_path: Path) -> None:
    x = np.asfortranarray(_real(40, 50))
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(read_npy(str(tmp_path / "x.npy")), x)
