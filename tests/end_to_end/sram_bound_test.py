"""SRAM: on every example and shared model the addresses need no more than the bytes that live at one time."""

from __future__ import annotations

from pathlib import Path

import pytest
from generator.__main__ import build

from furiosa.compiler.pipeline import Compilation, Options

MODELS = Path(__file__).resolve().parents[2] / ".." / "shared" / "models"
SHARED = [
    "deeplabv3_mnv2_dm05_quant.tflite",
    "mnist_mobilenet_v2_uint8.tflite",
    "mnistnet_uint8.tflite",
    "mobilenet_v2_1.0_224_ptq.tflite",
    "mobilenet_v2_1.0_224_quant.tflite",
    "movenet_lightning_ptq.tflite",
    "named_tensors.onnx",
    "quantized_i8_conv_truncated.onnx",
    "split_concat.tflite",
    "tiny_ad_autoencoder_int8.tflite",
    "tiny_kws_dscnn_int8.tflite",
    "tiny_resnet8_int8.tflite",
    "tiny_vww_mobilenet_int8.tflite",
]
FIXED_BATCH = {"movenet_lightning_ptq.tflite"}


def _check(model: bytes, batches: tuple[int, ...]) -> None:
    for target in ("warboy", "warboy-2pe"):
        for batch in batches:
            linear = Compilation(model, Options(target, batch)).run("lir").lir
            assert linear.sram
            assert linear.sram_peak == linear.sram_lower_bound, (target, batch)


@pytest.mark.parametrize("name", SHARED)
def test_shared_models(name: str) -> None:
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"the shared model {name} is not there")
    _check(path.read_bytes(), (1,) if name in FIXED_BATCH else (1, 2, 8))


@pytest.mark.parametrize("name", ["tiny", "resnet50", "ssd_mobilenet", "ssd_resnet34"])
def test_example_models(name: str) -> None:
    _check(build(name, "int8").SerializeToString(deterministic=True), (1, 2, 8))
