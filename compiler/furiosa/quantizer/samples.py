"""What the float model runs on: samples out of files, by the project's one reader, or random ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.runtime.samples import Preprocessing, open_samples
from furiosa.runtime.tensor import DataType, TensorDesc


class Sample(NamedTuple):
    """``arrays``: one for each input, by name, of its shape and dtype; ``name`` says where it is from."""

    name: str
    arrays: dict[str, np.ndarray]


class FileSamples:
    """The samples of files and folders, read one at a time (docs/samples.md).

    Args:
        paths: as ``furiosa.runtime.samples.open_samples`` takes them.
        inputs: the model's inputs.
        preprocessing: what becomes of images.

    Raises:
        InvalidModel: an input of a type that samples cannot have.
        InvalidInput: no samples, or a file that does not fit.
        OSError: a file cannot be read.
    """

    def __init__(
        self, paths: Sequence[str], inputs: Sequence[Tensor], preprocessing: Preprocessing | None = None
    ):
        self._names = [t.name for t in inputs]
        self._samples = open_samples(paths, [_description(t) for t in inputs], preprocessing=preprocessing)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._samples:
            yield Sample(sample.name, dict(zip(self._names, sample.arrays, strict=True)))


def random(inputs: Sequence[Tensor], count: int, seed: int = 0) -> Iterator[Sample]:
    """Samples of numbers spread evenly over -1 to 1, zeros where the type is not float; the same each time."""
    generator = np.random.default_rng(seed)
    for i in range(count):
        arrays = {
            t.name: generator.uniform(-1, 1, t.shape).astype(t.dtype)
            if t.dtype.startswith("float")
            else np.zeros(t.shape, t.dtype)
            for t in inputs
        }
        yield Sample(f"random sample {i + 1}", arrays)


def _description(t: Tensor) -> TensorDesc:
    try:
        kind = DataType[t.dtype.upper()]
    except KeyError:
        raise InvalidModel(
            f"input '{t.name}' is of type {t.dtype}, of which there are no samples: cut the model behind it by --inputs"
        ) from None
    return TensorDesc(t.name, t.shape, kind)
