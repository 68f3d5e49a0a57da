"""Counts multiply-accumulates, parameters and weight bytes of an ONNX file: `python -m generator.count model.onnx`.

It reads nothing but the file and knows nothing of how the file was made, so it can check published numbers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import prod

import onnx

# Inputs that training changes, by operator: weight and bias; scale and bias, but not the running mean and variance.
_TRAINED_INPUTS = {"Conv": slice(1, 3), "Gemm": slice(1, 3), "BatchNormalization": slice(1, 3)}


@dataclass(frozen=True)
class Counts:
    """macs: multiply-accumulates of Conv and Gemm in one inference, padding included. parameters: elements that
    training changes. weight_bytes: size of the Conv and Gemm weights as stored, without biases."""

    macs: int
    parameters: int
    weight_bytes: int


def count(model: onnx.ModelProto) -> Counts:
    """Counts a float32 or QDQ model with static shapes.

    Raises ValueError for a weight that is no initializer or an output without a static shape.
    """
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    dequantized = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"
    }
    shapes = _shapes(model)
    macs = parameters = weight_bytes = 0
    for node in model.graph.node:
        names = list(node.input)[_TRAINED_INPUTS.get(node.op_type, slice(0))]
        tensors = [initializers.get(dequantized.get(name, name)) for name in names]
        if None in tensors:
            raise ValueError(
                f"node {node.name} ({node.op_type}): {names[tensors.index(None)]} is not a constant"
            )
        parameters += sum(prod(tensor.dims) for tensor in tensors)
        if node.op_type in ("Conv", "Gemm"):
            weight, output = tensors[0], shapes.get(node.output[0])
            if output is None:
                raise ValueError(f"node {node.name} ({node.op_type}): the shape of its output is not known")
            weight_bytes += len(weight.raw_data)
            macs += prod(output) * _fan_in(node, weight.dims)
    return Counts(macs, parameters, weight_bytes)


def _fan_in(node: onnx.NodeProto, dims: list[int]) -> int:
    """Multiply-accumulates that one output element takes."""
    if node.op_type == "Conv":  # weight [out, in / group, kernel height, kernel width]
        return prod(dims[1:])
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return dims[1] if transposed else dims[0]


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Static shapes of all values, by ONNX's own shape inference."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {}
    for value in (*graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = [dim.dim_value for dim in dims]
    return shapes


if __name__ == "__main__":
    for path in sys.argv[1:]:
        counts = count(onnx.load(path))
        print(
            f"{path}: {counts.macs:,} MACs, {counts.parameters:,} parameters, {counts.weight_bytes:,} weight bytes"
        )
