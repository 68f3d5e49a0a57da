"""Types and static shapes of every tensor of an ONNX graph, contrib operators included."""

from __future__ import annotations

import re

import onnx

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import ShapesDisagree
from furiosa.compiler.frontend.onnx import corrections
from furiosa.compiler.frontend.onnx.checks import ONNX_ERRORS, domain_of
from furiosa.compiler.frontend.onnx.constants import CODES
from furiosa.compiler.frontend.onnx.contrib import CONTRIB

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


# operators of which onnx knows nothing, or over whose definition it trips: which outputs are like the first input
_SAME: dict[tuple[str, str], tuple[int, ...]] = {
    ("", "MeanVarianceNormalization"): (0,),
    ("", "SimplifiedLayerNormalization"): (0,),
    (CONTRIB, "SkipLayerNormalization"): (0, 3),
    (CONTRIB, "SkipSimplifiedLayerNormalization"): (0, 3),
}
# whose shapes ``infer`` may have to set right, or which onnx trips over
_NOT_ALONE = frozenset({*corrections.OPERATORS, *(name for domain, name in _SAME if not domain)})

MOST_CORRECTIONS = 32  # nodes of one model whose shapes are set right; each costs an inference


def declared(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    """The static types that a graph states for intermediate tensors and outputs."""
    return {v.name: v.type for v in (*graph.value_info, *graph.output) if is_known(v.type)}


def infer(
    model: onnx.ModelProto, stated: dict[str, onnx.TypeProto], trusted: set[str], strict: bool = False
) -> dict[str, onnx.TypeProto]:
    """The types of the main graph's tensors (not of its initialisers), as far as onnx can tell.

    Args:
        stated: what ``declared`` gave; it is used only for the names in ``trusted``.
        strict: a node whose shape cannot be inferred because its inputs contradict each other is an error.

    Raises:
        InvalidModel: nodes contradict each other.
    """
    constants = {t.name: t for t in model.graph.initializer}
    given = {v.name for v in model.graph.input} | constants.keys()
    plain = onnx.ModelProto(
        ir_version=model.ir_version,
        opset_import=model.opset_import,
        graph=onnx.GraphProto(
            name="shapes",
            node=[n for node in model.graph.node for n in _as_standard(node, constants)],
            input=model.graph.input,
            output=[
                onnx.ValueInfoProto(name=v.name) for v in model.graph.output if v.name not in given | trusted
            ],
            initializer=model.graph.initializer,
            value_info=[onnx.ValueInfoProto(name=name, type=stated[name]) for name in sorted(trusted)],
        ),
    )
    for corrected in range(MOST_CORRECTIONS + 1):
        try:
            # Not data_prop: it takes about 150 bytes for every element of any 1-D tensor; fold.py does its work.
            inferred = onnx.shape_inference.infer_shapes(plain, strict_mode=strict)
        except ONNX_ERRORS as e:
            raise ShapesDisagree(
                f"the shapes of the ONNX model contradict each other: {_first_line(e)}"
            ) from None
        graph = inferred.graph
        types = {v.name: v.type for v in (*graph.output, *graph.value_info, *graph.input)}
        if corrected == MOST_CORRECTIONS or not _correct(plain.graph, types):
            break
    return types


def infer_node(
    node: onnx.NodeProto,
    given: dict[str, onnx.TypeProto],
    values: dict[str, onnx.TensorProto],
    model: onnx.ModelProto,
) -> dict[str, onnx.TypeProto]:
    """The types of one standard node's results, as ``infer`` would tell them; empty where that needs the whole model.

    Args:
        given: the types of its inputs.
        values: those inputs that are constants.
    """
    versions = {domain_of(o.domain): o.version for o in model.opset_import}
    if node.domain or node.op_type in _NOT_ALONE or any(a.HasField("g") or a.graphs for a in node.attribute):
        return {}
    try:
        schema = onnx.defs.get_schema(node.op_type, versions[""], "")
        return onnx.shape_inference.infer_node_outputs(
            schema, node, given, values, opset_imports=list(model.opset_import), ir_version=model.ir_version
        )
    except (*ONNX_ERRORS, KeyError, onnx.defs.SchemaError):  # whole models are checked later
        return {}


def type_of(constant: Tensor) -> onnx.TypeProto:
    """The type of a constant."""
    return onnx.helper.make_tensor_type_proto(CODES[constant.dtype], constant.shape)


def _correct(graph: onnx.GraphProto, types: dict[str, onnx.TypeProto]) -> bool:
    """Puts a Reshape in place of the first node whose shape onnx gets wrong; False where there is none."""
    constants = {t.name: t for t in graph.initializer}
    sizes = {name: tuple(t.dims) for name, t in constants.items()}
    for i, node in enumerate(graph.node):
        if node.op_type not in corrections.OPERATORS:
            continue
        given = [sizes.get(name) or static_shape(types.get(name)) for name in node.input]
        shape = corrections.shape(node, given, constants)
        if shape is None or shape == static_shape(types.get(node.output[0])):
            continue
        name = f"{node.output[0]}/shape"
        graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(shape)], shape))
        outputs = list(node.output[:1])
        graph.node[i].CopyFrom(onnx.helper.make_node("Reshape", [node.input[0], name], outputs))
        return True
    return False


