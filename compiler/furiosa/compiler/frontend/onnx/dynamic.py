"""What to say of outputs that cannot be handed over: which operator is the reason, and where the model can be cut before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import onnx

from furiosa.compiler.frontend.onnx import checks
from furiosa.compiler.selection import argument

_MAX_NAMES = 16  # at which a cut is proposed
# what a network is there for: no cut is proposed before them
_WEIGHTED = frozenset(
    [
        "Attention",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DequantizeLinear",
        "Einsum",
        "FusedConv",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
        "MatMulInteger",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
    ]
)


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
    output: str,
    nodes: Sequence[onnx.NodeProto],
    types: Mapping[str, onnx.TypeProto],
    is_known: Callable[[str], bool],
) -> str:
    """Why the shape of an output is not known.

    Args:
        nodes: what the outputs depend on, in order.
        types: of tensors, as far as they can be told.
        is_known: whether a tensor is constant, or of a known shape.
    """
    what = f'the output "{output}" has the dynamic shape {shape_text(types.get(output))}'
    above = _above(nodes, [output], is_known)
    first = next((n for n in above if all(map(is_known, _reads(n)))), above[0] if above else None)
    if first is None:
        return what
    made = next((name for name in first.output if name and not is_known(name)), output)
    name = f'operator "{first.name or made}" ({first.op_type})'
    if checks.domain_of(first.domain):
        return f'{what}: {name} makes "{made}", whose shape this compiler cannot tell'
    return f'{what}: {name} makes "{made}", whose shape depends on values'


def proposal(
    outputs: Sequence[str], nodes: Sequence[onnx.NodeProto], can_cross: Callable[[str], bool], fixed: set[str]
) -> str:
    """Where the model can be cut so that every output can be handed over, as an option to paste; empty where nowhere.

    Args:
        fixed: the names of inputs and constants.
    """
    good = [name for name in outputs if name in fixed or can_cross(name)]
    bad = [name for name in outputs if name not in good]
    cut = _cut(bad, nodes, lambda name: name in fixed or can_cross(name), fixed)
    if not cut:
        return ""
    names = list(dict.fromkeys([*good, *cut]))
    texts = names if any("," in name for name in names) else [",".join(names)]
    option = " ".join(argument("--outputs", text) for text in texts)
    listed = json.dumps(names, ensure_ascii=False)
    return f"; end the model before it: {option} (Bazel and compile_config: outputs = {listed})"


def _cut(
    bad: Sequence[str], nodes: Sequence[onnx.NodeProto], ends: Callable[[str], bool], fixed: set[str]
) -> list[str]:
    """Tensors that can be handed over and on which these outputs depend, in the order in which they are read first.

    They are those right before what cannot be handed over, or, where these are many, such as parts of one tensor, fewer ones
    before them, up to what computes with weights.
    """
    above = _above(nodes, bad, ends)
    cut = {n for node in above for n in _reads(node) if n not in fixed and ends(n)}
    best = cut
    for node in reversed(nodes) if len(cut) > _MAX_NAMES else ():
        if not cut.intersection(node.output):
            continue
        if node.op_type in _WEIGHTED:
            break
        cut = (cut - set(node.output)) | {n for n in _reads(node) if n not in fixed}
        if len(cut) < len(best) and all(map(ends, cut)):
            best = cut
    if len(best) > _MAX_NAMES:
        return []
    return list(dict.fromkeys(n for node in nodes for n in _reads(node) if n in best))


def _above(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], ends: Callable[[str], bool]
) -> list[onnx.NodeProto]:
    """The nodes that these outputs depend on, up to tensors at which that ends; in the order of the model."""
    wanted = set(outputs)
    found = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(n for n in _reads(node) if not ends(n))
    return found[::-1]


def _reads(node: onnx.NodeProto) -> list[str]:
    return [n for n in (*node.input, *checks.free_names(node)) if n]
