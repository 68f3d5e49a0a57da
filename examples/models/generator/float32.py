"""Writes a network as a float32 ONNX model, with its BatchNormalization nodes kept."""

from __future__ import annotations

import onnx

from generator.network import Layer, Network
from generator.onnx_file import OnnxFile, reshape_target
from generator.parameters import BATCH_NORM_EPSILON


def float32_model(network: Network) -> onnx.ModelProto:
    """ONNX opset 13 with float32 inputs, weights and outputs."""
    file = OnnxFile(network)
    for layer in network.layers:
        _write(file, layer)
    return file.model


def _write(file: OnnxFile, layer: Layer) -> None:
    inputs = [tensor.name for tensor in layer.inputs]
    name, parameters = layer.output.name, layer.parameters
    normalized = parameters is not None and parameters.batch_norm
    # Only the last node of the layer has the layer's own name.
    before_activation = f"{name}/linear" if layer.activation else name
    if parameters is not None:
        inputs.append(file.constant(f"{name}/weight", parameters.weights()))
        if not normalized:
            inputs.append(file.constant(f"{name}/bias", parameters.bias()))
    if layer.op_type == "Reshape":
        inputs.append(file.constant(f"{name}/shape", reshape_target(layer)))
    first = f"{name}/{layer.op_type.lower()}" if normalized else before_activation
    value = file.node(layer.op_type, inputs, first, **layer.attributes)
    if normalized:
        suffixes = ("scale", "bias", "mean", "var")
        values = zip(suffixes, parameters.normalization(), strict=True)
        constants = [file.constant(f"{name}/{suffix}", array) for suffix, array in values]
        value = file.node(
            "BatchNormalization", [value, *constants], before_activation, epsilon=BATCH_NORM_EPSILON
        )
    file.activation(layer, value, name)
