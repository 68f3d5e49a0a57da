"""What an ONNX model must be before it is imported: known operators, their arity and attributes, fixed input shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from google.protobuf.message import DecodeError

from furiosa.compiler.errors import InvalidFormat, InvalidModel
from furiosa.compiler.frontend.onnx import contrib

MIN_OPSET = 1
# What onnx's C++ library throws at an invalid model.
ONNX_ERRORS = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError, IndexError, MemoryError, DecodeError
)  # fmt: skip


def domain_of(name: str) -> str:
    """The key of an operator set: "" is the standard one under both of its names."""
    return "" if name == "ai.onnx" else name


def check_text(model: onnx.ModelProto) -> None:
    """Protobuf hands out text that is not UTF-8 as bytes, with which nothing later works.

    Raises:
        InvalidFormat: a name is not UTF-8.
    """
    for domain in model.opset_import:
        _check_names("an operator set", domain.domain)
    _check_graph_text(model.graph)


def _check_graph_text(graph: onnx.GraphProto) -> None:
    _check_names("the graph", graph.name)
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        _check_names("a tensor", value.name, *(d.dim_param for d in dims))
    for tensor in graph.initializer:
        _check_names("a tensor", tensor.name, *(e.value for e in tensor.external_data))
    for node in graph.node:
        _check_names("a node", node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            _check_names("an attribute", attribute.name, attribute.ref_attr_name)
        for subgraph in subgraphs(node):
            _check_graph_text(subgraph)


def _check_names(what: str, *names: str | bytes) -> None:
    for name in names:
        if not isinstance(name, str):
            raise InvalidFormat(f"not a whole ONNX file: the name of {what} is not UTF-8 ({name!r})")


def opsets(model: onnx.ModelProto) -> dict[str, int]:
    """The versions of the operator sets that a model imports, by domain.

    Raises:
        InvalidModel: the standard one is too old or too new.
    """
    versions = {domain_of(o.domain): o.version for o in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    version = versions.setdefault("", 1)
    if not MIN_OPSET <= version <= newest:
        raise InvalidModel(
            f"the ONNX model uses opset {version}; supported are {MIN_OPSET} to {newest}: "
            f"convert it with onnx.version_converter"
        )
    return versions


def schema_of(node: onnx.NodeProto, versions: dict[str, int]) -> onnx.defs.OpSchema | None:
    """The definition of a node's operator; None for an operator that only onnxruntime defines.

    Raises:
        InvalidModel: nobody defines it, or onnxruntime has no kernel for it.
    """
    domain = domain_of(node.domain)
    if node.op_type in contrib.OPERATORS.get(domain, ()):
        return None
    if (
        domain not in versions
        or domain not in contrib.DOMAINS
        or node.op_type in contrib.WITHOUT_KERNEL
        or not onnx.defs.has(node.op_type, versions[domain], domain)
    ):
        where = f'of domain "{node.domain}"' if node.domain else f"in opset {versions['']}"
        raise InvalidModel(
            f'operator "{node.name}" is the unknown operator {node.op_type} {where}: '
            f"the reference runtime has no kernel for it, so the model must do without it"
        )
    schema = onnx.defs.get_schema(node.op_type, versions[domain], domain)
    oldest = contrib.OLDEST.get(node.op_type, 1)
    if schema.since_version < oldest and not domain:
        raise InvalidModel(
            f'operator "{node.name}" ({node.op_type}) is of opset {versions[""]}, but the reference runtime has kernels '
            f"from opset {oldest} on: convert the model with onnx.version_converter"
        )
    return schema


_INT, _INTS, _FLOAT, _STRING = (getattr(onnx.AttributeProto, n) for n in ("INT", "INTS", "FLOAT", "STRING"))
# of onnxruntime's own operators, of which onnx has no definitions
_CONTRIB_ATTRIBUTES = {
    **dict.fromkeys(("axis", "ceil_mode", "channels_last", "count_include_pad", "group", "opset"), _INT),
    **dict.fromkeys(("transA", "transB"), _INT),
    **dict.fromkeys(("dilations", "kernel_shape", "pads", "strides"), _INTS),
    **dict.fromkeys(("activation", "auto_pad"), _STRING),
    "alpha": _FLOAT,
}


def check_operators(model: onnx.ModelProto, versions: dict[str, int]) -> None:
    """Checks every node, in subgraphs too, against the definition of its operator.

    Raises:
        InvalidModel: an unknown operator, a wrong number of inputs or outputs, a wrong or missing attribute.
    """
    for node in walk(model.graph):
        schema = schema_of(node, versions)
        where = f'operator "{node.name}" ({node.op_type})'
        if schema is None:
            for a in node.attribute:
                if a.type != _CONTRIB_ATTRIBUTES.get(a.name, a.type) and not a.ref_attr_name:
                    raise InvalidModel(f'{where} has the attribute "{a.name}" of a wrong type ({a.type})')
            if node.op_type == "QLinearConcat" and not any(a.name == "axis" for a in node.attribute):
                raise InvalidModel(f'{where} lacks the attribute "axis"')
            continue
        for what, count, least, most in (
            ("inputs", len(node.input), schema.min_input, schema.max_input),
            ("outputs", len(node.output), schema.min_output, schema.max_output),
        ):
            if not least <= count <= most:
                raise InvalidModel(f"{where} has {count} {what}; its definition wants {least} to {most}")
        if "" in node.input:
            for i, formal in enumerate(schema.inputs):
                if formal.option == formal.option.Single and i < len(node.input) and not node.input[i]:
                    raise InvalidModel(f'{where} lacks its input "{formal.name}"')
        given = {a.name: a for a in node.attribute}
        for name, definition in schema.attributes.items():
            if definition.required and name not in given:
                raise InvalidModel(f'{where} lacks the attribute "{name}"')
            if name in given and given[name].type != definition.type.value and not given[name].ref_attr_name:
                raise InvalidModel(f'{where} has the attribute "{name}" of a wrong type ({given[name].type})')


def external_tensors(model: onnx.ModelProto, *, initializers: bool = True) -> Iterator[onnx.TensorProto]:
    """The tensors whose data lie in other files: the main graph's initialisers, unless left out, and those of nodes."""
    graphs: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    for graph in graphs:
        has_none = isinstance(graph, onnx.FunctionProto) or not initializers and graph is graphs[0]
        sparse = [] if has_none else [*graph.sparse_initializer]
        tensors = [] if has_none else [*graph.initializer]
        for node in graph.node:
            graphs += subgraphs(node)
            for a in node.attribute:
                sparse += [a.sparse_tensor, *a.sparse_tensors]
                tensors += [a.t, *a.tensors]
        for t in sparse:
            tensors += [t.values, t.indices]
        yield from (t for t in tensors if t.data_location == t.EXTERNAL)


def external_locations(model: onnx.ModelProto) -> list[str]:
    """What the model calls the files in which its constants lie, each once."""
    entries = (e for t in external_tensors(model) for e in t.external_data)
    return list(dict.fromkeys(e.value for e in entries if e.key == "location"))


def walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph and of the subgraphs in their attributes."""
    return walk_nodes(graph.node)


def walk_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """All nodes of a list and of the subgraphs in their attributes."""
    for node in nodes:
        yield node
        for subgraph in subgraphs(node):
            yield from walk_nodes(subgraph.node)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def free_names(node: onnx.NodeProto) -> list[str]:
    """Names that a node's subgraphs read from outside, in order of their first use."""
    names: dict[str, None] = {}
    for graph in subgraphs(node):
        bound = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        for inner in graph.node:
            names.update((n, None) for n in (*inner.input, *free_names(inner)) if n and n not in bound)
            bound.update(inner.output)
        names.update((v.name, None) for v in graph.output if v.name not in bound)
    return list(names)
