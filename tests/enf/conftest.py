"""A compiled model for the tests of the format: the tiny example network, on both targets."""

from __future__ import annotations

import pytest
from generator.__main__ import build

from furiosa.compiler.pipeline import compile_model


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    """The tiny example network, QDQ int8."""
    return build("tiny", "int8").SerializeToString(deterministic=True)


@pytest.fixture(scope="session", params=["warboy", "warboy-2pe"])
def tiny_enf(request: pytest.FixtureRequest, tiny_model: bytes) -> bytes:
    """The tiny network compiled for each target."""
    return compile_model(tiny_model, target_npu=request.param)
