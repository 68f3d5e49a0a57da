"""Recomputes every operator of a quantised TFLite model from LiteRT's own inputs of that operator, by the rules of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.reference import conv, elementwise, pool, requantize, resize, rounding, softmax, table

_OPERATORS = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}


class _Tensor:
    """A tensor of the graph with LiteRT's value of it."""

    def __init__(self, interpreter: Interpreter, tensor: object, index: int) -> None:
        self.value = interpreter.get_tensor(index)
        quantization = tensor.quantization
        quantized = (
            quantization is not None and quantization.scale is not None and len(quantization.scale) > 0
        )
        self.scales = np.asarray(quantization.scale, np.float32) if quantized else np.zeros(0, np.float32)
        self.zero_point = int(quantization.zeroPoint[0]) if quantized else 0
        self.dtype = str(self.value.dtype)

    @property
    def q(self) -> tuple[float, int]:
        return float(self.scales[0]), self.zero_point


class Comparison(NamedTuple):
    """One operator of a model: `mismatches` of its `elements` differ; None where no rule of this folder covers it."""

    operator: str
    dtype: str
    elements: int
    mismatches: int | None


def compare(path: Path, *inputs: np.ndarray) -> Iterator[Comparison]:
    """Yields a comparison of every operator in the model's order.

    Every operator gets the input tensors that LiteRT computed, so an error cannot travel to the next operator.
    """
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    for node in graph.operators:
        code = model.operatorCodes[node.opcodeIndex]
        name = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
        operands = [None if i < 0 else _Tensor(interpreter, graph.tensors[i], i) for i in node.inputs]
        y = _Tensor(interpreter, graph.tensors[node.outputs[0]], node.outputs[0])
        expected = _evaluate(name, node.builtinOptions, operands, y)
        if expected is None:
            yield Comparison(name, y.dtype, y.value.size, None)
        else:
            assert expected.shape == y.value.shape, (name, expected.shape, y.value.shape)
            yield Comparison(name, y.dtype, y.value.size, int((expected != y.value).sum()))


def _evaluate(name: str, option: object, x: list[_Tensor | None], y: _Tensor) -> np.ndarray | None:
    if y.dtype not in ("int8", "uint8") and name != "DEQUANTIZE":
        return None
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return _convolution(name, option, x, y)
    if name in ("ADD", "SUB", "MUL"):
        bounds = _bounds(option, y)
        if name == "MUL":
            return elementwise.multiply_xnnpack(x[0].value, x[1].value, *x[0].q, *x[1].q, *y.q, bounds)
        sign = 1 if name == "ADD" else -1
        return elementwise.add_xnnpack(x[0].value, x[1].value, *x[0].q, *x[1].q, *y.q, bounds, sign)
    if name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        return _pool(name, option, x[0], y)
    if name == "MEAN":
        axes = tuple(int(axis) % x[0].value.ndim for axis in np.atleast_1d(x[1].value))
        return pool.mean_xnnpack(x[0].value, axes, bool(option.keepDims), *x[0].q, *y.q)
    if name == "RESIZE_BILINEAR":
        axes = [
            resize.linear_xnnpack(
                x[0].value.shape[i], y.value.shape[i], option.alignCorners, option.halfPixelCenters
            )
            for i in (1, 2)
        ]
        return resize.bilinear_xnnpack(x[0].value, *axes)
    if name == "QUANTIZE":
        if x[0].dtype == "float32":
            return requantize.quantize_xnnpack(x[0].value, *y.q, y.dtype)
        if x[0].dtype == y.dtype:
            return requantize.requantize_xnnpack(x[0].value, *x[0].q, *y.q)
        return (
            requantize.shift_type(x[0].value, x[0].zero_point, y.zero_point, y.dtype)
            if x[0].q[0] == y.q[0]
            else None
        )
    if name == "DEQUANTIZE":
        return requantize.dequantize(x[0].value, *x[0].q)
    if name == "LOGISTIC":
        return table.lookup(x[0].value, table.table_xnnpack(table.sigmoid, *x[0].q, *y.q, y.dtype))
    if name == "SOFTMAX":
        return softmax.softmax_builtin(x[0].value, x[0].q[0], option.beta)
    if name == "RESHAPE":
        return x[0].value.reshape(y.value.shape)
    if name == "CONCATENATION":
        parts = [requantize.concat_part_builtin(p.value, *p.q, *y.q) if p.q != y.q else p.value for p in x]
        return np.concatenate(parts, axis=option.axis)
    return None


def _bounds(option: object, y: _Tensor) -> tuple[int, int]:
    return rounding.activation_bounds_xnnpack(_ACTIVATIONS[option.fusedActivationFunction], *y.q, y.dtype)


def _convolution(name: str, option: object, x: list[_Tensor | None], y: _Tensor) -> np.ndarray:
    data, weights = x[0], x[1]
    bias = x[2].value if len(x) > 2 and x[2] is not None else None
    if name == "FULLY_CONNECTED":
        rows = data.value.reshape(-1, weights.value.shape[1])
        filters = weights.value[:, None, None]
        accumulator = conv.accumulate(rows[:, None, None], filters, bias, data.zero_point, weights.zero_point)
    else:
        depthwise = name == "DEPTHWISE_CONV_2D"
        stride, dilation = (option.strideH, option.strideW), (option.dilationHFactor, option.dilationWFactor)
        _, kernel_h, kernel_w, _ = weights.value.shape
        padding = _padding(option, data.value.shape, (kernel_h, kernel_w), stride, dilation)
        accumulate = conv.accumulate_depthwise if depthwise else conv.accumulate
        groups = {} if depthwise else {"groups": data.value.shape[3] // weights.value.shape[3]}
        accumulator = accumulate(
            data.value,
            weights.value,
            bias,
            data.zero_point,
            weight_zero_point=weights.zero_point,
            stride=stride,
            dilation=dilation,
            padding=padding,
            **groups,
        )
    multiplier = conv.multipliers(data.q[0], weights.scales, y.q[0])
    return conv.requantize(
        accumulator.reshape(y.value.shape), multiplier, y.zero_point, y.dtype, _bounds(option, y)
    )


def _padding(option, shape, kernel, stride, dilation=(1, 1)) -> tuple[int, int, int, int]:
    if option.padding == schema.Padding.VALID:
        return 0, 0, 0, 0
    rows, cols = (conv.same_padding(*axis) for axis in zip(shape[1:3], kernel, stride, dilation))
    return rows[0], cols[0], rows[1], cols[1]


def _pool(name: str, option: object, x: _Tensor, y: _Tensor) -> np.ndarray:
    kernel, stride = (option.filterHeight, option.filterWidth), (option.strideH, option.strideW)
    top, left, _, _ = _padding(option, x.value.shape, kernel, stride)
    activation = _ACTIVATIONS[option.fusedActivationFunction]
    if name == "MAX_POOL_2D":
        bounds = rounding.activation_bounds_xnnpack(activation, *y.q, y.dtype)
        return pool.max_pool(x.value, y.value.shape[1:3], kernel, stride, (top, left), bounds)
    bounds = rounding.activation_bounds_builtin(activation, *y.q, y.dtype)
    return pool.average_pool_builtin(x.value, y.value.shape[1:3], kernel, stride, (top, left), bounds)
