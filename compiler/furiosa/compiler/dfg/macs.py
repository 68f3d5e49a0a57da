"""Multiply-accumulates of an operator, for coverage figures and cost estimates."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator


def macs(op: Operator) -> int:
    """Multiply-accumulates of one run; 0 for operators that are no convolution or matrix product.

    Padding counts as if it were data, as in the published figures of the usual networks.
    """
    kind = op.op_type
    if kind in ("Conv", "QLinearConv", "ConvInteger", "CONV_2D", "DEPTHWISE_CONV_2D"):
        weight = op.inputs[3 if kind == "QLinearConv" else 1]
        if weight is None or not weight.shape:
            return 0
        # per output element: every weight of one output channel
        channels = weight.shape[3] if kind == "DEPTHWISE_CONV_2D" else weight.shape[0]
        return op.outputs[0].size * weight.size // max(channels, 1)
    if kind == "FULLY_CONNECTED":
        weight = op.inputs[1]
        return op.outputs[0].size * (weight.shape[-1] if weight is not None and weight.shape else 0)
    if kind in ("ConvTranspose", "TRANSPOSE_CONV"):
        x = op.inputs[0 if kind == "ConvTranspose" else 2]
        weight = op.inputs[1]
        if x is None or weight is None or len(x.shape) < 2:
            return 0
        channels = x.shape[1] if kind == "ConvTranspose" else x.shape[-1]
        return x.size * weight.size // max(channels, 1)
    if kind in ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "QGemm", "BATCH_MATMUL"):
        x = op.inputs[0]
        if x is None or not x.shape:
            return 0
        transposed = op.attributes.get("transA", 0) or op.attributes.get("adj_x", False)
        depth = x.shape[-2] if transposed and len(x.shape) > 1 else x.shape[-1]
        return op.outputs[0].size * depth
    return 0
