"""Models for the tests that cross rooms: small and shared ones, the example networks, and the tiny one compiled once."""

from __future__ import annotations

import numpy as np
import pytest
from generator.__main__ import build

from furiosa.compiler.pipeline import compile_model
from tests.models import models

SHARED = [
    "deeplabv3_mnv2_dm05_quant.tflite",
    "mnist_8_float.onnx",
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
    "tiny_vww_mobilenet_float.tflite",
    "tiny_vww_mobilenet_int8.tflite",
]


@pytest.fixture(params=models.names(*SHARED))
def whole_model(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    """Name and bytes of each small model and of each shared one that can be compiled."""
    return request.param, models.read(request.param)


@pytest.fixture(params=["tiny", "resnet50", "ssd_mobilenet", "ssd_resnet34"])
def example_model(request: pytest.FixtureRequest) -> bytes:
    """Each example network, QDQ int8."""
    return build(request.param, "int8").SerializeToString(deterministic=True)


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    """The tiny example network, QDQ int8."""
    return build("tiny", "int8").SerializeToString(deterministic=True)


@pytest.fixture(scope="session")
def tiny_float_model() -> bytes:
    """The tiny example network in float32."""
    return build("tiny", "float32").SerializeToString(deterministic=True)


@pytest.fixture(scope="session", params=["warboy", "warboy-2pe"])
def tiny_enf(request: pytest.FixtureRequest, tiny_model: bytes) -> bytes:
    """The tiny network compiled for each target."""
    return compile_model(tiny_model, target_npu=request.param)


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """One input of the tiny network: float32 [1, 3, 32, 32]."""
    return np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
