"""A QDQ network of every kind of operator that onnxruntime fuses: each operator by its rule, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.reference import onnx_graph


class _Network:
    """Nodes appended one after the other; every result is quantised at once."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng, self.dtype, self.info = np.random.default_rng(seed), dtype, np.iinfo(dtype)
        self.nodes, self.initializers, self.scales = [], [], {}

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def quantize(self, x: str, scale: float, zero_point: int | None = None) -> str:
        """x quantised and dequantised again; a zero point of its own unless given."""
        zero_point = (
            int(self.rng.integers(self.info.min, self.info.max + 1)) if zero_point is None else zero_point
        )
        parameters = [self.constant(np.float32(scale)), self.constant(np.array(zero_point, self.dtype))]
        result = self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *parameters]), *parameters])
        self.scales[result] = scale
        return result

    def weights(self, x: str, shape: tuple[int, ...], deviation: float) -> list[str]:
        """Dequantised weights of one scale for each output channel, and a bias, for the input x."""
        scales = (deviation / 40 * self.rng.uniform(0.5, 2, shape[0])).astype(np.float32)
        w = self.rng.normal(0, 40, shape).clip(-127, 127).astype(np.int8)
        bias = self.rng.integers(-999, 999, shape[0]).astype(np.int32)
        names = []
        for value, scale in ((w, scales), (bias, np.float32(self.scales[x]) * scales)):
            zero_points = np.zeros(shape[0], value.dtype)
            inputs = [self.constant(value), self.constant(scale), self.constant(zero_points)]
            names.append(self.node("DequantizeLinear", inputs, axis=0))
        return names

    def conv(
        self, x: str, shape: tuple[int, ...], deviation: float, activation: str = "", **attributes: object
    ) -> str:
        y = self.node("Conv", [x, *self.weights(x, shape, deviation)], **attributes)
        if not activation:
            return self.quantize(y, 0.05)
        limits = [self.constant(np.float32(v)) for v in (0, 6)] if activation == "Clip" else []
        return self.quantize(self.node(activation, [y, *limits]), 6 / 255, self.info.min)

    def model(self, result: str) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 20, 22))
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "network", [image], [output], self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _network(seed: int, dtype: str) -> onnx.ModelProto:
    net = _Network(seed, dtype)
    x = net.quantize("image", 0.02)
    x = net.conv(x, (16, 3, 3, 3), 0.3, "Relu", pads=[1] * 4, strides=[2, 2])
    x = net.conv(x, (16, 1, 3, 3), 0.4, "Clip", pads=[1] * 4, group=16)
    y = net.conv(x, (16, 16, 1, 1), 0.15)
    x = net.quantize(net.node("Relu", [net.node("Add", [x, y])]), 0.04, net.info.min)
    z = net.conv(x, (16, 4, 3, 3), 0.1, pads=[1] * 4, group=4)
    x = net.quantize(
        net.node("Relu", [net.node("Add", [z, x])]), 0.04, 5
    )  # the Relu is not implied: not fused
    scale = net.scales[x]
    x = net.quantize(net.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]), scale, 5)
    x = net.quantize(
        net.node("Concat", [x, net.quantize(net.node("Sigmoid", [x]), 1 / 256, net.info.min)], axis=1), 0.03
    )
    gate = net.quantize(net.node("GlobalAveragePool", [x]), 0.01)
    x = net.quantize(net.node("Mul", [x, gate]), 0.02)
    x = net.quantize(net.node("GlobalAveragePool", [x]), 0.01)
    x = net.quantize(net.node("Flatten", [x]), 0.01, 3)
    x = net.quantize(net.node("Gemm", [x, *net.weights(x, (10, 32), 0.5)], transB=1), 0.05)
    return net.model(net.quantize(net.node("Softmax", [x], axis=-1), 1 / 256, net.info.min))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("seed", range(10))
def test_every_operator(seed: int, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    onnx.save(_network(seed, dtype), path)
    image = np.random.default_rng(seed).normal(0, 1, (1, 3, 20, 22)).astype(np.float32)
    results = list(onnx_graph.compare(path, image))
    assert [r for r in results if r.mismatches != 0] == []
    operators = {r.operator for r in results}
    assert operators >= {
        "Conv",
        "Add",
        "Mul",
        "MaxPool",
        "Concat",
        "Sigmoid",
        "GlobalAveragePool",
        "Gemm",
        "Softmax",
    }
