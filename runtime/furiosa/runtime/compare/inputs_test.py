"""The inputs of a comparison."""

from __future__ import annotations

import numpy as np

from furiosa.runtime.compare.inputs import RANDOM, random_inputs
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
