"""Types and static shapes of every tensor of an ONNX graph, contrib operators included."""

from __future__ import annotations

import onnx

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx.checks import CONTRIB, ONNX_ERRORS

# onnx infers no shapes for contrib operators; for this purpose each of these is like a standard operator on some of its
# inputs.  The last number is the input whose type (a zero point's) the output has; None: float32; -1: that of the
# standard operator.
_LIKE: dict[str, tuple[str, tuple[int, ...], int | None]] = {
    "BiasGelu": ("Identity", (0,), -1),
    "DequantizeLinear": ("DequantizeLinear", (0, 1, 2), -1),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1), None),
    "FastGelu": ("Identity", (0,), -1),
    "FusedConv": ("Conv", (0, 1, 2), -1),
    "FusedGemm": ("Gemm", (0, 1, 2), -1),
    "Gelu": ("Identity", (0,), -1),
    "MatMulIntegerToFloat": ("MatMul", (0, 1), None),
    "QGemm": ("Gemm", (0, 3), 8),
    "QLinearAdd": ("Add", (0, 3), -1),
    "QLinearAveragePool": ("AveragePool", (0,), -1),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,), -1),
    "QLinearLeakyRelu": ("Identity", (0,), -1),
    "QLinearMul": ("Mul", (0, 3), -1),
    "QLinearSigmoid": ("Identity", (0,), -1),
    "QLinearSoftmax": ("Identity", (0,), -1),
    "QLinearWhere": ("Where", (0, 1, 4), -1),
    "QuantizeLinear": ("QuantizeLinear", (0, 1, 2), -1),
    "QuickGelu": ("Identity", (0,), -1),
}


def infer(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """The type of every tensor of the main graph for which onnx can tell one.

    Raises:
        InvalidModel: a node's attributes or inputs contradict each other.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    known = _clear_declared(plain)
    nodes = [n for node in model.graph.node for n in _as_standard(node)]
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    try:
        # Not data_prop: it takes about 150 bytes for every element of any 1-D tensor; fold.py does its work.
        plain = onnx.shape_inference.infer_shapes(plain)
    except ONNX_ERRORS as e:
        raise InvalidModel(f"the shapes of the ONNX model contradict each other: {_first_line(e)}") from None
    graph = plain.graph
    types = {v.name: v.type for v in (*graph.input, *graph.value_info, *graph.output)}
    return known | types


def why_unknown(model: onnx.ModelProto) -> str:
    """What onnx says, strictly, about a model whose shapes it could not infer; empty if it says nothing."""
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except ONNX_ERRORS as e:
        return _first_line(e)
    return ""


def _first_line(e: Exception) -> str:
    lines = str(e).strip().splitlines()
    return " ".join(line.strip() for line in lines[:2]) if lines else type(e).__name__


def _clear_declared(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Removes declared intermediate shapes, which may be stale, but for outputs of operators onnx knows nothing about."""
    opaque = {name for node in model.graph.node if node.domain == CONTRIB for name in node.output}
    kept = [v for v in model.graph.value_info if v.name in opaque]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    for output in model.graph.output:
        if output.name not in opaque and output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return {v.name: v.type for v in kept}


def _as_standard(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A contrib node as standard nodes of the same output shape and type, any other node as it is."""
    if node.domain != CONTRIB:
        return [node]
    if any(a.name == "channels_last" and a.i for a in node.attribute):
        return [node]
    if node.op_type == "QLinearConcat":
        inputs, op_type, type_input = list(node.input[2::3]), "Concat", -1
    elif node.op_type in _LIKE:
        op_type, positions, type_input = _LIKE[node.op_type]
        inputs = [node.input[i] if i < len(node.input) else "" for i in positions]
        while inputs and not inputs[-1]:
            inputs.pop()
    else:
        return [node]
    standard = onnx.NodeProto(op_type=op_type, input=inputs, output=list(node.output[:1]))
    standard.attribute.extend(a for a in node.attribute if a.name not in ("activation", "opset"))
    if type_input == -1:
        return [standard]
    name = node.output[0]
    standard.output[0] = f"{name}/shape"
    zero_point = node.input[type_input] if type_input is not None and type_input < len(node.input) else ""
    if zero_point:
        return [standard, onnx.helper.make_node("CastLike", [standard.output[0], zero_point], [name])]
    return [standard, onnx.helper.make_node("Cast", [standard.output[0]], [name], to=onnx.TensorProto.FLOAT)]


def static_shape(value: onnx.TypeProto) -> tuple[int, ...] | None:
    """The shape of a tensor type; None where a dimension or the rank is unknown."""
    if not value.HasField("tensor_type") or not value.tensor_type.HasField("shape"):
        return None
    dims = value.tensor_type.shape.dim
    if not all(d.HasField("dim_value") for d in dims):
        return None
    return tuple(d.dim_value for d in dims)
