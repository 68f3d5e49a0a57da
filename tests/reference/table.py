"""Operators of one 8-bit tensor as tables of 256 results, entry i belonging to the input value i (uint8) or i - 128 (int8).

The functions are evaluated in double by Python's `math` and rounded once to float32, so that a table does not depend on
the vector instructions of the machine that computes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.reference.rounding import f32, rint, round_half_away, saturate


def values(dtype: str) -> np.ndarray:
    """All 256 values of the type in ascending order: the inputs that the entries of a table belong to."""
    info = np.iinfo(dtype)
    return np.arange(info.min, info.max + 1).astype(dtype)


def lookup(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The table's entry of each element of x."""
    return table[x.astype(np.int64) - np.iinfo(x.dtype).min]


def sigmoid(x: float) -> float:
    """exp(x) / (1 + exp(x)) in double, 0 and 1 beyond -100 and 100 (XNNPACK's form; onnxruntime's results agree with it)."""
    if abs(x) > 100:
        return float(x > 0)
    exponential = math.exp(x)
    return exponential / (1 + exponential)


def table_xnnpack(
    function: Callable[[float], float], x_scale, x_zero_point, y_scale, y_zero_point, dtype: str
) -> np.ndarray:
    """LOGISTIC (`sigmoid`), TANH (`math.tanh`), ELU: rint(float32(float32(f(A * sx)) * float32(1/sy)) + zy). Equals XNNPACK.

    The zero point is added before the rounding, so that a tie is decided by the parity of the sum.
    """
    inputs = (values(dtype).astype(np.int64) - x_zero_point).astype(f32) * f32(x_scale)
    results = np.array([function(float(x)) for x in inputs], f32)
    scaled = np.clip(results * (f32(1) / f32(y_scale)), f32(-1e6), f32(1e6))
    return saturate(rint(scaled + f32(y_zero_point)), dtype)


def table_onnxruntime(
    function: Callable[[np.float32], float], x_scale, x_zero_point, y_scale, y_zero_point, dtype: str
) -> np.ndarray:
    """DequantizeLinear -> function -> QuantizeLinear of one tensor: rint(float32(f(A * sx)) / sy) + zy. Equals onnxruntime.

    It holds whether onnxruntime fuses the three (QLinearSigmoid, QLinearLeakyRelu, QLinearConcat) or runs them in float.
    `function` gets a float32: the identity requantises, `leaky_relu(alpha)` and `clip(low, high)` are the float32 operators.
    """
    inputs = (values(dtype).astype(np.int64) - x_zero_point).astype(f32) * f32(x_scale)
    with np.errstate(all="ignore"):
        results = np.array([function(x) for x in inputs], f32) / f32(y_scale)
    results = np.where(np.isnan(results), -np.inf, results)  # QuantizeLinear makes a NaN the lowest value
    return saturate(rint(np.clip(results, -1e6, 1e6)) + y_zero_point, dtype)


def identity(x: np.float32) -> np.float32:
    """x: the table only requantises."""
    return x


def leaky_relu(alpha: float) -> Callable[[np.float32], np.float32]:
    """x or, below zero, float32(x * alpha)."""
    return lambda x: x if x >= 0 else x * f32(alpha)


def elu(alpha: float) -> Callable[[np.float32], np.float32]:
    """x or, below zero, float32(alpha * float32(exp(x) - 1))."""
    return lambda x: x if x >= 0 else f32(alpha) * f32(math.expm1(x))


def hard_sigmoid(alpha: float, beta: float) -> Callable[[np.float32], np.float32]:
    """Clipped to 0..1: float32(float32(alpha * x) + beta)."""
    return lambda x: np.clip(f32(alpha) * x + f32(beta), f32(0), f32(1))


def hard_swish(x: np.float32) -> np.float32:
    """x * hard_sigmoid(x), two float32 operators in onnxruntime."""
    return x * hard_sigmoid(1 / 6, 0.5)(x)


def power(exponent: float) -> Callable[[np.float32], float]:
    """Pow with a constant exponent; NaN for a root of a negative number, infinity for a negative power of 0."""
    if exponent in (2, 3):
        return lambda x: x * x if exponent == 2 else x * x * x
    return lambda x: float(np.power(np.float64(x), np.float64(f32(exponent))))


def gelu(x: float) -> float:
    """The definition with erf."""
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: float) -> float:
    """The approximation."""
    x = float(x)
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


FUNCTIONS: dict[str, Callable[[np.float32], float]] = {
    "Erf": math.erf,
    "Exp": lambda x: np.exp(np.float64(x)),
    "Gelu": lambda x: gelu(float(x)),
    "HardSwish": hard_swish,
    "Log": lambda x: np.log(np.float64(x)),
    "Sigmoid": lambda x: sigmoid(float(x)),
    "Softplus": lambda x: np.logaddexp(0.0, np.float64(x)),
    "Sqrt": lambda x: np.sqrt(np.float64(x)),
    "Tanh": lambda x: math.tanh(float(x)),
}


def clip(low: float, high: float) -> Callable[[np.float32], np.float32]:
    """Clip and, with high = infinity, Relu."""
    return lambda x: min(max(x, f32(low)), f32(high))


def table_builtin(
    function: Callable[[np.float32], float], x_scale, x_zero_point, y_scale, y_zero_point, dtype: str
) -> np.ndarray:
    """EXP, LOG, GELU of TFLite: round_half_away(float32(f(A * sx) * float32(1/sy))) + zy (LUTPopulate).

    Where LOG has no number it is the lowest one.
    """
    inputs = (values(dtype).astype(np.int64) - x_zero_point).astype(f32) * f32(x_scale)
    with np.errstate(all="ignore"):
        scaled = np.array([function(x) for x in inputs], f32) * (f32(1) / f32(y_scale))
    scaled = np.clip(np.where(np.isnan(scaled), -np.inf, scaled), -1e6, 1e6)
    return saturate(round_half_away(scaled) + y_zero_point, dtype)


def gelu_float32(x: np.float32) -> np.float32:
    """LiteRT's steps: (0.5 * x) * erfc(x * -sqrt(1/2)), each rounded to float32."""
    return f32(0.5) * x * f32(math.erfc(x * f32(-math.sqrt(0.5))))


def gelu_tanh_float32(x: np.float32) -> np.float32:
    """LiteRT's steps of the approximation, each rounded to float32."""
    inner = f32(math.sqrt(2 / math.pi)) * (x + f32(0.044715) * x * x * x)
    return f32(0.5) * x * (f32(1) + f32(math.tanh(inner)))
