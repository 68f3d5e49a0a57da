"""Cascades: whatever operators run together, in whatever parts, with whatever tensors in DRAM, the numbers are the same."""

from __future__ import annotations

from functools import cache
from unittest import mock

import numpy as np
from generator.__main__ import build
from hypothesis import assume, given
from hypothesis import strategies as st

from furiosa.compiler.gir.cascade import Cascade, possible
from furiosa.compiler.gir.tiler import Tiler
from furiosa.compiler.lir import search
from furiosa.compiler.lir.segment import Segment
from furiosa.compiler.pipeline import compile_model
from furiosa.runtime import session
from tests.end_to_end.compared_models import onnx_network, tflite_network
from tests.properties.harness import bounded

PARTS = (2, 3, 4, 5, 7, 16)


@cache
def _model(name: str) -> bytes:
    """Networks with residuals, depthwise convolutions, pooling, joins and changes of layout."""
    if name == "tiny":
        return build("tiny", "int8").SerializeToString(deterministic=True)
    return onnx_network() if name == "onnx" else tflite_network()


def _run(enf: bytes) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    with session.create(enf, device="npu0pe0-1") as sess:
        inputs = []
        for t in sess.inputs():
            if np.issubdtype(t.numpy_dtype, np.integer):
                inputs.append(rng.integers(0, 100, t.shape).astype(t.numpy_dtype))
            else:
                inputs.append(rng.standard_normal(t.shape).astype(t.numpy_dtype))
        return [t.numpy() for t in sess.run(inputs)]


@cache
def _expected(name: str, batch: int) -> list[np.ndarray]:
    return _run(compile_model(_model(name), batch_size=batch, optimize=0))


@bounded(60)
@given(
    name=st.sampled_from(["tiny", "onnx", "tflite"]),
    batch=st.integers(1, 3),
    starts=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10), st.sampled_from(PARTS)), min_size=1),
    spill=st.integers(0, (1 << 24) - 1),
    level=st.integers(1, 2),
)
def test_the_same_numbers(
    name: str, batch: int, starts: list[tuple[int, int, int]], spill: int, level: int
) -> None:
    ran = []

    def schedule(tiler: Tiler, first: Segment, level: int) -> Segment:
        storages = dict.fromkeys(tiler.storage.values())
        cascades: list[Cascade] = []
        for at, length, parts in sorted(starts):
            last = at + length - 1
            is_free = not cascades or at > cascades[-1].last
            if is_free and last < len(tiler.cluster.operators) and possible(tiler, at, last):
                cascades.append(Cascade(at, last, parts))
        segments = search._try(
            tiler, ({s for i, s in enumerate(storages) if spill >> i & 1}, cascades), level
        )
        ran.append(cascades and segments)
        return segments[-1].segment if segments else first

    with mock.patch.object(search, "_improve", schedule):
        enf = compile_model(_model(name), batch_size=batch, optimize=level)
    assume(any(ran))
    for actual, expected in zip(_run(enf), _expected(name, batch), strict=True):
        np.testing.assert_array_equal(actual, expected)
