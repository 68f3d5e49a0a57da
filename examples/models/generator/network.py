"""Describes a network once, layer by layer; `float32` and `int8` write it as ONNX.

A layer is what one quantised step is: an operator with its batch normalisation and activation. All tensors are NCHW.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from math import prod

from generator.moments import Moments
from generator.parameters import Parameters

# Expected share of clipped values of a normal distribution: 6e-5.
_RANGE_IN_STDS = 5.0


@dataclass(frozen=True)
class Tensor:
    """One value of the network: name, NCHW shape, expected moments, and the real range that int8 covers."""

    name: str
    shape: tuple[int, ...]
    moments: Moments
    low: float
    high: float


@dataclass(frozen=True)
class Layer:
    """One ONNX operator `op_type`, then a batch normalisation if its parameters say so, then `activation`
    ("", "Relu" or "Relu6")."""

    op_type: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    attributes: dict[str, int | list[int]] = field(default_factory=dict)
    parameters: Parameters | None = None
    activation: str = ""


@dataclass
class Network:
    """A network under construction: call the layer methods in order, then `result` for every output."""

    name: str
    inputs: list[Tensor] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def input(self, name: str, shape: tuple[int, ...], low: float, high: float, moments: Moments) -> Tensor:
        """Declares a float32 input; `low` and `high` bound its values."""
        self.inputs.append(Tensor(name, shape, moments, low, high))
        return self.inputs[-1]

    def result(self, tensor: Tensor) -> None:
        """Declares a float32 output."""
        self.outputs.append(tensor)

    def conv(
        self,
        x: Tensor,
        name: str,
        channels: int,
        kernel: int,
        stride: int = 1,
        pads: list[int] | None = None,
        *,
        depthwise: bool = False,
        activation: str = "Relu",
        batch_norm: bool = True,
        std: float = 1.0,
    ) -> Tensor:
        """Convolution with a square kernel, batch normalisation (or bias) and activation.

        pads: ONNX order [top, left, bottom, right]; symmetric (kernel - 1) / 2 by default. std: of the output before
        the activation.
        """
        pads = [(kernel - 1) // 2] * 4 if pads is None else pads
        group = x.shape[1] if depthwise else 1
        window = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": pads}
        attributes = {**window, "dilations": [1, 1], "group": group}
        weight_shape = (channels, x.shape[1] // group, kernel, kernel)
        shape = (1, channels, *_window_counts(x, kernel, stride, pads))
        centred = x.low == 0.0 and not depthwise
        parameters = self._parameters(name, weight_shape, x, std, batch_norm, centred)
        return self._linear("Conv", x, name, shape, attributes, parameters, activation)

    def dense(self, x: Tensor, name: str, channels: int, std: float = 1.0) -> Tensor:
        """Fully connected layer with bias: [1, n] -> [1, channels]."""
        parameters = self._parameters(
            name, (channels, x.shape[1]), x, std, batch_norm=False, centred=x.low == 0.0
        )
        return self._linear("Gemm", x, name, (1, channels), {"transB": 1}, parameters, activation="")

    def add(self, a: Tensor, b: Tensor, name: str, activation: str = "Relu") -> Tensor:
        """Element-wise sum and activation."""
        output = _activated(name, a.shape, a.moments.plus(b.moments), activation)
        return self._append(Layer("Add", (a, b), output, activation=activation))

    def max_pool(self, x: Tensor, name: str, kernel: int, stride: int, pads: list[int]) -> Tensor:
        """Maximum over square windows; the quantisation is its input's."""
        shape = (*x.shape[:2], *_window_counts(x, kernel, stride, pads))
        output = Tensor(name, shape, x.moments.max_pool(), x.low, x.high)
        attributes = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": pads}
        return self._append(Layer("MaxPool", (x,), output, attributes))

    def global_average_pool(self, x: Tensor, name: str) -> Tensor:
        """[1, c, h, w] -> [1, c, 1, 1]; a mean stays in the range of its values."""
        output = Tensor(name, (*x.shape[:2], 1, 1), x.moments, x.low, x.high)
        return self._append(Layer("GlobalAveragePool", (x,), output))

    def flatten(self, x: Tensor, name: str) -> Tensor:
        """[1, ...] -> [1, n]."""
        return self._moved("Flatten", x, name, (1, prod(x.shape)), {"axis": 1})

    def transpose(self, x: Tensor, name: str, perm: list[int]) -> Tensor:
        """Permutes the axes."""
        return self._moved("Transpose", x, name, tuple(x.shape[axis] for axis in perm), {"perm": perm})

    def reshape(self, x: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
        """Reshapes to a fully known shape of the same size; the first axis, the batch, stays."""
        if prod(shape) != prod(x.shape):
            raise ValueError(f"{name}: cannot reshape {x.shape} to {shape}")
        return self._moved("Reshape", x, name, shape, {})

    def concat(self, xs: list[Tensor], name: str, axis: int) -> Tensor:
        """Joins tensors of equal quantisation along `axis`."""
        first = xs[0]
        if any((x.low, x.high) != (first.low, first.high) for x in xs):
            raise ValueError(f"{name}: the tensors to join have different ranges")
        shape = list(first.shape)
        shape[axis] = sum(x.shape[axis] for x in xs)
        output = Tensor(name, tuple(shape), first.moments, first.low, first.high)
        return self._append(Layer("Concat", tuple(xs), output, {"axis": axis}))

    def _parameters(
        self, name: str, shape: tuple[int, ...], x: Tensor, std: float, batch_norm: bool, centred: bool
    ) -> Parameters:
        key = f"{self.name}/{name}"
        # A bias mean that differs from layer to layer gives every layer its own zero point, as in trained models.
        offset = hashlib.shake_128(f"{key}/mean".encode()).digest(1)[0] / 255.0 - 0.5
        mean = 0.5 * offset * std if batch_norm else 0.0
        return Parameters(key, shape, x.moments, std, mean, batch_norm, centred)

    def _linear(
        self,
        op_type: str,
        x: Tensor,
        name: str,
        shape: tuple[int, ...],
        attributes: dict,
        parameters: Parameters,
        activation: str,
    ) -> Tensor:
        output = _activated(name, shape, parameters.output, activation)
        return self._append(Layer(op_type, (x,), output, attributes, parameters, activation))

    def _moved(self, op_type: str, x: Tensor, name: str, shape: tuple[int, ...], attributes: dict) -> Tensor:
        output = Tensor(name, shape, x.moments, x.low, x.high)
        return self._append(Layer(op_type, (x,), output, attributes))

    def _append(self, layer: Layer) -> Tensor:
        self.layers.append(layer)
        return layer.output


def _window_counts(x: Tensor, kernel: int, stride: int, pads: list[int]) -> tuple[int, int]:
    """Positions of a square window in the height and the width of `x`."""
    height, width = x.shape[2] + pads[0] + pads[2], x.shape[3] + pads[1] + pads[3]
    return (height - kernel) // stride + 1, (width - kernel) // stride + 1


def _activated(name: str, shape: tuple[int, ...], moments: Moments, activation: str) -> Tensor:
    """The output tensor of a layer whose value before the activation has `moments`."""
    low, high = moments.mean - _RANGE_IN_STDS * moments.std, moments.mean + _RANGE_IN_STDS * moments.std
    if activation == "":
        return Tensor(name, shape, moments, low, high)
    return Tensor(name, shape, moments.relu(), 0.0, 6.0 if activation == "Relu6" else high)
