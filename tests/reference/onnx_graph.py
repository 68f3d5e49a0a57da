"""Recomputes every operator of a QDQ ONNX model from onnxruntime's own inputs of that operator, by the rules of this folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from tests.reference import conv, elementwise, pool, requantize, softmax, table
from tests.reference.tflite_graph import Comparison

# the operators between DequantizeLinear and QuantizeLinear that only clip: in the rules of Conv and Gemm they are dropped,
# which is right where the output's range implies them, as onnxruntime's fusion demands
_CLIPS = ("Relu", "Clip")


class _Graph:
    """A QDQ model with onnxruntime's values of all quantised tensors."""

    def __init__(self, path: Path, *inputs: np.ndarray) -> None:
        model = onnx.load(str(path))
        self.nodes = list(model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        quantized = [n.output[0] for n in self.nodes if n.op_type == "QuantizeLinear"]
        types = {
            n.output[0]: self.values[n.input[2]].dtype for n in self.nodes if n.op_type == "QuantizeLinear"
        }
        for name in quantized:
            element = helper.np_dtype_to_tensor_dtype(types[name])
            model.graph.output.append(helper.make_tensor_value_info(name, element, None))
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feeds = {value.name: array for value, array in zip(session.get_inputs(), inputs, strict=True)}
        self.values.update(feeds)
        self.values.update(zip(quantized, session.run(quantized, feeds)))

    def quantized(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(values, scale, zero point) that a DequantizeLinear makes the float tensor `name` of."""
        node = self.producer[name]
        assert node.op_type == "DequantizeLinear", f"{name} is not quantised"
        return tuple(self.values[i] for i in node.input[:3])


def compare(path: Path, *inputs: np.ndarray) -> Iterator[Comparison]:
    """Yields a comparison of every QuantizeLinear's result, named by the float operator before it."""
    graph = _Graph(path, *inputs)
    for node in graph.nodes:
        if node.op_type != "QuantizeLinear":
            continue
        actual = graph.values[node.output[0]]
        scale, zero_point = float(graph.values[node.input[1]]), int(graph.values[node.input[2]])
        chain = [graph.producer.get(node.input[0])]
        while chain[0] is not None and chain[0].op_type in _CLIPS:
            chain.insert(0, graph.producer.get(chain[0].input[0]))
        name = chain[0].op_type if chain[0] is not None else "QuantizeLinear"
        expected = _evaluate(graph, chain, node.input[0], scale, zero_point, str(actual.dtype))
        mismatches = None if expected is None else int((expected != actual).sum())
        yield Comparison(name, str(actual.dtype), actual.size, mismatches)


def _evaluate(graph: _Graph, chain: list, source: str, sy: float, zy: int, dtype: str) -> np.ndarray | None:
    node = chain[0]
    if node is None:
        return requantize.quantize_onnxruntime(graph.values[source], sy, zy, dtype)
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "DequantizeLinear" or node.op_type in ("Concat", "Reshape", "Flatten", "Transpose"):
        return _moved(graph, chain, attributes, sy, zy, dtype)
    x, sx, zx = graph.quantized(node.input[0])
    sx, zx = float(sx), int(zx)
    if node.op_type in ("Conv", "Gemm"):
        return _product(graph, node, attributes, sy, zy, dtype)
    if node.op_type in ("Add", "Mul"):
        b, sb, zb = graph.quantized(node.input[1])
        parameters = (x, b, sx, zx, float(sb), int(zb), sy, zy)
        if node.op_type == "Mul":
            return elementwise.multiply_onnxruntime(*parameters)
        if len(chain) > 1 and zy != np.iinfo(dtype).min:  # not fused
            return elementwise.float_onnxruntime(lambda u, v: np.maximum(u + v, 0), *parameters)
        return elementwise.add_onnxruntime(*parameters)
    nhwc = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
    if node.op_type == "GlobalAveragePool":
        return pool.global_average_pool_onnxruntime(nhwc, sx, zx, sy, zy).transpose(0, 3, 1, 2)
    if node.op_type == "MaxPool" and (sx, zx) == (sy, zy):
        kernel, stride = attributes["kernel_shape"], attributes["strides"]
        pads = attributes.get("pads", [0] * 4)
        out = [
            (n + a + b - k) // s + 1 for n, a, b, k, s in zip(x.shape[2:], pads[:2], pads[2:], kernel, stride)
        ]
        return pool.max_pool(nhwc, out, kernel, stride, pads[:2]).transpose(0, 3, 1, 2)
    if node.op_type == "Softmax" and attributes.get("axis", -1) in (-1, x.ndim - 1):
        return softmax.softmax_onnxruntime(x, sx, sy, zy)
    if node.op_type == "Sigmoid":
        return table.lookup(x, table.table_onnxruntime(table.sigmoid, sx, zx, sy, zy, dtype))
    return None


def _moved(graph: _Graph, chain: list, attributes: dict, sy: float, zy: int, dtype: str) -> np.ndarray:
    """Operators that move values: each operand is requantised by table, after the Relu or Clip that follows, if any."""
    node, low, high = chain[0], -math.inf, math.inf
    for clip in chain[1:]:
        bounds = [0.0] if clip.op_type == "Relu" else [float(graph.values[i]) for i in clip.input[1:]]
        low, high = max(low, bounds[0]), min(high, *bounds[1:], math.inf)
    names = node.input if node.op_type == "Concat" else node.input[:1]
    names = [node.output[0]] if node.op_type == "DequantizeLinear" else names
    parts = []
    for name in names:
        x, sx, zx = graph.quantized(name)
        parts.append(
            table.lookup(x, table.table_onnxruntime(table.clip(low, high), float(sx), int(zx), sy, zy, dtype))
        )
    if node.op_type == "Concat":
        return np.concatenate(parts, axis=attributes["axis"])
    if node.op_type == "Transpose":
        return parts[0].transpose(attributes["perm"])
    if node.op_type == "Flatten":
        return parts[0].reshape(math.prod(parts[0].shape[: attributes.get("axis", 1)]), -1)
    if node.op_type == "Reshape":
        sizes = graph.values[node.input[1]]  # 0 keeps the extent
        return parts[0].reshape([size or parts[0].shape[axis] for axis, size in enumerate(sizes)])
    return parts[0]


def _product(
    graph: _Graph, node: onnx.NodeProto, attributes: dict, sy: float, zy: int, dtype: str
) -> np.ndarray:
    x, sx, zx = graph.quantized(node.input[0])
    w, sw, zw = graph.quantized(node.input[1])
    bias = graph.quantized(node.input[2])[0] if len(node.input) > 2 else None
    multiplier = conv.multipliers(float(sx), np.atleast_1d(sw), sy)
    zw = np.atleast_1d(zw).astype(np.int64)
    if node.op_type == "Gemm":
        w = w if attributes.get("transB") else w.T
        accumulator = conv.accumulate(x[:, None, None], w[:, None, None], bias, int(zx), zw)[:, 0, 0]
        return conv.requantize(accumulator, multiplier, zy, dtype)
    accumulator = conv.accumulate(
        x.transpose(0, 2, 3, 1),
        w.transpose(0, 2, 3, 1),
        bias,
        int(zx),
        zw,
        attributes.get("strides", (1, 1)),
        attributes.get("dilations", (1, 1)),
        attributes.get("pads", (0, 0, 0, 0)),
        attributes.get("group", 1),
    )
    return conv.requantize(accumulator, multiplier, zy, dtype).transpose(0, 3, 1, 2)
