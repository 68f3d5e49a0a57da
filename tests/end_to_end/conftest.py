"""Models for the tests that cross rooms: the tiny example network, compiled once."""

from __future__ import annotations

import numpy as np
import pytest
from generator.__main__ import build

from furiosa.compiler.pipeline import compile_model


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
