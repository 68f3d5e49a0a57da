"""One model for each operator that a lowering table names, and for what runtimes compute together with it.

The name of a case is the key of the table, or that and what comes with it: "Conv + Relu".  The shapes follow from a ``Size``, and scales and
zero points may be replaced: numerics.py draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from tests.reference import onnx_op
from tests.reference.onnx_op import Operand

SCALE, ZERO = 0.05, 3  # of inputs: -6.55 to 6.2
LEAST = -128  # a zero point that stays the least value of the type, whatever is drawn


class Size(NamedTuple):
    """Of an image: ``channels`` in fours, an even height and width."""

    channels: int = 4
    height: int = 6
    width: int = 6


def data(shape: tuple[int, ...], seed: int = 1, dtype: str = "int8") -> np.ndarray:
    """Integers of the whole range of an 8-bit type."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


def operators_of(name: str) -> list[str]:
    """The keys that a case or a row is about."""
    return name.split(" + ")


# -- ONNX -----------------------------------------------------------------------------------------------------------------


def x(*shape: int, scale: float = SCALE, zero: int = ZERO) -> Operand:
    """An input."""
    return Operand(shape, "int8", scale, zero)


def w(*shape: int, axis: int | None = None, scale: float = 0.02) -> Operand:
    """Constant weights; with an ``axis``, one scale for each place along it."""
    scales = scale if axis is None else np.linspace(scale / 2, scale, shape[axis], dtype=np.float32)
    return Operand(shape, "int8", scales, 0, data(shape), axis)


def bias(weights: Operand) -> Operand:
    """A bias of integers, a number for each place along the weights' axis."""
    step = np.float32(SCALE) * weights.scale
    return Operand(step.shape, "int32", step, 0, data(step.shape, 3).astype(np.int32) * 30, 0)


def const(values: Any, dtype: str = "int64") -> Operand:
    array = np.asarray(values, dtype)
    return Operand(array.shape, dtype, data=array)


class Onnx(NamedTuple):
    """Operators between DequantizeLinear and QuantizeLinear: ``kind``, and ``after`` it others.

    ``is_moved``: scale and zero point of the output are those of the inputs.  A ``scale`` of None: the result is real.
    """

    kind: str
    inputs: list[Operand]
    output: tuple[int, ...]
    attributes: Mapping[str, Any] = MappingProxyType({})
    scale: float | None = SCALE
    zero: int = -5
    opset: int = 18
    after: Sequence[tuple[str, dict[str, Any]]] = ()
    results: int = 1
    is_moved: bool = False
    dtype: str = "int8"

    def model(self) -> bytes:
        """The bytes of the file."""
        if self.scale is None:
            output = Operand(self.output, "float32")
        else:
            output = Operand(self.output, self.dtype, self.scale, self.zero)
        chain = [(self.kind, dict(self.attributes)), *self.after] if self.kind else []
        return onnx_op.build_qdq(chain, self.inputs, [output] * self.results, self.opset)

    def feeds(self, seed: int) -> list[np.ndarray]:
        """Inputs: integers of the whole range, or normal numbers."""
        return [_feed(i, seed + n) for n, i in enumerate(self.inputs) if i.data is None]


def _feed(operand: Operand, seed: int) -> np.ndarray:
    if operand.dtype == "float32":
        return np.random.default_rng(seed).normal(0, 3, operand.shape).astype(np.float32)
    return data(operand.shape, seed, operand.dtype)


# what takes the quantisation of its input along
MOVED = {"scale": SCALE, "zero": ZERO, "is_moved": True}


def onnx_cases(size: Size = Size()) -> dict[str, Onnx]:  # noqa: B008  immutable
    """A case for every operator."""
    cases = {
        **_onnx_contractions(size),
        **_onnx_functions(size),
        **_onnx_reductions(size),
        **_onnx_pairs(size),
    }
    return cases | _onnx_moves(size) | _onnx_windows(size)


