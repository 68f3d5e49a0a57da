"""Functions of one real number, for tables: by Python's math in double, so that a table is the same on every machine.

A caller rounds the result to float32.  Where a function has no value it gives NaN, where it overflows an infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from furiosa.compiler.ldfg.arithmetic import f32

Function = Callable[[float], float]


def sigmoid(x: float) -> float:
    """e^x / (1 + e^x); 0 and 1 beyond -100 and 100."""
    if abs(x) > 100:
        return float(x > 0)
    e = math.exp(x)
    return e / (1 + e)


def exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def log(x: float) -> float:
    """NaN below 0."""
    if x <= 0:
        return math.nan if x else -math.inf
    return math.log(x)


def sqrt(x: float) -> float:
    """NaN below 0."""
    return math.sqrt(x) if x >= 0 else math.nan


def softplus(x: float) -> float:
    """log(1 + e^x)."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def gelu(x: float) -> float:
    """x * (1 + erf(x / sqrt(2))) / 2."""
    return 0.5 * x * (1 + math.erf(x * math.sqrt(0.5)))


def gelu_tanh(x: float) -> float:
    """Gelu by the approximation with tanh."""
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def elu(alpha: float) -> Function:
    """x or, below zero, float32(alpha * float32(e^x - 1))."""
    return lambda x: x if x >= 0 else float(f32(alpha) * f32(math.expm1(x)))


def leaky_relu(alpha: float) -> Function:
    """x or, below zero, float32(x * alpha)."""
    return lambda x: x if x >= 0 else float(f32(x) * f32(alpha))


def clip(low: float, high: float) -> Function:
    return lambda x: min(max(x, low), high)


def hard_sigmoid(alpha: float, beta: float) -> Function:
    """x * alpha + beta within 0 and 1, step by step in float32."""
    return lambda x: min(max(float(f32(f32(x) * f32(alpha)) + f32(beta)), 0.0), 1.0)


def hard_swish(x: float) -> float:
    """x * hard_sigmoid(x) with 1/6 and 1/2."""
    return float(f32(x) * f32(hard_sigmoid(1 / 6, 0.5)(x)))


def power(exponent: float) -> Function:
    """x^exponent; squares and cubes by multiplication in float32.  NaN for a root of a number below 0."""
    if exponent == 2:
        return lambda x: x * x
    if exponent == 3:
        return lambda x: float(f32(f32(x) * f32(x)) * f32(x))

    def function(x: float) -> float:
        if x == 0 and exponent < 0:
            return math.inf
        try:
            return math.pow(x, exponent)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf if x > 0 or exponent % 2 != 1 else -math.inf

    return function
