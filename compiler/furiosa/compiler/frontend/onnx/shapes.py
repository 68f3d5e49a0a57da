"""Types and static shapes of every tensor of an ONNX graph, contrib operators included."""

from __future__ import annotations

import re

import onnx

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import ShapesDisagree
from furiosa.compiler.frontend.onnx import contrib_shapes, corrections
from furiosa.compiler.frontend.onnx.checks import ONNX_ERRORS, domain_of
from furiosa.compiler.frontend.onnx.constants import CODES

# whose shapes ``infer`` may have to set right, or which onnx trips over
_NOT_ALONE = frozenset(
    {*corrections.OPERATORS, *(name for domain, name in contrib_shapes.SAME if not domain)}
)

MOST_CORRECTIONS = 32  # nodes of one model whose shapes are set right; each costs an inference


def declared(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    """The static types that a graph states for intermediate tensors and outputs; some exporters write -1 for an open dimension."""
    stated = {v.name: v.type for v in (*graph.value_info, *graph.output) if is_known(v.type)}
    return {name: t for name, t in stated.items() if min(static_shape(t) or (), default=0) >= 0}


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
            node=[n for node in model.graph.node for n in contrib_shapes.as_standard(node, constants)],
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
