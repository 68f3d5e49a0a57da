"""Builds small quantised TFLite networks, layer by layer, with random weights and scales that use the range of 8 bits."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options

RELU, RELU6 = 1, 3
_SPREAD = 40.0  # steps of the result for one standard deviation of a layer's sums


class Network:
    """A network of int8 (per channel) or uint8 (per tensor) layers; activations are known by their tensors' indices."""

    def __init__(self, seed: int, dtype: str = "int8"):
        self._rng = np.random.default_rng(seed)
        self._builder = ModelBuilder()
        self._dtype = dtype
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._scales: dict[int, float] = {}
        self._count = 0

    def input(self, shape: tuple[int, ...]) -> int:
        self._first = self.activation(shape, 0.02, self._middle())
        return self._first

    def real_input(self, shape: tuple[int, ...]) -> int:
        """A float32 input, and what it is quantised to."""
        self._first = self._builder.tensor("input", list(shape), "float32")
        y = self.activation(shape, 0.03, self._middle())
        self._builder.operator("QUANTIZE", [self._first], [y], options("QuantizeOptions"))
        return y

    def build(self, *outputs: int) -> bytes:
        return self._builder.build([self._first], list(outputs))

    def activation(self, shape: tuple[int, ...], scale: float, zero_point: int) -> int:
        self._count += 1
        index = self._builder.tensor(
            f"t{self._count}", list(shape), self._dtype, scale=scale, zero_point=zero_point
        )
        self._shapes[index], self._scales[index] = shape, float(np.float32(scale))
        return index

    # -- layers ---------------------------------------------------------------------------------------------------------

    def conv(self, x: int, channels: int, kernel: int, stride: int = 1, function: int = RELU6) -> int:
        n, h, w, c = self._shapes[x]
        weight, bias, step = self._weights(x, (channels, kernel, kernel, c), channels, axis=0)
        y = self._result((n, -(-h // stride), -(-w // stride), channels), step, kernel * kernel * c, function)
        o = options(
            "Conv2DOptions",
            padding=0,
            strideH=stride,
            strideW=stride,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=function,
        )
        self._builder.operator("CONV_2D", [x, weight, bias], [y], o)
        return y

    def depthwise(self, x: int, kernel: int = 3, stride: int = 1) -> int:
        n, h, w, c = self._shapes[x]
        weight, bias, step = self._weights(x, (1, kernel, kernel, c), c, axis=3)
        y = self._result((n, -(-h // stride), -(-w // stride), c), step, kernel * kernel, RELU6)
        o = options(
            "DepthwiseConv2DOptions",
            padding=0,
            strideH=stride,
            strideW=stride,
            depthMultiplier=1,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=RELU6,
        )
        self._builder.operator("DEPTHWISE_CONV_2D", [x, weight, bias], [y], o)
        return y

    def dense(self, x: int, units: int, function: int = 0) -> int:
        n, c = self._shapes[x]
        weight, bias, step = self._weights(x, (units, c), units, axis=None)
        y = self._result((n, units), step, c, function)
        self._builder.operator(
            "FULLY_CONNECTED",
            [x, weight, bias],
            [y],
            options("FullyConnectedOptions", fusedActivationFunction=function),
        )
        return y

    def add(self, a: int, b: int) -> int:
        y = self.activation(self._shapes[a], (self._scales[a] + self._scales[b]) * 0.8, self._middle())
        self._builder.operator("ADD", [a, b], [y], options("AddOptions"))
        return y

    def mean(self, x: int) -> int:
        n, _, _, c = self._shapes[x]
        axes = self._builder.tensor("axes", [2], "int32", [1, 2])
        y = self.activation((n, c), self._scales[x] * 0.5, self._middle())
        self._builder.operator("MEAN", [x, axes], [y], options("ReducerOptions", keepDims=False))
        return y

    def pool(self, x: int, op_type: str, size: int) -> int:
        n, h, w, c = self._shapes[x]
        y = self._like(x, (n, h // size, w // size, c))
        o = options(
            "Pool2DOptions", padding=1, strideH=size, strideW=size, filterHeight=size, filterWidth=size
        )
        self._builder.operator(op_type, [x], [y], o)
        return y

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        wanted = self._builder.tensor("shape", [len(shape)], "int32", list(shape))
        y = self._like(x, shape)
        self._builder.operator("RESHAPE", [x, wanted], [y], options("ReshapeOptions", newShape=list(shape)))
        return y

    def resize(self, x: int, height: int, width: int) -> int:
        n, _, _, c = self._shapes[x]
        size = self._builder.tensor("size", [2], "int32", [height, width])
        y = self._like(x, (n, height, width, c))
        o = options("ResizeBilinearOptions", alignCorners=False, halfPixelCenters=True)
        self._builder.operator("RESIZE_BILINEAR", [x, size], [y], o)
        return y

    def split(self, x: int, parts: int) -> list[int]:
        """Along the channels."""
        *outer, c = self._shapes[x]
        axis = self._builder.tensor("axis", [], "int32", 3)
        ys = [self._like(x, (*outer, c // parts)) for _ in range(parts)]
        self._builder.operator("SPLIT", [axis, x], ys, options("SplitOptions", numSplits=parts))
        return ys

    def concatenate(self, *xs: int) -> int:
        *outer, _ = self._shapes[xs[0]]
        y = self._like(xs[0], (*outer, sum(self._shapes[x][-1] for x in xs)))
        self._builder.operator("CONCATENATION", list(xs), [y], options("ConcatenationOptions", axis=3))
        return y

    def softmax(self, x: int) -> int:
        y = self.activation(self._shapes[x], 1 / 256, -128 if self._dtype == "int8" else 0)
        beta = 4 / (_SPREAD * self._scales[x])  # so that no class takes all
        self._builder.operator("SOFTMAX", [x], [y], options("SoftmaxOptions", beta=beta))
        return y

    def argmax(self, x: int) -> int:
        axis = self._builder.tensor("axis", [], "int32", len(self._shapes[x]) - 1)
        y = self._builder.tensor("labels", list(self._shapes[x][:-1]), "int32")
        self._builder.operator(
            "ARG_MAX", [x, axis], [y], options("ArgMaxOptions", outputType=2)
        )  # 2: TensorType.INT32
        return y

    # -- numbers --------------------------------------------------------------------------------------------------------

    def _middle(self) -> int:
        return int(self._rng.integers(-9, 10)) + 128 * (self._dtype == "uint8")

    def _like(self, x: int, shape: tuple[int, ...]) -> int:
        """An activation of the quantisation of another."""
        zero_point = int(self._builder.graph.tensors[x].quantization.zeroPoint[0])
        return self.activation(shape, self._scales[x], zero_point)

    def _weights(
        self, x: int, shape: tuple[int, ...], channels: int, axis: int | None
    ) -> tuple[int, int, float]:
        """The tensors of weights and biases, and the size of one step of the sums."""
        if self._dtype == "uint8" or axis is None:
            scale, zeros, along = 0.01, 0, 0
            steps = np.full(channels, scale * self._scales[x])
        else:
            scale = self._rng.uniform(0.005, 0.02, channels).astype(np.float32)
            zeros, along, steps = [0] * channels, axis, scale * self._scales[x]
        if self._dtype == "uint8":
            zeros = int(self._rng.integers(100, 156))
            data = np.clip(self._rng.normal(zeros, 40, shape), 0, 255)
        else:
            data = np.clip(self._rng.normal(0, 40, shape), -127, 127)
        weight = self._builder.tensor(
            "weight", list(shape), self._dtype, np.rint(data), scale, zeros, axis=along
        )
        bias = self._builder.tensor(
            "bias",
            [channels],
            "int32",
            self._rng.integers(-2000, 2001, channels),
            steps if np.ndim(scale) else float(steps[0]),
            [0] * channels if np.ndim(scale) else 0,
        )
        return weight, bias, float(np.mean(steps))

    def _result(self, shape: tuple[int, ...], step: float, depth: int, function: int) -> int:
        """An activation for sums of ``depth`` products; what a ReLU leaves begins at the lowest number."""
        scale = step * 40 * 40 * depth**0.5 / _SPREAD
        zero_point = (-128 if self._dtype == "int8" else 0) if function else self._middle()
        return self.activation(shape, scale, zero_point)
