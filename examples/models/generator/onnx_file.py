"""Shared by the two writers: builds an ONNX model whose bytes depend on nothing but the network."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from generator.network import Layer, Network, Tensor

OPSET = 13  # the newest that the vendor's compiler takes (ONNX opset <= 13)
IR_VERSION = 7  # the IR version that came with opset 13


class OnnxFile:
    """An ONNX model under construction. Nodes and initializers go straight into `model`, so that a network's weights
    are in memory once."""

    def __init__(self, network: Network) -> None:
        self.model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="furiosa_rules example models")
        self.model.opset_import.add(domain="", version=OPSET)
        self.model.graph.name = network.name
        self.model.graph.input.extend(_value_info(tensor) for tensor in network.inputs)
        self.model.graph.output.extend(_value_info(tensor) for tensor in network.outputs)

    def node(self, op_type: str, inputs: list[str], output: str, **attributes) -> str:
        """Appends a node named after its single output and returns that output's name."""
        self.model.graph.node.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: np.ndarray) -> str:
        """Appends an initializer (little-endian raw data) and returns its name."""
        tensor = self.model.graph.initializer.add(name=name, dims=values.shape)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor.raw_data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        return name

    def activation(self, layer: Layer, value: str, output: str) -> str:
        """Appends the layer's activation to `value`, if it has one, as `output`."""
        if layer.activation == "Relu":
            return self.node("Relu", [value], output)
        if layer.activation == "Relu6":
            low = self.constant(f"{output}/min", np.float32(0.0))
            high = self.constant(f"{output}/max", np.float32(6.0))
            return self.node("Clip", [value, low, high], output)
        return value


def reshape_target(layer: Layer) -> np.ndarray:
    """The shape input of a Reshape. Its 0 keeps the batch axis, so that a compiler may set another batch size."""
    return np.array([0, *layer.output.shape[1:]], np.int64)


def _value_info(tensor: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.shape)
