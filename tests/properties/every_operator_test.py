"""Every operator that a lowering table names is compared with its reference runtime: a new key needs a case here, and passes only
with the runtime's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.ldfg.onnx.lower import LOWERINGS as ONNX
from furiosa.compiler.ldfg.tflite.lower import LOWERINGS as TFLITE
from tests.properties.harness import check
from tests.reference import onnx_op
from tests.reference.onnx_op import Operand

SCALE, ZERO = 0.05, 3  # of inputs: -6.55 to 6.2


def data(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


# -- ONNX -----------------------------------------------------------------------------------------------------------------


def x(*shape: int, scale: float = SCALE, zero: int = ZERO) -> Operand:
    """An input."""
    return Operand(shape, "int8", scale, zero)


def w(*shape: int) -> Operand:
    """Constant weights."""
    return Operand(shape, "int8", 0.02, 0, data(shape))


def const(values: Any, dtype: str = "int64") -> Operand:
    array = np.asarray(values, dtype)
    return Operand(array.shape, dtype, data=array)


class Onnx(NamedTuple):
    """One operator between DequantizeLinear and QuantizeLinear."""

    inputs: list[Operand]
    output: tuple[int, ...]
    attributes: Mapping[str, Any] = MappingProxyType({})
    scale: float = SCALE
    zero: int = -5
    opset: int = 18


IMAGE = (1, 4, 6, 6)
# a move keeps scale and zero point
MOVED = {"scale": SCALE, "zero": ZERO}
ONNX_CASES: dict[str, Onnx] = {
    "Add": Onnx([x(*IMAGE), x(*IMAGE, scale=0.03, zero=-7)], IMAGE, scale=0.07),
    "AveragePool": Onnx([x(*IMAGE)], (1, 4, 3, 3), {"kernel_shape": [2, 2], "strides": [2, 2]}, **MOVED),
    "Clip": Onnx([x(*IMAGE), const(-1.5, "float32"), const(2.25, "float32")], IMAGE),
    "Concat": Onnx([x(*IMAGE), x(*IMAGE)], (1, 8, 6, 6), {"axis": 1}, **MOVED),
    "Conv": Onnx([x(*IMAGE), w(8, 4, 3, 3)], (1, 8, 4, 4), scale=0.9),
    "DepthToSpace": Onnx([x(*IMAGE)], (1, 1, 12, 12), {"blocksize": 2}, **MOVED),
    "Div": Onnx([x(*IMAGE), x(4, 1, 1, scale=0.03, zero=-7)], IMAGE, scale=0.03),
    "Dropout": Onnx([x(*IMAGE)], IMAGE, **MOVED),
    "Elu": Onnx([x(*IMAGE)], IMAGE, {"alpha": 1.3}),
    "Erf": Onnx([x(*IMAGE)], IMAGE, scale=0.01, zero=0),
    "Exp": Onnx([x(*IMAGE)], IMAGE, scale=2.0, zero=-128),
    "Expand": Onnx([x(1, 4, 1, 6), const(IMAGE)], IMAGE, **MOVED),
    "Flatten": Onnx([x(*IMAGE)], (1, 144), **MOVED),
    "Gather": Onnx([x(*IMAGE), const([3, 0, 0, -1])], (1, 4, 4, 6), {"axis": 2}, **MOVED),
    "Gelu": Onnx([x(*IMAGE)], IMAGE, {"approximate": "none"}, opset=20),
    "Gemm": Onnx([x(2, 16), w(16, 8)], (2, 8), scale=0.3),
    "GlobalAveragePool": Onnx([x(*IMAGE)], (1, 4, 1, 1), scale=0.01),
    "GlobalMaxPool": Onnx([x(*IMAGE)], (1, 4, 1, 1), **MOVED),
    "HardSigmoid": Onnx([x(*IMAGE)], IMAGE, {"alpha": 0.3, "beta": 0.4}, scale=1 / 256, zero=-128),
    "HardSwish": Onnx([x(*IMAGE)], IMAGE),
    "Identity": Onnx([x(*IMAGE)], IMAGE, **MOVED),
    "LayerNormalization": Onnx(
        [x(2, 5, 20), const(np.linspace(0.5, 1.5, 20), "float32"), const(np.linspace(-1, 1, 20), "float32")],
        (2, 5, 20),
        scale=0.02,
    ),
    "LeakyRelu": Onnx([x(*IMAGE)], IMAGE, {"alpha": 0.2}),
    "Log": Onnx([x(*IMAGE, zero=-128)], IMAGE, scale=0.04),
    "MatMul": Onnx([x(2, 16), w(16, 8)], (2, 8), scale=0.3),
    "Max": Onnx([x(*IMAGE), x(*IMAGE)], IMAGE, **MOVED),
    "MaxPool": Onnx([x(*IMAGE)], (1, 4, 3, 3), {"kernel_shape": [2, 2], "strides": [2, 2]}, **MOVED),
    "Mean": Onnx([x(*IMAGE), x(*IMAGE)], IMAGE),
    "Min": Onnx([x(*IMAGE), x(*IMAGE)], IMAGE, **MOVED),
    "Mul": Onnx([x(*IMAGE), x(*IMAGE, scale=0.03, zero=-7)], IMAGE, scale=0.2),
    "PRelu": Onnx([x(*IMAGE), const(np.full((4, 1, 1), 0.25), "float32")], IMAGE),
    "Pad": Onnx([x(*IMAGE), const([0, 0, 1, 0, 0, 0, 1, 2])], (1, 4, 8, 8), **MOVED),
    "Pow": Onnx([x(*IMAGE, zero=-128), const(0.5, "float32")], IMAGE, scale=0.02, zero=-128),
    "RMSNormalization": Onnx(
        [x(2, 5, 20), const(np.linspace(0.5, 1.5, 20), "float32")], (2, 5, 20), scale=0.02, opset=23
    ),
    "ReduceL2": Onnx([x(*IMAGE)], (1, 4, 6, 1), {"axes": [3]}, scale=0.1, zero=-128, opset=13),
    "ReduceMax": Onnx([x(*IMAGE)], (1, 4, 6, 1), {"axes": [3]}, **MOVED, opset=13),
    "ReduceMin": Onnx([x(*IMAGE)], (1, 4, 6, 1), {"axes": [3]}, **MOVED, opset=13),
    "Relu": Onnx([x(*IMAGE)], IMAGE, zero=-128),
    "Reshape": Onnx([x(*IMAGE), const([1, 6, 24])], (1, 6, 24), **MOVED),
    "Resize": Onnx(
        [x(*IMAGE), const([], "float32"), const([1, 1, 2, 2], "float32")],
        (1, 4, 12, 12),
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        **MOVED,
    ),
    "Sigmoid": Onnx([x(*IMAGE)], IMAGE, scale=1 / 256, zero=-128),
    "SimplifiedLayerNormalization": Onnx(
        [x(2, 5, 20), const(np.linspace(0.5, 1.5, 20), "float32")], (2, 5, 20), {"epsilon": 1e-6}, scale=0.02
    ),
    "Slice": Onnx([x(*IMAGE), const([1]), const([5]), const([2])], (1, 4, 4, 6), **MOVED),
    "Softmax": Onnx([x(2, 10)], (2, 10), {"axis": 1}, scale=1 / 256, zero=-128),
    "Softplus": Onnx([x(*IMAGE)], IMAGE, zero=-128),
    "SpaceToDepth": Onnx([x(*IMAGE)], (1, 16, 3, 3), {"blocksize": 2}, **MOVED),
    "Sqrt": Onnx([x(*IMAGE, zero=-128)], IMAGE, scale=0.015, zero=-128),
    "Squeeze": Onnx([x(1, 4, 1, 6), const([2])], (1, 4, 6), **MOVED),
    "Sub": Onnx([x(*IMAGE), x(*IMAGE, scale=0.03, zero=-7)], IMAGE, scale=0.07),
    "Sum": Onnx([x(*IMAGE), x(*IMAGE)], IMAGE, scale=0.1),
    "Tanh": Onnx([x(*IMAGE)], IMAGE, scale=1 / 128, zero=0),
    "Tile": Onnx([x(1, 4, 6), const([1, 2, 1])], (1, 8, 6), **MOVED),
    "Transpose": Onnx([x(*IMAGE)], (1, 6, 6, 4), {"perm": [0, 2, 3, 1]}, **MOVED),
    "Unsqueeze": Onnx([x(1, 4, 6), const([2])], (1, 4, 1, 6), **MOVED),
}
# compared by property tests of their own, which need more than one operator, or a bound for what is not exact
ONNX_ELSEWHERE = {
    "BatchNormalization": "conv_test",
    "ConvTranspose": "conv_transpose_test",
    "DequantizeLinear": "every case here",
    "LpNormalization": "normalize_test",
    "QuantizeLinear": "every case here",
    "ReduceMean": "reduce_test",
    "ReduceSum": "reduce_test",
    "Split": "moves_onnx_test",
}


def test_every_onnx_operator_has_a_case() -> None:
    assert sorted(ONNX) == sorted([*ONNX_CASES, *ONNX_ELSEWHERE])


@pytest.mark.parametrize("op_type", sorted(ONNX_CASES))
def test_onnx(op_type: str) -> None:
    case = ONNX_CASES[op_type]
    output = Operand(case.output, "int8", case.scale, case.zero)
    model = onnx_op.build_qdq(op_type, case.inputs, output, case.opset, **case.attributes)
    inputs = [data(i.shape, 7 + n) for n, i in enumerate(case.inputs) if i.data is None]
    result = check(model, inputs)
    assert len(np.unique(result.outputs[0])) > 1, "a result that says something"


# -- TFLite ---------------------------------------------------------------------------------------------------------------


class Tflite(NamedTuple):
    """One operator; an input is the shape of an activation, or the array of a constant, which is quantised where it is int8."""

    inputs: list[Any]
    output: tuple[int, ...] | list[tuple[int, ...]]
    options: Any = None
    scale: float = SCALE
    zero: int = -5
    dtype: str = "int8"


def pool() -> Any:
    return options("Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2)


def window(kind: str, **fields: Any) -> Any:
    return options(kind, padding=1, strideH=1, strideW=1, **fields)


NHWC = (1, 6, 6, 4)
I32 = np.int32
AXES = np.array([1, 2], I32)
TFLITE_CASES: dict[str, Tflite] = {
    "ADD": Tflite([NHWC, NHWC], NHWC, options("AddOptions"), scale=0.1),
    "AVERAGE_POOL_2D": Tflite([NHWC], (1, 3, 3, 4), pool(), **MOVED),
    "BATCH_MATMUL": Tflite([(1, 6, 8), (1, 8, 5)], (1, 6, 5), options("BatchMatMulOptions"), scale=0.4),
    "BATCH_TO_SPACE_ND": Tflite(
        [(4, 3, 3, 2), np.array([2, 2], I32), np.zeros((2, 2), I32)],
        (1, 6, 6, 2),
        options("BatchToSpaceNDOptions"),
        **MOVED,
    ),
    "BROADCAST_TO": Tflite([(1, 6, 1, 4), np.array(NHWC, I32)], NHWC, options("BroadcastToOptions"), **MOVED),
    "CONCATENATION": Tflite([NHWC, NHWC], (1, 6, 6, 8), options("ConcatenationOptions", axis=3), **MOVED),
    "CONV_2D": Tflite(
        [NHWC, data((8, 3, 3, 4)), np.arange(-4, 4, dtype=I32) * 100],
        (1, 4, 4, 8),
        window("Conv2DOptions", dilationHFactor=1, dilationWFactor=1),
        scale=1.0,
    ),
    "DEPTHWISE_CONV_2D": Tflite(
        [NHWC, data((1, 3, 3, 4)), np.arange(4, dtype=I32) * 100],
        (1, 4, 4, 4),
        window("DepthwiseConv2DOptions", depthMultiplier=1, dilationHFactor=1, dilationWFactor=1),
        scale=0.5,
    ),
    "DEPTH_TO_SPACE": Tflite([NHWC], (1, 12, 12, 1), options("DepthToSpaceOptions", blockSize=2), **MOVED),
    "ELU": Tflite([NHWC], NHWC),
    "EXP": Tflite([NHWC], NHWC, options("ExpOptions"), scale=2.0, zero=-128),
    "EXPAND_DIMS": Tflite([(1, 6, 4), np.array(1, I32)], (1, 1, 6, 4), options("ExpandDimsOptions"), **MOVED),
    "FULLY_CONNECTED": Tflite(
        [(2, 16), data((5, 16)), np.arange(5, dtype=I32) * 100],
        (2, 5),
        options("FullyConnectedOptions"),
        scale=0.5,
    ),
    "GELU": Tflite([NHWC], NHWC, options("GeluOptions")),
    "HARD_SWISH": Tflite([NHWC], NHWC, options("HardSwishOptions")),
    "L2_NORMALIZATION": Tflite([(2, 16)], (2, 16), options("L2NormOptions"), scale=1 / 128, zero=0),
    "LEAKY_RELU": Tflite([NHWC], NHWC, options("LeakyReluOptions", alpha=0.2)),
    "LOG": Tflite([NHWC], NHWC, scale=0.04),
    "LOGISTIC": Tflite([NHWC], NHWC, scale=1 / 256, zero=-128),
    "MAXIMUM": Tflite([NHWC, NHWC], NHWC, options("MaximumMinimumOptions"), **MOVED),
    "MAX_POOL_2D": Tflite([NHWC], (1, 3, 3, 4), pool(), **MOVED),
    "MEAN": Tflite([NHWC, AXES], (1, 4), options("ReducerOptions"), scale=0.01),
    "MINIMUM": Tflite([NHWC, NHWC], NHWC, options("MaximumMinimumOptions"), **MOVED),
    "MIRROR_PAD": Tflite(
        [NHWC, np.array([[0, 0], [1, 1], [2, 0], [0, 0]], I32)],
        (1, 8, 8, 4),
        options("MirrorPadOptions", mode=0),
        **MOVED,
    ),
    "MUL": Tflite([NHWC, NHWC], NHWC, options("MulOptions"), scale=0.2),
    "PACK": Tflite([(1, 6, 4)] * 2, (1, 2, 6, 4), options("PackOptions", axis=1, valuesCount=2), **MOVED),
    "PAD": Tflite(
        [NHWC, np.array([[0, 0], [1, 1], [2, 0], [0, 0]], I32)], (1, 8, 8, 4), options("PadOptions"), **MOVED
    ),
    "PADV2": Tflite(
        [NHWC, np.array([[0, 0], [1, 1], [2, 0], [0, 0]], I32), np.array(17, np.int8)],
        (1, 8, 8, 4),
        options("PadV2Options"),
        **MOVED,
    ),
    "PRELU": Tflite([NHWC, data((1, 1, 4))], NHWC),
    "QUANTIZE": Tflite([NHWC], NHWC, options("QuantizeOptions"), scale=0.03),
    "REDUCE_MAX": Tflite([NHWC, AXES], (1, 4), options("ReducerOptions"), **MOVED),
    "REDUCE_MIN": Tflite([NHWC, AXES], (1, 4), options("ReducerOptions"), **MOVED),
    "RELU": Tflite([NHWC], NHWC, zero=-128),
    "RELU6": Tflite([NHWC], NHWC, zero=-128, scale=0.03),
    "RELU_0_TO_1": Tflite([NHWC], NHWC, zero=-128, scale=0.01),
    "RELU_N1_TO_1": Tflite([NHWC], NHWC, zero=0, scale=0.01),
    "RESHAPE": Tflite(
        [NHWC, np.array([1, 144], I32)], (1, 144), options("ReshapeOptions", newShape=[1, 144]), **MOVED
    ),
    "RESIZE_BILINEAR": Tflite(
        [NHWC, np.array([12, 9], I32)],
        (1, 12, 9, 4),
        options("ResizeBilinearOptions", halfPixelCenters=True),
        **MOVED,
    ),
    "RESIZE_NEAREST_NEIGHBOR": Tflite(
        [NHWC, np.array([12, 9], I32)], (1, 12, 9, 4), options("ResizeNearestNeighborOptions"), **MOVED
    ),
    "REVERSE_V2": Tflite([NHWC, np.array([2], I32)], NHWC, options("ReverseV2Options"), **MOVED),
    "SLICE": Tflite(
        [NHWC, np.array([0, 1, 0, 0], I32), np.array([1, 4, 6, 4], I32)],
        (1, 4, 6, 4),
        options("SliceOptions"),
        **MOVED,
    ),
    "SOFTMAX": Tflite([(2, 10)], (2, 10), options("SoftmaxOptions", beta=1.0), scale=1 / 256, zero=-128),
    "SPACE_TO_BATCH_ND": Tflite(
        [NHWC, np.array([2, 2], I32), np.zeros((2, 2), I32)],
        (4, 3, 3, 4),
        options("SpaceToBatchNDOptions"),
        **MOVED,
    ),
    "SPACE_TO_DEPTH": Tflite([NHWC], (1, 3, 3, 16), options("SpaceToDepthOptions", blockSize=2), **MOVED),
    "SPLIT": Tflite(
        [np.array(3, I32), NHWC], [(1, 6, 6, 2)] * 2, options("SplitOptions", numSplits=2), **MOVED
    ),
    "SPLIT_V": Tflite(
        [NHWC, np.array([1, 3], I32), np.array(3, I32)],
        [(1, 6, 6, 1), (1, 6, 6, 3)],
        options("SplitVOptions", numSplits=2),
        **MOVED,
    ),
    "SQUEEZE": Tflite([(1, 1, 6, 4)], (1, 6, 4), options("SqueezeOptions", squeezeDims=[1]), **MOVED),
    "STRIDED_SLICE": Tflite(
        [NHWC, np.array([0, 1, 0, 0], I32), np.array([1, 6, 6, 4], I32), np.array([1, 2, 1, 1], I32)],
        (1, 3, 6, 4),
        options("StridedSliceOptions"),
        **MOVED,
    ),
    "SUB": Tflite([NHWC, NHWC], NHWC, options("SubOptions"), scale=0.1),
    "SUM": Tflite([NHWC, AXES], (1, 4), options("ReducerOptions"), scale=0.4),
    "TANH": Tflite([NHWC], NHWC, scale=1 / 128, zero=0),
    "TILE": Tflite([(1, 6, 4), np.array([1, 2, 1], I32)], (1, 12, 4), options("TileOptions"), **MOVED),
    "TRANSPOSE": Tflite(
        [NHWC, np.array([0, 3, 1, 2], I32)], (1, 4, 6, 6), options("TransposeOptions"), **MOVED
    ),
    "TRANSPOSE_CONV": Tflite(
        [np.array([1, 12, 12, 5], I32), data((5, 2, 2, 4)), NHWC],
        (1, 12, 12, 5),
        options("TransposeConvOptions", padding=1, strideH=2, strideW=2),
        scale=0.4,
    ),
    "UNPACK": Tflite([(1, 2, 6, 4)], [(1, 6, 4)] * 2, options("UnpackOptions", num=2, axis=1), **MOVED),
}
TFLITE_ELSEWHERE = {"DEQUANTIZE": "tflite_elementwise_test"}


def test_every_tflite_operator_has_a_case() -> None:
    assert sorted(TFLITE) == sorted([*TFLITE_CASES, *TFLITE_ELSEWHERE])


@pytest.mark.parametrize("op_type", sorted(TFLITE_CASES))
def test_tflite(op_type: str) -> None:
    case = TFLITE_CASES[op_type]
    b = ModelBuilder()
    inputs, activations, zero = [], [], -128 if op_type == "LOG" else ZERO
    for n, value in enumerate(case.inputs):
        if isinstance(value, tuple):
            activations.append(b.tensor(f"x{n}", list(value), "int8", scale=SCALE, zero_point=zero))
            inputs.append(activations[-1])
        else:
            inputs.append(_constant(b, f"c{n}", value, op_type))
    outputs = case.output if isinstance(case.output, list) else [case.output]
    made = [
        b.tensor(f"y{n}", list(s), case.dtype, scale=case.scale, zero_point=case.zero)
        for n, s in enumerate(outputs)
    ]
    b.operator(op_type, inputs, made, case.options)
    shapes = [value for value in case.inputs if isinstance(value, tuple)]
    result = check(b.build(activations, made), [data(s, 7 + n) for n, s in enumerate(shapes)])
    assert len(np.unique(result.outputs[0])) > 1, "a result that says something"


def _constant(b: ModelBuilder, name: str, value: np.ndarray, op_type: str) -> int:
    if value.dtype == np.int8:
        scale, zero = (SCALE, ZERO) if op_type == "PADV2" else (0.02, 0)
        return b.tensor(name, list(value.shape), "int8", value, scale, zero)
    is_bias = op_type in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return b.tensor(name, list(value.shape), "int32", value, 0.02 * SCALE if is_bias else None)
