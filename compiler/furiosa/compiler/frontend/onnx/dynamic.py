"""What to say of outputs whose shape is not known: which operator is the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import onnx

from furiosa.compiler.frontend.ends import Step, above
from furiosa.compiler.frontend.onnx import checks


def steps(nodes: Iterable[onnx.NodeProto]) -> list[Step]:
    """The nodes of a graph as steps from tensors to tensors."""
    return [
        Step(
            node.name or next(filter(None, node.output), ""),
            node.op_type if not checks.domain_of(node.domain) else f"{node.domain}.{node.op_type}",
            [n for n in (*node.input, *checks.free_names(node)) if n],
            [n for n in node.output if n],
        )
        for node in nodes
    ]


def shape_text(value: onnx.TypeProto | None) -> str:
    """The shape of a tensor with "?" for what is not known."""
    if value is None or not value.tensor_type.HasField("shape"):
        return "(not even the number of dimensions is known)"
    dims = (
        str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?"
        for d in value.tensor_type.shape.dim
    )
    return f"[{', '.join('?' if d.startswith('unk__') else d for d in dims)}]"


def unknown_shape(
    output: str, made_by: Sequence[Step], types: Mapping[str, onnx.TypeProto], is_known: Callable[[str], bool]
) -> str:
    """Why the shape of an output is not known.

    Args:
        made_by: what the outputs depend on, in order.
        types: of tensors, as far as they can be told.
        is_known: whether a tensor is constant, or of a known shape.
    """
    what = f'the output "{output}" has the dynamic shape {shape_text(types.get(output))}'
    found = above(made_by, [output], is_known)
    first = next((s for s in found if all(map(is_known, s.reads))), found[0] if found else None)
    if first is None:
        return what
    made = next((name for name in first.makes if not is_known(name)), output)
    name = f'operator "{first.name}" ({first.op_type})'
    if "." in first.op_type:  # of another domain
        return f'{what}: {name} makes "{made}", whose shape this compiler cannot tell'
    if first.op_type in ("If", "Loop", "Scan"):
        return f'{what}: {name} makes "{made}", whose shape depends on how the graphs inside are run, which constants do not decide'
    return f'{what}: {name} makes "{made}", whose shape depends on values'
