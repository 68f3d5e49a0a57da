"""onnxruntime's operators on quantised tensors, written as the standard ones between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

# Each name: the standard operator, the inputs that are 8-bit (a scale and a zero point follow each), and those that are taken as they are.
# The last two inputs are scale and zero point of the result.  QLinearSoftmax, which computes with a table of integers, is none of them.
LIKE: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "QLinearAdd": ("Add", (0, 3), ()),
    "QLinearAveragePool": ("AveragePool", (0,), ()),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,), ()),
    "QLinearLeakyRelu": ("LeakyRelu", (0,), ()),
    "QLinearMul": ("Mul", (0, 3), ()),
    "QLinearSigmoid": ("Sigmoid", (0,), ()),
    "QLinearWhere": ("Where", (1, 4), (0,)),
}
_DOMAIN = "com.microsoft"


def expanded(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, those of ``LIKE`` and QLinearConcat each as several; what has no such form stays as it is."""
    return [made for node in nodes for made in (_expanded(node) if node.domain == _DOMAIN else [node])]


def _expanded(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    stated = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if stated.get("channels_last"):
        return [node]
    if node.op_type == "QLinearConcat":
        op_type, reals, others = "Concat", tuple(range(2, len(node.input), 3)), ()
        result = list(node.input[:2])
    elif node.op_type in LIKE:
        op_type, reals, others = LIKE[node.op_type]
        after = max(reals) + 3
        result = list(node.input[after : after + 2])
    else:
        return [node]
    name = node.output[0]
    inputs = {i: f"{name}/real {i}" for i in reals} | {i: node.input[i] for i in others}
    attributes = {k: v for k, v in stated.items() if k != "channels_last"}
    before = [onnx.helper.make_node("DequantizeLinear", node.input[i : i + 3], [inputs[i]]) for i in reals]
    operator = onnx.helper.make_node(
        op_type, [inputs[i] for i in sorted(inputs)], [f"{name}/real"], **attributes
    )
    return [*before, operator, onnx.helper.make_node("QuantizeLinear", [f"{name}/real", *result], [name])]