def _onnx_contractions(s: Size) -> dict[str, Onnx]:
    image, features = (1, *s), s.height * s.width
    conv_w, gemm_w = w(8, s.channels, 3, 3, axis=0), w(features, 8)
    columns = w(features, 8, axis=1)
    real = const(np.linspace(-3, 3, 8), "float32")
    y, conv_scale, gemm_scale = (1, 8, s.height - 2, s.width - 2), 0.1 * s.channels**0.5, 0.05 * features**0.5
    back_w = Operand((s.channels, 8, 2, 2), "int8", 0.02, 0, data((s.channels, 8, 2, 2)))
    normalize = [
        const(np.linspace(*ends, 8), "float32").data for ends in ((0.5, 2), (-1, 1), (-0.5, 0.5), (1, 2))
    ]
    small, rows, y2 = x(*image), x(8 * s.channels, features), (8 * s.channels, 8)
    relu, leaky = [("Relu", {})], [("LeakyRelu", {"alpha": 0.2})]
    return {
        "Conv": Onnx("Conv", [small, conv_w], y, scale=conv_scale),
        "Conv + bias": Onnx("Conv", [small, conv_w, bias(conv_w)], y, scale=conv_scale),
        "Conv + real bias": Onnx("Conv", [small, conv_w, real], y, scale=conv_scale),
        "Conv + Relu": Onnx("Conv", [small, conv_w, bias(conv_w)], y, scale=conv_scale, after=relu),
        "Conv + LeakyRelu": Onnx("Conv", [small, conv_w], y, scale=conv_scale, after=leaky),
        "Conv + BatchNormalization": Onnx(
            "Conv",
            [small, conv_w],
            y,
            scale=conv_scale,
            after=[("BatchNormalization", {"inputs": normalize})],
        ),
        "ConvTranspose": Onnx(
            "ConvTranspose",
            [small, back_w],
            (1, 8, 2 * s.height, 2 * s.width),
            {"strides": [2, 2]},
            conv_scale / 2,
        ),
        "Gemm": Onnx("Gemm", [rows, gemm_w], y2, scale=gemm_scale),
        "Gemm + bias": Onnx("Gemm", [rows, columns, bias(columns)], y2, scale=gemm_scale),
        "Gemm + real bias": Onnx("Gemm", [rows, gemm_w, real], y2, scale=gemm_scale),
        "Gemm + Relu": Onnx("Gemm", [rows, columns, bias(columns)], y2, scale=gemm_scale, after=relu),
        "MatMul": Onnx("MatMul", [rows, gemm_w], y2, scale=gemm_scale),
        "MatMul + Relu": Onnx("MatMul", [rows, gemm_w], y2, scale=gemm_scale, after=relu),
        "MatMul + MatMul": Onnx(
            "MatMul", [x(2, 8, features), x(2, features, 8)], (2, 8, 8), scale=3 * gemm_scale
        ),
    }


def _onnx_functions(s: Size) -> dict[str, Onnx]:
    """Of one 8-bit value."""
    image = (1, *s)
    xs, positive = [x(*image)], [x(*image, zero=LEAST)]

    def of(kind: str, inputs: list[Operand] = xs, **fields: Any) -> Onnx:
        return Onnx(kind, inputs, image, **fields)

    return {
        "Clip": of("Clip", [*xs, const(-1.5, "float32"), const(2.25, "float32")]),
        "DequantizeLinear": of("", scale=None),
        "Elu": of("Elu", attributes={"alpha": 1.3}),
        "Erf": of("Erf", scale=0.01, zero=0),
        "Exp": of("Exp", scale=2.0, zero=LEAST),
        "Gelu": of("Gelu", attributes={"approximate": "none"}, opset=20),
        "HardSigmoid": of("HardSigmoid", attributes={"alpha": 0.3, "beta": 0.4}, scale=1 / 256, zero=LEAST),
        "HardSwish": of("HardSwish"),
        "LeakyRelu": of("LeakyRelu", attributes={"alpha": 0.2}),
        "Log": of("Log", positive, scale=0.04),
        "PRelu": of("PRelu", [*xs, const(np.full((s.channels, 1, 1), 0.25), "float32")]),
        "Pow": of("Pow", [*positive, const(0.5, "float32")], scale=0.02, zero=LEAST),
        "QuantizeLinear": of("", [Operand(image, "float32")], zero=0),
        "DequantizeLinear + QuantizeLinear": of(""),
        "Relu": of("Relu", zero=LEAST),
        "Sigmoid": of("Sigmoid", scale=1 / 256, zero=LEAST),
        "Softplus": of("Softplus", zero=LEAST),
        "Sqrt": of("Sqrt", positive, scale=0.015, zero=LEAST),
        "Tanh": of("Tanh", scale=1 / 128, zero=0),
    }


