"""Which functions of one value, and of two, go to the host, and that no scale makes arithmetic overflow on the way."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.ldfg.lower import lower

OPTIONS = {
    "ADD": options("AddOptions"),
    "GELU": options("GeluOptions", approximate=True),
    "LEAKY_RELU": options("LeakyReluOptions", alpha=0.1),
    "MUL": options("MulOptions"),
}


def _failed(
    op_type: str,
    shape: tuple[int, ...] = (2, 3),
    x: float | None = 0.1,
    y: float | None = 0.1,
    second: dict[str, Any] | None = None,
    dtypes: tuple[str, str] = ("int8", "int8"),
) -> list[str]:
    """The rules that fail; none on the NPU.  Warnings of NumPy fail the test."""
    b = ModelBuilder()
    inputs = [b.tensor("x", list(shape), dtypes[0], scale=x)]
    variable = list(inputs)
    if second is not None:
        inputs.append(b.tensor("second", **second))
        variable += [] if "data" in second else inputs[1:]
    zero_point = 128 if dtypes[1] == "uint8" else 0
    out = b.tensor("y", list(shape), dtypes[1], scale=y, zero_point=zero_point)
    b.operator(op_type, inputs, [out], OPTIONS.get(op_type))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (verdict,) = lower(import_model(b.build(variable, [out]))).verdicts.values()
    return [r.rule for r in verdict.reasons]


@pytest.mark.parametrize("scale", [1e-38, 1e-12, 1e12, 3e38])
@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize(
    "op_type",
    [
        "ELU",
        "EXP",
        "GELU",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOG",
        "LOGISTIC",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "TANH",
    ],
)
def test_scales_beyond_all_measure(op_type: str, output: bool, scale: float) -> None:
    x, y = (0.1, scale) if output else (scale, 0.1)
    assert "ordinary-scales" in _failed(op_type, x=x, y=y)


def test_scales_that_the_kernel_overflows_with() -> None:
    assert _failed("RELU", x=1.0, y=2.0**-13) == []
    for op_type in ("RELU", "LEAKY_RELU", "QUANTIZE"):
        assert _failed(op_type, x=1.0, y=2.0**-15) == ["reference-arithmetic"], op_type
    assert _failed("HARD_SWISH", x=1.0, y=0.01) == []
    assert _failed("HARD_SWISH", x=1.0, y=0.005) == ["reference-arithmetic"]


def test_no_quantisation() -> None:
    for op_type in ("RELU", "HARD_SWISH", "LEAKY_RELU", "QUANTIZE", "LOGISTIC", "EXP"):
        assert _failed(op_type, x=None) == ["quantized-per-tensor"], op_type


@pytest.mark.parametrize("op_type", ["ELU", "EXP", "LOG"])
def test_kernels_for_int8_only(op_type: str) -> None:
    assert _failed(op_type) == []
    assert _failed(op_type, dtypes=("uint8", "uint8")) == ["reference-arithmetic"]


@pytest.mark.parametrize(
    ("shape", "failed"),
    [
        ([3], []),
        ([1], []),
        ([1, 3], []),
        ([1, 1], []),
        ([2, 3], ["supported-attributes"]),
        ([2, 1], ["supported-attributes"]),
    ],
)
def test_slopes(shape: list[int], failed: list[str]) -> None:
    data = [[1] * shape[-1]] * (shape[0] if len(shape) > 1 else 1)
    constant = {"shape": shape, "scale": 0.1, "data": data if len(shape) > 1 else data[0]}
    assert _failed("PRELU", second=constant) == failed
    assert _failed("PRELU", second={"shape": shape, "scale": 0.1}) == ["constant-parameters", *failed]


def test_conversions_that_end_in_another_rounding() -> None:
    """4 to 1 makes ties: in blocks of 16 they go up, in what is left away from zero."""
    types = ("int8", "uint8")
    assert _failed("QUANTIZE", (2, 16), x=0.25, y=1.0, dtypes=types) == []
    assert _failed("QUANTIZE", (3, 5), x=0.25, y=1.0, dtypes=types) == []
    assert _failed("QUANTIZE", (3, 7), x=0.25, y=1.0, dtypes=types) == ["reference-arithmetic"]
    assert _failed("QUANTIZE", (3, 7), x=0.25, y=0.25, dtypes=types) == []


def test_groups_of_dimensions() -> None:
    """Two tensors of six dimensions that take turns."""
    turns = {"shape": [1, 3, 1, 3, 1, 3], "scale": 0.1}
    assert _failed("MAXIMUM", (2, 3, 2, 3, 2, 3), second=turns) == ["broadcast-limit"]
    assert _failed("MAXIMUM", (2, 3, 2, 3, 3, 3), second={"shape": [1, 3, 2, 3, 1, 1], "scale": 0.1}) == []


def test_additions_of_any_scales() -> None:
    """Beyond XNNPACK's ratios the builtin kernel adds, as long as its 16-bit results do not overflow."""
    for op_type in ("ADD", "SUB"):
        for scale in (0.1, 1e-6, 1e-4, 12.0):
            assert _failed(op_type, second={"shape": [3], "scale": scale}) == [], scale
        assert _failed(op_type, second={"shape": [3], "scale": 100.0}) == ["reference-arithmetic"]
