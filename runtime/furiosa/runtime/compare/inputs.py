"""The inputs of a comparison: arrays out of files, or random ones that reach all of the quantised range."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from furiosa.runtime.errors import InvalidInput
from furiosa.runtime.run_files import read_header, read_npy
from furiosa.runtime.tensor import TensorDesc

RANDOM = 3  # inferences where no inputs are given
_SUFFIXES = (".npy", ".npz")


def random_inputs(
    descs: Sequence[TensorDesc], ranges: Sequence[tuple[float, float] | None], seed: int
) -> Iterator[list[np.ndarray]]:
    """``RANDOM`` sets of arrays that depend on the seed alone.

    An input with a range is uniform over it, any other real one over [-1, 1); any other integer is 0 or 1, which is right
    for masks and flags and no index out of bounds.
    """
    for number in range(RANDOM):
        generator = np.random.default_rng([seed, number])
        yield [_random(d, r, generator) for d, r in zip(descs, ranges, strict=True)]


def _random(
    desc: TensorDesc, limits: tuple[float, float] | None, generator: np.random.Generator
) -> np.ndarray:
    dtype = desc.numpy_dtype
    if dtype.kind == "f":
        low, high = limits or (-1.0, 1.0)
        return generator.uniform(low, high, desc.shape).astype(dtype)
    low, high = (int(limits[0]), int(limits[1])) if limits else (0, 1)
    return generator.integers(low, high, desc.shape, endpoint=True).astype(dtype)


def input_files(paths: Sequence[str]) -> list[str]:
    """The .npy and .npz files of a command line; a folder stands for those in it, by name.

    Raises:
        InvalidInput: another file, or a folder without any.
        OSError: a folder cannot be read.
    """
    files = []
    for path in paths:
        if not os.path.isdir(path):
            if not path.endswith(_SUFFIXES):
                raise InvalidInput(f"{path}: inputs are .npy or .npz files, or folders of them")
            files.append(path)
            continue
        found = sorted(n for n in os.listdir(path) if n.endswith(_SUFFIXES))
        if not found:
            raise InvalidInput(f"{path}: there is no .npy or .npz file in this folder")
        files += [os.path.join(path, n) for n in found]
    return files


def read_inputs(path: str, descs: Sequence[TensorDesc]) -> list[np.ndarray]:
    """The arrays of one inference: of a .npy file for a model of one input, of a .npz file by the inputs' names.

    Raises:
        InvalidInput: arrays that do not fit the model, or a damaged file.
        OSError: the file cannot be read.
    """
    if path.endswith(".npy"):
        if len(descs) != 1:
            raise InvalidInput(
                f"{path}: the model has {len(descs)} inputs, give them together as a .npz file"
            )
        array = read_npy(path)
        descs[0].check(array, path)
        return [array]
    try:
        with zipfile.ZipFile(path) as archive:
            return [_read_entry(archive, path, d) for d in descs]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        raise InvalidInput(f"{path} is not a whole .npz file: {e}") from e


def _read_entry(archive: zipfile.ZipFile, path: str, desc: TensorDesc) -> np.ndarray:
    what = f"{path}: input '{desc.name}'"
    try:
        entry = archive.open(f"{desc.name}.npy")
    except KeyError:
        names = ", ".join(repr(n.removesuffix(".npy")) for n in archive.namelist()[:20])
        raise InvalidInput(f"{what} is missing; the file has {names or 'nothing'}") from None
    with entry:
        shape, order, dtype = read_header(entry, f"{what} is no array")
        # before anything of the size that a stranger's file claims is allocated
        if shape != desc.shape or dtype != desc.numpy_dtype:
            raise InvalidInput(
                f"{what}: expected {desc.shape} ({desc.numpy_dtype}) but got {shape} ({dtype})"
            )
        data = entry.read(desc.size + 1)
    if len(data) != desc.size:
        raise InvalidInput(f"{what}: the array is truncated or followed by more")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order else "C")
