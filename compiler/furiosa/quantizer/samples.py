"""Samples for calibration: .npz files with an array for each input, .npy files for a model of one input, folders of either."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import InvalidConfig, InvalidFormat, IoError
from furiosa.compiler.selection import listed, written

SUFFIXES = (".npy", ".npz")
MAX_BYTES = 1 << 32  # of one array
MAX_FILES = 1 << 20


class Samples:
    """Iterates over samples, each a dictionary with an array for each input, of its shape and dtype.

    A file holds one sample, or several one after the other along dimension 0.

    Args:
        paths: files and folders; of a folder its .npy and .npz files, by name.
        inputs: the model's inputs.

    Raises:
        IoError: a path that is missing, or a folder without samples.
        InvalidConfig: a file of another kind, or .npy for several inputs.
    """

    def __init__(self, paths: Sequence[str], inputs: Sequence[Tensor]):
        self._inputs = {t.name: t for t in inputs}
        self._files = [file for path in paths for file in _files(path)]

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for file in self._files:
            yield from self._of_file(file)

    def __len__(self) -> int:
        """The number of files, of which each holds at least one sample."""
        return len(self._files)

    def _of_file(self, file: str) -> Iterator[dict[str, np.ndarray]]:
        arrays = _read(file, self._inputs)
        missing = [n for n in self._inputs if n not in arrays]
        if missing:
            raise InvalidConfig(f"{file}: there is no array for the input {listed(missing)}")
        unknown = [n for n in arrays if n not in self._inputs]
        if unknown:
            raise InvalidConfig(
                f"{file}: the model has no input {listed(unknown)}; it has {listed(self._inputs)}"
            )
        counts = {n: _count(file, self._inputs[n], a) for n, a in arrays.items()}
        if len(set(counts.values())) != 1:
            raise InvalidConfig(f"{file}: the arrays hold different numbers of samples: {counts}")
        converted = {n: _converted(file, self._inputs[n], a) for n, a in arrays.items()}
        for i in range(next(iter(counts.values()), 0)):
            yield {n: _sample(self._inputs[n], a, i) for n, a in converted.items()}


def random(inputs: Sequence[Tensor], count: int, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Samples of numbers spread evenly over -1 to 1, zeros where the type is not float; the same each time."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield {
            t.name: generator.uniform(-1, 1, t.shape).astype(t.dtype)
            if t.dtype.startswith("float")
            else np.zeros(t.shape, t.dtype)
            for t in inputs
        }


def _files(path: str) -> list[str]:
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(SUFFIXES))
        if not names:
            raise IoError(f"{path}: the folder holds no samples ({' or '.join(SUFFIXES)} files)")
        if len(names) > MAX_FILES:
            raise IoError(f"{path}: {len(names)} files are more than {MAX_FILES}")
        return [os.path.join(path, n) for n in names]
    if not path.endswith(SUFFIXES):
        raise InvalidConfig(f"{path}: samples are {' or '.join(SUFFIXES)} files, or folders of them")
    if not os.path.exists(path):
        raise IoError(f"cannot read {path}: no such file or folder")
    return [path]


def _read(file: str, inputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    try:
        if file.endswith(".npy"):
            if len(inputs) != 1:
                raise InvalidConfig(
                    f"{file}: a .npy file holds one array, and the model has the inputs {listed(inputs)}: use .npz"
                )
            return {next(iter(inputs)): np.load(file, mmap_mode="r", allow_pickle=False)}
        with zipfile.ZipFile(file) as archive:
            if sum(i.file_size for i in archive.infolist()) > MAX_BYTES:
                raise InvalidFormat(f"{file}: the arrays take more than {MAX_BYTES} bytes")
        with np.load(file, allow_pickle=False) as content:
            return {n: content[n] for n in content.files}
    except OSError as e:
        raise IoError(f"cannot read {file}: {e.strerror or e}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, SyntaxError) as e:
        raise InvalidFormat(f"{file}: not a whole NumPy file of numbers ({str(e)[:100]})") from None


def _count(file: str, t: Tensor, array: np.ndarray) -> int:
    """How many samples an array holds."""
    if array.shape == t.shape:
        return 1
    fits = array.ndim == len(t.shape) > 0 and array.shape[1:] == t.shape[1:] and array.shape[0] > 0
    if not fits or t.shape[0] == 0 or array.shape[0] % t.shape[0]:
        raise InvalidConfig(
            f"{file}: the array for '{t.name}' has the shape {written(array.shape)}, and the input {written(t.shape)}; "
            "several samples come one after the other along dimension 0"
        )
    return array.shape[0] // t.shape[0]


def _converted(file: str, t: Tensor, array: np.ndarray) -> np.ndarray:
    if array.dtype != t.dtype and not np.can_cast(array.dtype, t.dtype, "same_kind"):
        raise InvalidConfig(
            f"{file}: the array for '{t.name}' is of type {array.dtype}, and the input {t.dtype}"
        )
    return array


def _sample(t: Tensor, array: np.ndarray, i: int) -> np.ndarray:
    of = array if array.shape == t.shape else array[i * t.shape[0] : (i + 1) * t.shape[0]]
    return np.ascontiguousarray(of, dtype=t.dtype)
