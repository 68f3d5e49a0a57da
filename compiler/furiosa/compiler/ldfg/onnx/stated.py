"""What quantisation the operators of an ONNX graph state for their tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from furiosa.compiler.dfg.graph import Graph, Operator, Quantization, Tensor
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.onnx.units import moves_bytes
from furiosa.compiler.ldfg.verdict import Rule
from furiosa.enf.isa import FLOAT32_MAX, FLOAT32_MIN


class Oddity(NamedTuple):
    """Why no command can have an operator's quantisation: the rule that it breaks, and what was found."""

    rule: Rule
    found: str


class Stated(NamedTuple):
    """A graph with the quantisation that its operators state, at 8-bit and bias tensors.

    ``odd``: the operators whose quantisation is none of one constant pair for a tensor or a channel, the same for all of them;
    ``twins``: QuantizeLinear that quantise the same tensor by the same numbers as another before them, which they map to.
    """

    graph: Graph
    odd: dict[Operator, Oddity]
    twins: dict[Operator, Operator]


def annotate(graph: Graph) -> Stated:
    """What the operators state.  The graph given stays as it is."""
    graph = graph.copy()
    odd: dict[Operator, Oddity] = {}
    for op in graph.operators:
        for t, scale, zero_point, axis in _stated(op):
            if t is None:
                continue
            oddity = _oddity(op, t, scale, zero_point, axis)
            if oddity is not None:
                odd[op] = oddity
                continue
            q = _quantization(t, scale, zero_point, axis)
            if t.quantization is None:
                t.quantization = q
            elif not _equal(t.quantization, q):
                found = (
                    f"'{t.name}' has another scale or zero point here than where it is made or read otherwise"
                )
                odd[op] = Oddity(rules.one_quantization, found)
    for op in graph.operators:
        if moves_bytes(op) and op.inputs[0] is not None:
            for t in op.outputs:
                t.quantization = t.quantization or op.inputs[0].quantization
    return Stated(graph, odd, _twins(graph))


def _twins(graph: Graph) -> dict[Operator, Operator]:
    """``Stated.twins``: some quantisers write a QuantizeLinear for each reader of a tensor."""
    first: dict[tuple, Operator] = {}
    pairs = [
        (op, first.setdefault(quantizes(op), op)) for op in graph.operators if op.op_type == "QuantizeLinear"
    ]
    return {op: same for op, same in pairs if op is not same}


_SMALL = 1024  # bytes of scales that are compared by value


def quantizes(op: Operator) -> tuple:
    """What a QuantizeLinear quantises and how: equal for two that make the same."""
    x, *parameters = op.inputs
    values = [
        (t.dtype, t.shape, t.data.tobytes()) if t and t.is_constant and t.data.nbytes <= _SMALL else t
        for t in parameters
    ]
    return (x, *values, *sorted(op.attributes.items()))


def _oddity(
    op: Operator, t: Tensor, scale: Tensor | None, zero_point: Tensor | None, axis: int
) -> Oddity | None:
    block = op.attributes.get("block_size", 0)
    if block:
        shape = list(t.shape)
        return Oddity(rules.block_size, f"block_size {block} along axis {axis} of '{t.name}', {shape}")
    found = ""
    if scale is None or not scale.is_constant:
        found = f"a scale of '{t.name}' that is computed when the model runs"
    elif scale.dtype != "float32":
        found = f"a scale of '{t.name}' of type {scale.dtype}"
    elif not np.all((scale.data >= FLOAT32_MIN) & (scale.data <= FLOAT32_MAX)):
        found = f"a scale of '{t.name}' that is no ordinary positive number"
    elif zero_point is not None and not zero_point.is_constant:
        found = f"a zero point of '{t.name}' that is computed when the model runs"
    return Oddity(rules.one_quantization, found) if found else None


def _quantization(t: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int) -> Quantization:
    values = np.asarray(scale.data, np.float32).reshape(-1)
    zeros = np.zeros(values.size, np.int32)
    if zero_point is not None:
        zeros = np.asarray(zero_point.data).reshape(-1).astype(np.int32)
    return Quantization(values, zeros, axis % max(len(t.shape), 1) if values.size > 1 else None)


def _equal(a: Quantization, b: Quantization) -> bool:
    return (
        np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point) and a.axis == b.axis
    )


_Stated = tuple[Tensor | None, Tensor | None, Tensor | None, int]


def _stated(op: Operator) -> list[_Stated]:
    """The quantisations that an operator states: (tensor, scale, zero point, axis)."""
    i = [*op.inputs, None, None]
    y = op.outputs[0]
    match op.op_type:
        case "QuantizeLinear":
            return [(y, i[1], i[2], op.attributes.get("axis", 1))]
        case "DequantizeLinear":
            return [(i[0], i[1], i[2], op.attributes.get("axis", 1))]
        case "QLinearConv":
            return [(i[0], i[1], i[2], 1), (i[3], i[4], i[5], 0), (y, i[6], i[7], 1)]
        case "QLinearMatMul":
            return [(i[0], i[1], i[2], 1), (i[3], i[4], i[5], -1), (y, i[6], i[7], 1)]
        case "QGemm" if len(op.inputs) > 7:
            axis = 0 if op.attributes.get("transB", 0) else 1
            return [(i[0], i[1], i[2], 1), (i[3], i[4], i[5], axis), (y, i[7], i[8], 1)]
        case "QLinearAdd" | "QLinearMul":
            return [(i[0], i[1], i[2], 1), (i[3], i[4], i[5], 1), (y, i[6], i[7], 1)]
        case (
            "QLinearGlobalAveragePool"
            | "QLinearAveragePool"
            | "QLinearSigmoid"
            | "QLinearLeakyRelu"
            | "QLinearSoftmax"
        ):
            return [(i[0], i[1], i[2], 1), (y, i[3], i[4], 1)]
        case "QLinearConcat":
            parts = op.inputs[2:]
            return [
                (y, i[0], i[1], 1),
                *((parts[k], parts[k + 1], parts[k + 2], 1) for k in range(0, len(parts), 3)),
            ]
    return []
