"""Deterministic parameters of a layer: SHAKE-128 of the layer's name, mapped to numbers by exact arithmetic.

No random generator of a library, no BLAS, no transcendental function: every step is an integer operation or one
correctly rounded IEEE 754 operation an element, so the bytes do not depend on machine, thread count or version.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from generator.moments import Moments

BATCH_NORM_EPSILON = 1e-5
_BYTES_A_VALUE = 4
_BELL_STD = sqrt(_BYTES_A_VALUE * (256**2 - 1) / 12)  # of a sum of four uniform bytes


def bell(key: str, count: int) -> np.ndarray:
    """`count` int16 values in [-510, 510], bell-shaped (sums of four uniform bytes), mean 0, std 147.8."""
    raw = hashlib.shake_128(key.encode()).digest(_BYTES_A_VALUE * count)
    values = np.frombuffer(raw, np.int8).reshape(_BYTES_A_VALUE, count).sum(axis=0, dtype=np.int16)
    return values + np.int16(_BYTES_A_VALUE // 2)  # int8 is centred on -1/2


def uniform(key: str, count: int, low: float, high: float) -> np.ndarray:
    """`count` float32 values on a grid of 65536 steps in [low, high)."""
    raw = np.frombuffer(hashlib.shake_128(key.encode()).digest(2 * count), "<u2")
    return (low + raw.astype(np.float64) * ((high - low) / 65536.0)).astype(np.float32)


@dataclass(frozen=True)
class Parameters:
    """Weights (and bias or batch normalisation) of one Conv or Gemm.

    key: unique name that seeds every value. shape: ONNX order, output channels first. input: moments of the layer's
    input. std, mean: wanted moments of the layer's output (before its activation). batch_norm: whether the layer is
    followed by a batch normalisation instead of having a bias. centred: whether every filter sums to 0, so that the
    common mean of a rectified input is ignored; without it the answer of a deep random network hardly depends on
    what it is given.
    """

    key: str
    shape: tuple[int, ...]
    input: Moments
    std: float
    mean: float
    batch_norm: bool
    centred: bool

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.shape[0]

    @property
    def output(self) -> Moments:
        """Expected moments of the layer's output, before its activation."""
        # Channels differ in gain, by at most a quarter, and in bias, by at most half the std: 1 + 1/48 + 1/12.
        return Moments(self.mean, self.mean * self.mean + 1.1 * self.std * self.std)

    @property
    def _input_power(self) -> float:
        """Expected square of the part of an input element that the weights see."""
        return self.input.std**2 if self.centred else self.input.mean_square

    @property
    def _sum_std(self) -> float:
        """Expected std of the sum of products, before batch normalisation."""
        return sqrt(2.0 * self._input_power) if self.batch_norm else self.std

    def weights(self) -> np.ndarray:
        """float32 weights of `shape`: He et al.'s variance 2 / fan_in before a batch normalisation, else scaled so
        that the sum of products has the wanted std."""
        fan_in = prod(self.shape[1:])
        std = self._sum_std / sqrt(fan_in * self._input_power)
        integers = bell(self.key + "/weight", prod(self.shape)).reshape(self.channels, fan_in)
        values = integers.astype(np.float32)
        if self.centred:
            values -= (integers.sum(axis=1, keepdims=True, dtype=np.int64) / fan_in).astype(np.float32)
        values *= np.float32(std / _BELL_STD)
        return values.reshape(self.shape)

    def bias(self) -> np.ndarray:
        """float32 [channels], the bias of a layer without batch normalisation."""
        spread = 0.5 * self.std
        return uniform(self.key + "/bias", self.channels, self.mean - spread, self.mean + spread)

    def normalization(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """float32 [channels] scale, bias, running mean and running variance, as ONNX BatchNormalization takes them."""
        count, variance = self.channels, self._sum_std**2
        scale = uniform(self.key + "/scale", count, 0.75 * self.std, 1.25 * self.std)
        bias = self.bias()
        mean = uniform(self.key + "/mean", count, -0.1 * self._sum_std, 0.1 * self._sum_std)
        var = uniform(self.key + "/var", count, 0.8 * variance, 1.25 * variance)
        return scale, bias, mean, var

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights float32 of `shape` and bias float64 [channels], with the batch normalisation folded in."""
        if not self.batch_norm:
            return self.weights(), self.bias().astype(np.float64)
        scale, bias, mean, var = (values.astype(np.float64) for values in self.normalization())
        factor = scale / np.sqrt(var + BATCH_NORM_EPSILON)
        per_channel = factor.astype(np.float32).reshape(-1, *[1] * (len(self.shape) - 1))
        return self.weights() * per_channel, bias - mean * factor
