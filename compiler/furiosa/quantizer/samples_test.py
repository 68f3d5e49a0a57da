"""Samples of a model's inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.quantizer.samples import FileSamples, random

X, N = Tensor("x", (1, 2, 3), "float32"), Tensor("n", (2,), "int64")


def test_samples_of_files(tmp_path: Path):
    values = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
    np.savez(tmp_path / "a.npz", x=values, n=np.arange(6).reshape(3, 2))
    found = FileSamples([str(tmp_path)], [X, N])
    assert len(found) == 3
    for i, sample in enumerate(found):
        assert (
            np.array_equal(sample.arrays["x"], values[i : i + 1]) and sample.arrays["x"].dtype == np.float32
        )
        assert sample.arrays["n"].tolist() == [2 * i, 2 * i + 1]
        assert "a.npz" in sample.name


def test_an_input_of_which_there_are_no_samples(tmp_path: Path):
    with pytest.raises(InvalidModel, match="input 's' is of type string, of which there are no samples"):
        FileSamples([str(tmp_path)], [Tensor("s", (1,), "string")])


def test_random_samples_are_the_same_each_time():
    first, second = (list(random([X, N], 3)) for _ in range(2))
    assert all(np.array_equal(a.arrays["x"], b.arrays["x"]) for a, b in zip(first, second, strict=True))
    assert first[0].arrays["x"].dtype == np.float32
    assert not np.array_equal(first[0].arrays["x"], first[1].arrays["x"])
    assert first[0].arrays["n"].tolist() == [0, 0]
