"""Small models that the tests of several folders compile."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def quantized_model() -> bytes:
    """ONNX, QDQ int8: "conv" [1, 3, 8, 8] -> [1, 4, 8, 8] (6912 multiply-accumulates), then "sinh", which no NPU has."""
    weight = (np.arange(4 * 3 * 3 * 3, dtype=np.int64) % 17 - 8).astype(np.int8).reshape(4, 3, 3, 3)
    constants = {
        "scale": np.float32(0.125),
        "zero": np.int8(3),
        "weight_scale": np.float32(0.03125),
        "weight_zero": np.int8(0),
        "weight_q": weight,
        "bias_scale": np.float32(0.125 * 0.03125),
        "bias_zero": np.int32(0),
        "bias_q": np.arange(4, dtype=np.int32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x_q"], name="quantize_x"),
        helper.make_node("DequantizeLinear", ["x_q", "scale", "zero"], ["x_f"], name="dequantize_x"),
        helper.make_node(
            "DequantizeLinear", ["weight_q", "weight_scale", "weight_zero"], ["weight"], name="weight"
        ),
        helper.make_node("DequantizeLinear", ["bias_q", "bias_scale", "bias_zero"], ["bias"], name="bias"),
        helper.make_node("Conv", ["x_f", "weight", "bias"], ["conv_f"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["conv_f", "scale", "zero"], ["conv_q"], name="quantize_conv"),
        helper.make_node("DequantizeLinear", ["conv_q", "scale", "zero"], ["conv_d"], name="dequantize_conv"),
        helper.make_node("Sinh", ["conv_d"], ["y"], name="sinh"),
    ]
    return model(nodes, [1, 3, 8, 8], [1, 4, 8, 8], constants)


@pytest.fixture(scope="session")
def float_model() -> bytes:
    """ONNX, float32: "abs" [1, 4], which runs on the host."""
    return model([helper.make_node("Abs", ["x"], ["y"], name="abs")], [1, 4], [1, 4], {})


def model(
    nodes: list[onnx.NodeProto], x: list[int | str], y: list[int | str], constants: dict[str, object]
) -> bytes:
    """An ONNX model of opset 13 from the float32 input "x" to the float32 output "y"."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    ).SerializeToString()
