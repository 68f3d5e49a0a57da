"""Writes a network as a QDQ int8 ONNX model.

The scheme is the vendor's published one (MLPerf Inference v1.1 and v2.0 calibration.md, after the TFLite 8-bit
specification): activations asymmetric int8 per tensor in a range that contains 0; weights symmetric int8 in
[-127, 127], per output channel for Conv and per tensor for Gemm; bias int32 with scale s_x * s_w. Operators that only
move values (MaxPool, Reshape, Transpose, ...) keep their input's scale and zero point.
"""

from __future__ import annotations

import numpy as np
import onnx

from generator.network import Layer, Network, Tensor
from generator.onnx_file import OnnxFile, reshape_target
from generator.parameters import Parameters


def int8_model(network: Network) -> onnx.ModelProto:
    """ONNX opset 13 in QDQ form with float32 inputs and outputs."""
    file = OnnxFile(network)
    outputs = {tensor.name for tensor in network.outputs}
    for tensor in network.inputs:
        _quantize(file, tensor, tensor.name, f"{tensor.name}/dequantized")
    for layer in network.layers:
        value = _write(file, layer)
        name = layer.output.name
        # A model output keeps the layer's own name; every other value is read through its DequantizeLinear.
        _quantize(file, layer.output, value, name if name in outputs else f"{name}/dequantized")
    return file.model


def activation_parameters(tensor: Tensor) -> tuple[np.float32, np.int8]:
    """Scale and zero point that map the tensor's range, widened to contain 0, onto [-128, 127]."""
    low, high = min(tensor.low, 0.0), max(tensor.high, 0.0)
    scale = np.float32((high - low) / 255.0)
    if 255.0 * float(scale) > high - low:  # rounded up: a Clip to the range would no longer be redundant
        scale = np.nextafter(scale, np.float32(0.0))
    zero_point = np.rint(-128.0 - low / float(scale))
    return scale, np.int8(min(max(zero_point, -128), 127))


def quantized_weights(parameters: Parameters, per_channel: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int8 weights of the parameters' shape, their float32 scale ([channels] or scalar), float64 bias [channels]."""
    weights, bias = parameters.folded()
    axes = tuple(range(1, weights.ndim)) if per_channel else None
    largest = np.max(np.abs(weights), axis=axes)
    scale = (largest.astype(np.float64) / 127.0).astype(np.float32)
    divisor = scale.reshape(-1, *[1] * (weights.ndim - 1)) if per_channel else scale
    quantized = np.clip(np.rint(weights / divisor), -127, 127).astype(np.int8)
    return quantized, scale, bias


def _write(file: OnnxFile, layer: Layer) -> str:
    """Appends the float operators of one layer between their DequantizeLinear and QuantizeLinear nodes."""
    inputs = [f"{tensor.name}/dequantized" for tensor in layer.inputs]
    name = layer.output.name
    if layer.parameters is not None:
        inputs += _dequantized_parameters(file, layer)
    if layer.op_type == "Reshape":
        inputs.append(file.constant(f"{name}/shape", reshape_target(layer)))
    value = file.node(layer.op_type, inputs, f"{name}/{layer.op_type.lower()}", **layer.attributes)
    return file.activation(layer, value, f"{name}/{layer.activation.lower()}")


def _dequantized_parameters(file: OnnxFile, layer: Layer) -> list[str]:
    """Appends weights and bias with their DequantizeLinear nodes and returns the names of the float values."""
    name, per_channel = layer.output.name, layer.op_type == "Conv"
    weights, scale, bias = quantized_weights(layer.parameters, per_channel)
    input_scale, _ = activation_parameters(layer.inputs[0])
    bias_scale = input_scale * scale  # one float32 product: what the integer kernels assume
    quantized_bias = np.rint(bias / bias_scale.astype(np.float64)).astype(np.int32)
    axis = {"axis": 0} if per_channel else {}
    values = []
    for part, integers, part_scale in (("weight", weights, scale), ("bias", quantized_bias, bias_scale)):
        part_scale = np.asarray(part_scale, np.float32)
        zero_point = np.zeros(part_scale.shape, integers.dtype)
        constants = [
            file.constant(f"{name}/{part}/quantized", integers),
            file.constant(f"{name}/{part}/scale", part_scale),
            file.constant(f"{name}/{part}/zero_point", zero_point),
        ]
        values.append(file.node("DequantizeLinear", constants, f"{name}/{part}", **axis))
    return values


def _quantize(file: OnnxFile, tensor: Tensor, value: str, output: str) -> None:
    """Appends QuantizeLinear and DequantizeLinear with the tensor's parameters."""
    scale, zero_point = activation_parameters(tensor)
    constants = [
        file.constant(f"{tensor.name}/scale", scale),
        file.constant(f"{tensor.name}/zero_point", zero_point),
    ]
    quantized = file.node("QuantizeLinear", [value, *constants], f"{tensor.name}/quantized")
    file.node("DequantizeLinear", [quantized, *constants], output)