def _first_line(e: Exception) -> str:
    """What an exception of onnx says, without its names of exceptions and beyond the first finding."""
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    text = lines[0] if lines else type(e).__name__
    return re.sub(r"\[\w+Error\] ?|Inference error\(s\): ?", "", text)


def _as_standard(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
    """A contrib node as standard nodes of the same output shape and type, any other node as it is.

    ``constants`` are the initialisers by name, whose element types are known: CastLike, which needs none, is there since opset 15.
    """
    same = _SAME.get((node.domain, node.op_type))
    if same is not None and len(node.input) >= 1:
        outputs = [node.output[i] for i in same if i < len(node.output) and node.output[i]]
        return [onnx.NodeProto(op_type="Identity", input=node.input[:1], output=[name]) for name in outputs]
    if node.domain != CONTRIB:
        return [node]
    if node.op_type in ("MatMulBnb4", "MatMulNBits"):
        return _packed(node)
    if any(a.name == "channels_last" and a.i for a in node.attribute):
        return [node]
    if node.op_type in ("FusedMatMul", "TransposeMatMul"):
        return _transposed(node, constants)
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


def _transposed(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
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


def _packed(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A product by packed weights, whose attributes say that they are those of a matrix [K, N]."""
    sizes = {a.name: a.i for a in node.attribute if a.name in ("K", "N") and a.i > 0}
    if len(sizes) != 2:
        return [node]
    names = [f"{node.output[0]}/{part}" for part in ("shape", "weights")]
    value = onnx.helper.make_tensor("", onnx.TensorProto.INT64, [2], [sizes["K"], sizes["N"]])
    return [
        onnx.helper.make_node("Constant", [], names[:1], value=value),
        onnx.helper.make_node("ConstantOfShape", names[:1], names[1:]),
        onnx.helper.make_node("MatMul", [node.input[0], names[1]], node.output[:1]),
    ]


def static_shape(value: onnx.TypeProto | None) -> tuple[int, ...] | None:
    """The shape of a tensor type; None where a dimension, the rank or the type is unknown."""
    if value is None or not value.HasField("tensor_type") or not value.tensor_type.HasField("shape"):
        return None
    dims = value.tensor_type.shape.dim
    if not all(d.HasField("dim_value") for d in dims):
        return None
    return tuple(d.dim_value for d in dims)


def is_known(value: onnx.TypeProto | None) -> bool:
    """Whether a type is that of a tensor of static shape, or of something that is no tensor."""
    return static_shape(value) is not None or (
        value is not None and value.WhichOneof("value") in ("sequence_type", "map_type", "optional_type")
    )
