"""What onnx, which infers no shapes for onnxruntime's own operators, is given in their place: standard ones of the same results."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from furiosa.compiler.frontend.onnx.contrib import CONTRIB

Constants = Mapping[str, onnx.TensorProto]  # the initialisers by name

# Each of these is like a standard operator on some of its inputs.  The last number is the input whose type (a zero point's) the output has; None: float32; -1: that of the
# standard operator.
LIKE: dict[str, tuple[str, tuple[int, ...], int | None]] = {
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
    "RotaryEmbedding": ("Identity", (0,), -1),
}


# operators of which onnx knows nothing, or over whose definition it trips: which outputs are like the first input
SAME: dict[tuple[str, str], tuple[int, ...]] = {
    ("", "MeanVarianceNormalization"): (0,),
    ("", "SimplifiedLayerNormalization"): (0,),
    (CONTRIB, "SkipLayerNormalization"): (0, 3),
    (CONTRIB, "SkipSimplifiedLayerNormalization"): (0, 3),
}


def as_standard(node: onnx.NodeProto, constants: Constants) -> list[onnx.NodeProto]:
    """A contrib node as standard nodes of the same output shape and type, any other node as it is.

    ``constants`` are the initialisers by name, whose element types are known: CastLike, which needs none, is there since opset 15.
    """
    same = SAME.get((node.domain, node.op_type))
    if same is not None and len(node.input) >= 1:
        outputs = [node.output[i] for i in same if i < len(node.output) and node.output[i]]
        return [onnx.NodeProto(op_type="Identity", input=node.input[:1], output=[name]) for name in outputs]
    if node.domain != CONTRIB:
        return [node]
    if any(a.name == "channels_last" and a.i for a in node.attribute):
        return [node]
    if node.op_type in BUILT:
        return BUILT[node.op_type](node, constants)
    if node.op_type == "QLinearConcat":
        inputs, op_type, type_input = list(node.input[2::3]), "Concat", -1
    elif node.op_type in LIKE:
        op_type, positions, type_input = LIKE[node.op_type]
        inputs = [node.input[i] if i < len(node.input) else "" for i in positions]
        while inputs and not inputs[-1]:
            inputs.pop()
    else:
        return [node]
    standard = onnx.NodeProto(op_type=op_type, input=inputs, output=list(node.output[:1]))
    if op_type != "MatMul":  # which has none
        standard.attribute.extend(a for a in node.attribute if a.name not in ("activation", "opset"))
    if type_input == -1:
        return [standard]
    name = node.output[0]
    standard.output[0] = f"{name}/shape"
    zero_point = node.input[type_input] if type_input is not None and type_input < len(node.input) else ""
    if zero_point and zero_point not in constants:
        return [standard, onnx.helper.make_node("CastLike", [standard.output[0], zero_point], [name])]
    element = constants[zero_point].data_type if zero_point else onnx.TensorProto.FLOAT
    return [standard, onnx.helper.make_node("Cast", [standard.output[0]], [name], to=element)]


def _transposed(node: onnx.NodeProto, constants: Constants) -> list[onnx.NodeProto]:
    """A product by a matrix that may be stored transposed; other factors that are cannot be told without their rank."""
    swaps = {a.name for a in node.attribute if a.name.startswith("trans") and a.i}
    left, right = node.input[:2]
    before = []
    if swaps == {"transB"} and right in constants and len(constants[right].dims) == 2:
        before = [onnx.helper.make_node("Transpose", [right], [f"{node.output[0]}/matrix"])]
        right = before[0].output[0]
    elif swaps:
        return [node]
    return [*before, onnx.helper.make_node("MatMul", [left, right], node.output[:1])]


def _packed(node: onnx.NodeProto, constants: Constants) -> list[onnx.NodeProto]:
    """A product by packed weights, whose attributes say that they are those of a matrix [K, N]."""
    sizes = {a.name: a.i for a in node.attribute if a.name in ("K", "N") and a.i > 0}
    return [node] if len(sizes) != 2 else _product(node, sizes["K"], sizes["N"])


def _product(node: onnx.NodeProto, rows: int, columns: int) -> list[onnx.NodeProto]:
    """The first input, float, by a matrix of these sizes."""
    names = [f"{node.output[0]}/{part}" for part in ("shape", "weights")]
    value = onnx.helper.make_tensor("", onnx.TensorProto.INT64, [2], [rows, columns])
    return [
        onnx.helper.make_node("Constant", [], names[:1], value=value),
        onnx.helper.make_node("ConstantOfShape", names[:1], names[1:]),
        onnx.helper.make_node("MatMul", [node.input[0], names[1]], node.output[:1]),
    ]


def _attention(node: onnx.NodeProto, constants: Constants) -> list[onnx.NodeProto]:
    """[B, S, hidden]: the weights are those of query, key and value side by side, whose share is the last third or as stated.

    What it hands on for the next step is left unknown.
    """
    weights = constants.get(node.input[1]) if len(node.input) > 1 else None
    if weights is None or len(weights.dims) != 2:
        return [node]
    stated = [list(a.ints) for a in node.attribute if a.name == "qkv_hidden_sizes"]
    hidden = stated[0][2] if stated and len(stated[0]) == 3 else weights.dims[1] // 3
    if node.op_type == "Attention":
        return _product(node, weights.dims[0], hidden)
    as_float = f"{node.output[0]}/real"  # of QAttention, whose input is 8-bit
    real = onnx.NodeProto(op_type="Attention", input=[as_float], output=node.output[:1])
    return [
        onnx.helper.make_node("Cast", [node.input[0]], [as_float], to=onnx.TensorProto.FLOAT),
        *_product(real, weights.dims[0], hidden),
    ]


def _multi_head_attention(node: onnx.NodeProto, constants: Constants) -> list[onnx.NodeProto]:
    """[B, S of the query, hidden of the value]; where key and value come in one, nothing is known."""
    query, *rest = node.input
    if len(rest) < 2 or not rest[1]:
        return [node]
    return [onnx.helper.make_node("Einsum", [query, rest[1]], node.output[:1], equation="bsi,bto->bso")]


def _embedding(node: onnx.NodeProto, constants: Constants) -> list[onnx.NodeProto]:
    """Rows of the table of words [B, S, hidden]; the second result is an int32 for each sample, the third like the first."""
    if len(node.input) < 3:
        return [node]
    rows = f"{node.output[0]}/rows"
    made = [onnx.helper.make_node("Gather", [node.input[2], node.input[0]], [rows])]
    outputs = [*node.output, "", ""]
    for name in filter(None, (outputs[0], outputs[2])):
        made.append(onnx.helper.make_node("Cast", [rows], [name], to=onnx.TensorProto.FLOAT))
    if outputs[1]:
        count = f"{node.output[0]}/count"
        made.append(onnx.helper.make_node("ArgMax", [node.input[0]], [count], axis=1, keepdims=0))
        made.append(onnx.helper.make_node("Cast", [count], [outputs[1]], to=onnx.TensorProto.INT32))
    return made


def _lstm(node: onnx.NodeProto, constants: Constants) -> list[onnx.NodeProto]:
    """The standard one, with all of its results; its shapes follow from the input and the attributes."""
    standard = onnx.NodeProto(op_type="LSTM", input=node.input[:3], output=node.output)
    standard.attribute.extend(a for a in node.attribute if a.name in ("direction", "hidden_size"))
    return [standard]


Built = Callable[[onnx.NodeProto, Constants], list[onnx.NodeProto]]
# The operators that take more than another name, and what they come to; as they are where that is not known.
BUILT: dict[str, Built] = {
    "Attention": _attention,
    "DynamicQuantizeLSTM": _lstm,
    "EmbedLayerNormalization": _embedding,
    "FusedMatMul": _transposed,
    "MatMulBnb4": _packed,
    "MatMulNBits": _packed,
    "MultiHeadAttention": _multi_head_attention,
    "QAttention": _attention,
    "QEmbedLayerNormalization": _embedding,
    "TransposeMatMul": _transposed,
}
