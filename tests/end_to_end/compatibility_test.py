"""An older release of the vendor's SDK takes fewer operators, and the numbers stay the same."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.ldfg.coverage import coverage
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.runtime import session
from tests.models import models

# what 0.6.3 leaves to the host: conversions of float32, resizing, concatenation along other axes than height
MODELS = [
    "segmentation_int8",
    "named_tensors.onnx",
    "quantized_i8_conv_truncated.onnx",
    "mobilenet_v2_1.0_224_ptq.tflite",
    "deeplabv3_mnv2_dm05_quant.tflite",
]


@pytest.mark.parametrize("name", [m for m in MODELS if m in models.names(*MODELS)])
def test_both_releases_give_the_same_numbers(name: str) -> None:
    outputs, on_npu = [], []
    for release in ("0.10", "0.6.3"):
        compiled = Compilation(models.read(name), Options(compatibility=release)).run()
        on_npu.append(coverage(compiled.ldfg).npu_operators)
        with session.create(container.to_bytes(compiled.enf)) as sess:
            random = np.random.default_rng(7)
            inputs = [_values(random, t.shape, t.numpy_dtype) for t in sess.inputs()]
            outputs.append([t.numpy() for t in sess.run(inputs)])
    assert on_npu[0] > on_npu[1] > 0
    for latest, older in zip(*outputs, strict=True):
        np.testing.assert_array_equal(older, latest)


def _values(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 127, shape).astype(dtype)


@pytest.mark.parametrize("name", models.names("deeplabv3_mnv2_dm05_quant.tflite"))
def test_nothing_but_argmax_stays_on_the_host(name: str) -> None:
    verdicts = Compilation(models.read(name), Options()).run().ldfg.verdicts
    assert {op.op_type for op, v in verdicts.items() if v.placed_on == "host"} <= {"ARG_MAX"}