def _onnx_reductions(s: Size) -> dict[str, Onnx]:
    image, rows = (1, *s), (2, s.height, 5 * s.channels)
    width, last = s.width**0.5, rows[-1]
    gamma = const(np.linspace(0.5, 1.5, last), "float32")
    beta = const(np.linspace(-1, 1, last), "float32")
    xs, row = [x(*image)], {"axes": [3]}
    kept = (*image[:3], 1)
    return {
        "LayerNormalization": Onnx("LayerNormalization", [x(*rows), gamma, beta], rows, scale=0.02),
        "LpNormalization": Onnx("LpNormalization", xs, image, {"axis": 3, "p": 2}, scale=0.01, zero=0),
        "RMSNormalization": Onnx("RMSNormalization", [x(*rows), gamma], rows, scale=0.02, opset=23),
        "ReduceL2": Onnx("ReduceL2", xs, kept, row, scale=0.04 * width, zero=LEAST, opset=13),
        "ReduceMax": Onnx("ReduceMax", xs, kept, row, **MOVED, opset=13),
        "ReduceMean": Onnx("ReduceMean", xs, kept, row, scale=SCALE / width, opset=13),
        "ReduceMin": Onnx("ReduceMin", xs, kept, row, **MOVED, opset=13),
        "ReduceSum": Onnx("ReduceSum", [*xs, const([3])], kept, scale=SCALE * width, opset=13),
        "SimplifiedLayerNormalization": Onnx(
            "SimplifiedLayerNormalization", [x(*rows), gamma], rows, {"epsilon": 1e-6}, scale=0.02
        ),
        "Softmax": Onnx("Softmax", [x(2, last)], (2, last), {"axis": 1}, scale=1 / 256, zero=LEAST),
    }


def _onnx_pairs(s: Size) -> dict[str, Onnx]:
    """Of two tensors."""
    image = (1, *s)
    a, other = x(*image), x(*image, scale=0.03, zero=-7)
    return {
        "Add": Onnx("Add", [a, other], image, scale=0.07),
        "Add + Relu": Onnx("Add", [a, other], image, scale=0.07, after=[("Relu", {})]),
        "Div": Onnx("Div", [a, x(s.channels, 1, 1, scale=0.03, zero=-7)], image, scale=0.03),
        "Max": Onnx("Max", [a, a], image, **MOVED),
        "Mean": Onnx("Mean", [a, a], image),
        "Min": Onnx("Min", [a, a], image, **MOVED),
        "Mul": Onnx("Mul", [a, other], image, scale=0.2),
        "Sub": Onnx("Sub", [a, other], image, scale=0.07),
        "Sum": Onnx("Sum", [a, a], image, scale=0.1),
    }


def _onnx_moves(s: Size) -> dict[str, Onnx]:
    c, h, wide = s
    image, plain = (1, *s), (1, c, wide)

    def move(
        kind: str, output: tuple[int, ...], *more: Operand, of: tuple[int, ...] = image, **fields: Any
    ) -> Onnx:
        results = fields.pop("results", 1)
        return Onnx(kind, [x(*of), *more], output, fields, **MOVED, results=results)

    return {
        "Concat": Onnx("Concat", [x(*image), x(*image)], (1, 2 * c, h, wide), {"axis": 1}, **MOVED),
        "DepthToSpace": move("DepthToSpace", (1, c // 4, 2 * h, 2 * wide), blocksize=2),
        "Dropout": move("Dropout", image),
        "Expand": move("Expand", image, const(image), of=(1, c, 1, wide)),
        "Flatten": move("Flatten", (1, c * h * wide)),
        "Gather": move("Gather", (1, c, 4, wide), const([3, 0, 0, -1]), axis=2),
        "Identity": move("Identity", image),
        "Pad": move("Pad", (1, c, h + 2, wide + 2), const([0, 0, 1, 0, 0, 0, 1, 2])),
        "Reshape": move("Reshape", (1, h, c * wide), const([1, h, c * wide])),
        "Slice": move("Slice", (1, c, h - 2, wide), const([1]), const([h - 1]), const([2])),
        "SpaceToDepth": move("SpaceToDepth", (1, 4 * c, h // 2, wide // 2), blocksize=2),
        "Split": move("Split", (1, c // 2, h, wide), axis=1, num_outputs=2, results=2),
        "Squeeze": move("Squeeze", plain, const([2]), of=(1, c, 1, wide)),
        "Tile": move("Tile", (1, 2 * c, wide), const([1, 2, 1]), of=plain),
        "Transpose": move("Transpose", (1, h, wide, c), perm=[0, 2, 3, 1]),
        "Unsqueeze": move("Unsqueeze", (1, c, 1, wide), const([2]), of=plain),
    }


def _onnx_windows(s: Size) -> dict[str, Onnx]:
    c, h, wide = s
    xs, window = [x(1, *s)], {"kernel_shape": [2, 2], "strides": [2, 2]}
    resized = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    by_two = [const([], "float32"), const([1, 1, 2, 2], "float32")]
    half = (1, c, h // 2, wide // 2)
    return {
        "AveragePool": Onnx("AveragePool", xs, half, window, **MOVED),
        "GlobalAveragePool": Onnx("GlobalAveragePool", xs, (1, c, 1, 1), scale=0.01),
        "GlobalMaxPool": Onnx("GlobalMaxPool", xs, (1, c, 1, 1), **MOVED),
        "MaxPool": Onnx("MaxPool", xs, half, window, **MOVED),
        "Resize": Onnx("Resize", [*xs, *by_two], (1, c, 2 * h, 2 * wide), resized, **MOVED),
        "Resize + linear": Onnx(
            "Resize", [*xs, *by_two], (1, c, 2 * h, 2 * wide), {"mode": "linear"}, **MOVED
        ),
    }


# -- TFLite ---------------------------------------------------------------------------------------------------------------


class Tflite(NamedTuple):
    """One operator; an input is the shape of an activation, or the array of a constant, which is quantised where it is int8.

    ``is_moved``: as of ``Onnx``.  ``is_fixed``: LiteRT takes this quantisation of the output and no other.  A ``scale`` of None: the
    output is real.
    """

    kind: str
    inputs: list[Any]
    output: tuple[int, ...] | list[tuple[int, ...]]
    options: Any = None
    scale: float | None = SCALE
    zero: int = -5
    is_moved: bool = False
    is_fixed: bool = False
    scales: tuple[float, ...] = (SCALE, SCALE)  # of the activations, in order
    zeros: tuple[int, ...] = (ZERO, ZERO)
    weight_scale: float = 0.02

    def model(self) -> bytes:
        """The bytes of the file."""
        b, inputs, activations = ModelBuilder(), [], []
        for n, value in enumerate(self.inputs):
            if isinstance(value, tuple):
                q = self.scales[len(activations)], self.zeros[len(activations)]
                activations.append(b.tensor(f"x{n}", list(value), "int8", None, *q))
                inputs.append(activations[-1])
            else:
                inputs.append(self._constant(b, f"c{n}", value))
        outputs = self.output if isinstance(self.output, list) else [self.output]
        dtype, q = ("int8", (self.scale, self.zero)) if self.scale is not None else ("float32", ())
        made = [b.tensor(f"y{n}", list(s), dtype, None, *q) for n, s in enumerate(outputs)]
        b.operator(self.kind, inputs, made, self.options)
        return b.build(activations, made)

    def _constant(self, b: ModelBuilder, name: str, value: np.ndarray) -> int:
        if value.dtype == np.int8:
            q = (self.scales[0], self.zeros[0]) if self.kind == "PADV2" else (self.weight_scale, 0)
            return b.tensor(name, list(value.shape), "int8", value, *q)
        is_bias = self.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        step = float(np.float32(self.weight_scale) * np.float32(self.scales[0])) if is_bias else None
        return b.tensor(name, list(value.shape), "int32", value, step)

    def feeds(self, seed: int) -> list[np.ndarray]:
        """Inputs: integers of the whole range."""
        shapes = [value for value in self.inputs if isinstance(value, tuple)]
        return [data(s, seed + n) for n, s in enumerate(shapes)]


I32 = np.int32
FIXED = {"scale": 1 / 256, "zero": -128, "is_fixed": True}
FIXED_SIGNED = {"scale": 1 / 128, "zero": 0, "is_fixed": True}
RELU6 = 3  # a fused activation


def tflite_cases(size: Size = Size()) -> dict[str, Tflite]:  # noqa: B008  immutable
    """A case for every operator."""
    cases = {**_tflite_contractions(size), **_tflite_functions(size), **_tflite_pairs(size)}
    return cases | _tflite_windows(size) | _tflite_moves(size) | _tflite_shapes(size)


def _window(kind: str, **fields: Any) -> Any:
    return options(kind, padding=1, strideH=1, strideW=1, **fields)


def _tflite_contractions(s: Size) -> dict[str, Tflite]:
    c, h, wide = s
    nhwc, y = (1, h, wide, c), (1, h - 2, wide - 2, 8)
    features = h * wide
    conv, depthwise = 0.1 * c**0.5, 0.3
    dilation = {"dilationHFactor": 1, "dilationWFactor": 1}
    kernel, step = data((8, 3, 3, c)), np.arange(-4, 4, dtype=I32) * 100
    return {
        "BATCH_MATMUL": Tflite(
            "BATCH_MATMUL", [(1, h, 8), (1, 8, wide)], (1, h, wide), options("BatchMatMulOptions"), 0.4
        ),
        "CONV_2D": Tflite("CONV_2D", [nhwc, kernel, step], y, _window("Conv2DOptions", **dilation), conv),
        "CONV_2D + RELU6": Tflite(
            "CONV_2D",
            [nhwc, kernel, step],
            y,
            _window("Conv2DOptions", **dilation, fusedActivationFunction=RELU6),
            conv / 4,
        ),
        "DEPTHWISE_CONV_2D": Tflite(
            "DEPTHWISE_CONV_2D",
            [nhwc, data((1, 3, 3, c)), np.arange(c, dtype=I32) * 100],
            (1, h - 2, wide - 2, c),
            _window("DepthwiseConv2DOptions", depthMultiplier=1, **dilation),
            depthwise,
        ),
        "FULLY_CONNECTED": Tflite(
            "FULLY_CONNECTED",
            [(8 * c, features), data((5, features)), np.arange(5, dtype=I32) * 100],
            (8 * c, 5),
            options("FullyConnectedOptions"),
            0.05 * features**0.5,
        ),
        "TRANSPOSE_CONV": Tflite(
            "TRANSPOSE_CONV",
            [np.array([1, 2 * h, 2 * wide, 5], I32), data((5, 2, 2, c)), nhwc],
            (1, 2 * h, 2 * wide, 5),
            options("TransposeConvOptions", padding=1, strideH=2, strideW=2),
            conv,
        ),
    }


def _tflite_functions(s: Size) -> dict[str, Tflite]:
    nhwc, rows = (1, s.height, s.width, s.channels), (2, 4 * s.channels)

    def of(kind: str, option: Any = None, shape: tuple[int, ...] = nhwc, **fields: Any) -> Tflite:
        return Tflite(kind, [shape], shape, option, **fields)

    return {
        "DEQUANTIZE": of("DEQUANTIZE", options("DequantizeOptions"), scale=None),
        "ELU": of("ELU"),
        "EXP": of("EXP", options("ExpOptions"), scale=2.0, zero=LEAST),
        "GELU": of("GELU", options("GeluOptions")),
        "HARD_SWISH": of("HARD_SWISH", options("HardSwishOptions")),
        "L2_NORMALIZATION": of("L2_NORMALIZATION", options("L2NormOptions"), rows, **FIXED_SIGNED),
        "LEAKY_RELU": of("LEAKY_RELU", options("LeakyReluOptions", alpha=0.2)),
        "LOG": of("LOG", scale=0.04, zeros=(LEAST,)),
        "LOGISTIC": of("LOGISTIC", **FIXED),
        "PRELU": Tflite("PRELU", [nhwc, data((1, 1, s.channels))], nhwc),
        "QUANTIZE": of("QUANTIZE", options("QuantizeOptions"), scale=0.03),
        "RELU": of("RELU", zero=LEAST),
        "RELU6": of("RELU6", zero=LEAST, scale=0.03),
        "RELU_0_TO_1": of("RELU_0_TO_1", zero=LEAST, scale=0.01),
        "RELU_N1_TO_1": of("RELU_N1_TO_1", zero=0, scale=0.01),
        "SOFTMAX": of("SOFTMAX", options("SoftmaxOptions", beta=1.0), rows, **FIXED),
        "TANH": of("TANH", **FIXED_SIGNED),
    }


def _tflite_pairs(s: Size) -> dict[str, Tflite]:
    nhwc = (1, s.height, s.width, s.channels)
    two, extreme = [nhwc, nhwc], options("MaximumMinimumOptions")
    return {
        "ADD": Tflite("ADD", two, nhwc, options("AddOptions"), scale=0.1),
        "MAXIMUM": Tflite("MAXIMUM", two, nhwc, extreme, **MOVED),
        "MINIMUM": Tflite("MINIMUM", two, nhwc, extreme, **MOVED),
        "MUL": Tflite("MUL", two, nhwc, options("MulOptions"), scale=0.2),
        "SUB": Tflite("SUB", two, nhwc, options("SubOptions"), scale=0.1),
    }


def _tflite_windows(s: Size) -> dict[str, Tflite]:
    c, h, wide = s
    nhwc, half, resized = (1, h, wide, c), (1, h // 2, wide // 2, c), (1, 2 * h, wide + 3, c)
    pool = options("Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    axes, reducer, pixels = np.array([1, 2], I32), options("ReducerOptions"), h * wide
    to = np.array(resized[1:3], I32)
    bilinear, nearest = (
        options("ResizeBilinearOptions", halfPixelCenters=True),
        options("ResizeNearestNeighborOptions"),
    )
    return {
        "AVERAGE_POOL_2D": Tflite("AVERAGE_POOL_2D", [nhwc], half, pool, **MOVED),
        "MAX_POOL_2D": Tflite("MAX_POOL_2D", [nhwc], half, pool, **MOVED),
        "MEAN": Tflite("MEAN", [nhwc, axes], (1, c), reducer, scale=0.01),
        "REDUCE_MAX": Tflite("REDUCE_MAX", [nhwc, axes], (1, c), reducer, **MOVED),
        "REDUCE_MIN": Tflite("REDUCE_MIN", [nhwc, axes], (1, c), reducer, **MOVED),
        "RESIZE_BILINEAR": Tflite("RESIZE_BILINEAR", [nhwc, to], resized, bilinear, **MOVED),
        "RESIZE_NEAREST_NEIGHBOR": Tflite("RESIZE_NEAREST_NEIGHBOR", [nhwc, to], resized, nearest, **MOVED),
        "SUM": Tflite("SUM", [nhwc, axes], (1, c), reducer, scale=SCALE * pixels**0.5),
    }


def _tflite_moves(s: Size) -> dict[str, Tflite]:
    """Operators that take other operands than shapes."""
    c, h, wide = s
    nhwc, plain, grown = (1, h, wide, c), (1, wide, c), (1, h + 2, wide + 2, c)
    pads = np.array([[0, 0], [1, 1], [2, 0], [0, 0]], I32)
    lower = np.array([0, 1, 0, 0], I32)
    strided = [nhwc, lower, np.array([1, h - 1, wide, c], I32), np.array([1, 2, 1, 1], I32)]

    def move(kind: str, inputs: list[Any], output: Any, option: Any = None) -> Tflite:
        return Tflite(kind, inputs, output, option, **MOVED)

    halves, parts = [(1, h, wide, c // 2)] * 2, [(1, h, wide, 1), (1, h, wide, c - 1)]
    return {
        "CONCATENATION": move(
            "CONCATENATION", [nhwc] * 2, (1, h, wide, 2 * c), options("ConcatenationOptions", axis=3)
        ),
        "MIRROR_PAD": move("MIRROR_PAD", [nhwc, pads], grown, options("MirrorPadOptions", mode=0)),
        "PACK": move("PACK", [plain] * 2, (1, 2, wide, c), options("PackOptions", axis=1, valuesCount=2)),
        "PAD": move("PAD", [nhwc, pads], grown, options("PadOptions")),
        "PADV2": move("PADV2", [nhwc, pads, np.array(17, np.int8)], grown, options("PadV2Options")),
        "REVERSE_V2": move("REVERSE_V2", [nhwc, np.array([2], I32)], nhwc, options("ReverseV2Options")),
        "SLICE": move(
            "SLICE",
            [nhwc, lower, np.array([1, h - 2, wide, c], I32)],
            (1, h - 2, wide, c),
            options("SliceOptions"),
        ),
        "SPLIT": move("SPLIT", [np.array(3, I32), nhwc], halves, options("SplitOptions", numSplits=2)),
        "SPLIT_V": move(
            "SPLIT_V",
            [nhwc, np.array([1, c - 1], I32), np.array(3, I32)],
            parts,
            options("SplitVOptions", numSplits=2),
        ),
        "STRIDED_SLICE": move(
            "STRIDED_SLICE", strided, (1, h // 2 - 1, wide, c), options("StridedSliceOptions")
        ),
        "UNPACK": move("UNPACK", [(1, 2, wide, c)], [plain] * 2, options("UnpackOptions", num=2, axis=1)),
    }


def _tflite_shapes(s: Size) -> dict[str, Tflite]:
    """Operators that take shapes, blocks and permutations."""
    c, h, wide = s
    nhwc, plain = (1, h, wide, c), (1, wide, c)
    quarters, block = (4, h // 2, wide // 2, c), [np.array([2, 2], I32), np.zeros((2, 2), I32)]
    flat = [1, h * wide * c]

    def move(kind: str, inputs: list[Any], output: Any, option: Any = None) -> Tflite:
        return Tflite(kind, inputs, output, option, **MOVED)

    return {
        "BATCH_TO_SPACE_ND": move(
            "BATCH_TO_SPACE_ND", [quarters, *block], nhwc, options("BatchToSpaceNDOptions")
        ),
        "BROADCAST_TO": move(
            "BROADCAST_TO", [(1, h, 1, c), np.array(nhwc, I32)], nhwc, options("BroadcastToOptions")
        ),
        "DEPTH_TO_SPACE": move(
            "DEPTH_TO_SPACE",
            [nhwc],
            (1, 2 * h, 2 * wide, c // 4),
            options("DepthToSpaceOptions", blockSize=2),
        ),
        "EXPAND_DIMS": move(
            "EXPAND_DIMS", [plain, np.array(1, I32)], (1, 1, wide, c), options("ExpandDimsOptions")
        ),
        "RESHAPE": move(
            "RESHAPE", [nhwc, np.array(flat, I32)], tuple(flat), options("ReshapeOptions", newShape=flat)
        ),
        "SPACE_TO_BATCH_ND": move(
            "SPACE_TO_BATCH_ND", [nhwc, *block], quarters, options("SpaceToBatchNDOptions")
        ),
        "SPACE_TO_DEPTH": move(
            "SPACE_TO_DEPTH",
            [nhwc],
            (1, h // 2, wide // 2, 4 * c),
            options("SpaceToDepthOptions", blockSize=2),
        ),
        "SQUEEZE": move("SQUEEZE", [(1, 1, wide, c)], plain, options("SqueezeOptions", squeezeDims=[1])),
        "TILE": move("TILE", [plain, np.array([1, 2, 1], I32)], (1, 2 * wide, c), options("TileOptions")),
        "TRANSPOSE": move(
            "TRANSPOSE", [nhwc, np.array([0, 3, 1, 2], I32)], (1, c, h, wide), options("TransposeOptions")
        ),
    }
