"""Units of an ONNX graph: what quantisation makes one operator, DequantizeLinear -> op (-> Relu | Clip) -> QuantizeLinear.

A unit is lowered as a whole or goes to the host as a whole, so that onnxruntime can fuse it there as it would in the
model; an operator in QOperator form (QLinearConv, ...) is a unit by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from furiosa.compiler.dfg.graph import Graph, Operator, Quantization, Tensor
from furiosa.enf.isa import FLOAT32_MAX, FLOAT32_MIN

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
ACTIVATIONS = ("Relu", "Clip")
SLOPES = ("LeakyRelu", "PRelu")  # activations that only a convolution takes along
EIGHT_BIT = ("int8", "uint8")


@dataclass(slots=True, eq=False)
class Unit:
    """One operator with the quantisation around it.

    ``inputs`` are the operator's inputs, the quantised tensor in place of a dequantised one; ``output`` is what the unit
    makes, with ``others`` where that is more than one tensor (Split); ``operators`` all that it stands for, in
    topological order.
    """

    op: Operator
    inputs: list[Tensor | None]
    output: Tensor
    operators: list[Operator]
    activation: Operator | None = None
    normalization: Operator | None = None  # a BatchNormalization between a Conv and its activation
    dequantizes: list[Operator] = field(default_factory=list)
    fused: bool = True  # between quantised tensors; False for an operator on real numbers
    others: list[Tensor] = field(default_factory=list)
    chain: list[Operator] = field(
        default_factory=list
    )  # operators that are together one function (chains.py)

    @property
    def outputs(self) -> list[Tensor]:
        """All that the unit makes."""
        return [self.output, *self.others]

    @property
    def anchor(self) -> Operator:
        """The member in whose place the unit is lowered: all that it reads has been made, nothing reads it yet."""
        return self.op if self.others else self.operators[-1]


def annotate(graph: Graph) -> tuple[Graph, set[Operator]]:
    """The graph with the quantisation that the operators state, at 8-bit and bias tensors; the one given stays as it is.

    And the operators that read a tensor with another quantisation than it was made with, or with one that is no constant.
    """
    graph = graph.copy()
    odd: set[Operator] = set()
    for op in graph.operators:
        for t, scale, zero_point, axis in _stated(op):
            if t is None:
                continue
            if not _usable(scale) or (zero_point is not None and not zero_point.is_constant):
                odd.add(op)
                continue
            q = _quantization(t, scale, zero_point, axis)
            if t.quantization is None:
                t.quantization = q
            elif not _equal(t.quantization, q):
                odd.add(op)
    for op in graph.operators:
        if _moves_bytes(op) and op.inputs[0] is not None:
            for t in op.outputs:
                t.quantization = t.quantization or op.inputs[0].quantization
    return graph, odd


def _usable(scale: Tensor | None) -> bool:
    """Whether a scale is constant, float32, positive, finite and of full precision."""
    if scale is None or not scale.is_constant or scale.dtype != "float32":
        return False
    return bool(np.all((scale.data >= FLOAT32_MIN) & (scale.data <= FLOAT32_MAX)))


def _quantization(t: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int) -> Quantization:
    values = np.asarray(scale.data, np.float32).reshape(-1)
    zeros = np.zeros(values.size, np.int32)
    if zero_point is not None:
        zeros = np.asarray(zero_point.data).reshape(-1).astype(np.int32)
    per_channel = values.size > 1 or (len(scale.shape) == 1 and t.is_constant and values.size > 1)
    return Quantization(values, zeros, axis % max(len(t.shape), 1) if per_channel else None)


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


# QOperator form: the type of the plain operator, and where its inputs stand
_QOPERATORS: dict[str, tuple[str, tuple[int, ...]]] = {
    "QLinearConv": ("Conv", (0, 3, 8)),
    "QLinearMatMul": ("MatMul", (0, 3)),
    "QGemm": ("Gemm", (0, 3, 6)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearSigmoid": ("Sigmoid", (0,)),
    "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearSoftmax": ("Softmax", (0,)),
}
# operators that only move or compare values take 8-bit tensors as they are
_BYTE_OPERATORS = {
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Identity", "MaxPool", "Pad", "Reshape", "Slice"),
    *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
}


class Integers(NamedTuple):
    """The quantised tensor behind a real one that a move makes of dequantised values, and their DequantizeLinear."""

    tensor: Tensor
    dequantize: Operator


Moved = dict[Tensor, Integers]


def plain_type(op: Operator) -> str:
    """The operator that a unit computes: "Conv" for QLinearConv."""
    if op.op_type == "QLinearConcat":
        return "Concat"
    return _QOPERATORS.get(op.op_type, (op.op_type, ()))[0]


def qoperators(kind: str) -> list[str]:
    """The operators of the QOperator form that compute ``kind``."""
    return [name for name, (plain, _) in _QOPERATORS.items() if plain == kind] + (
        ["QLinearConcat"] if kind == "Concat" else []
    )


def units(
    graph: Graph,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    moved: Moved,
    find_chain: Callable[..., Unit | None],
    find_move: Callable[..., Unit | None],
) -> list[Unit]:
    """The units in topological order; ``find_chain`` is chains.find, ``find_move`` moved_reals.find.

    A DequantizeLinear may belong to several; what no unit absorbs is one itself.  ``moved`` gets the real tensors that moves of
    dequantised ones make.
    """
    results = set(graph.outputs)
    absorbed: dict[Operator, Unit] = {}
    for op in graph.operators:
        if op in absorbed or op.op_type in (QUANTIZE, DEQUANTIZE):
            continue
        unit = (
            _qoperator(op)
            or _qdq(op, producer, consumers, results, moved)
            or _bytes(op)
            or find_move(op, producer, moved)
        )
        if unit is not None:
            for member in unit.operators:
                if member.op_type != DEQUANTIZE:
                    absorbed[member] = unit
    for op in graph.operators:
        if op.op_type == QUANTIZE and op not in absorbed:
            unit = find_chain(op, producer, consumers, results)
            if unit is not None:
                absorbed.update((m, unit) for m in unit.operators if m.op_type != DEQUANTIZE)
    out: list[Unit] = []
    for op in graph.operators:
        unit = absorbed.get(op)
        if unit is None:
            inputs = [_before_dequantize(t, producer, moved) for t in op.inputs]
            out.append(Unit(op, inputs, op.outputs[0] if op.outputs else None, [op], fused=False))
        elif unit.anchor is op:
            out.append(unit)
    return out


def _before_dequantize(t: Tensor | None, producer: dict[Tensor, Operator], moved: Moved) -> Tensor | None:
    """The quantised tensor: what is wrong with an operator on real numbers is not what it gets dequantised."""
    if t in moved:
        return moved[t].tensor
    source = producer.get(t) if t is not None else None
    return source.inputs[0] if source is not None and source.op_type == DEQUANTIZE else t


def _qoperator(op: Operator) -> Unit | None:
    if op.op_type == "QLinearConcat":
        return Unit(op, op.inputs[2::3], op.outputs[0], [op])
    row = _QOPERATORS.get(op.op_type)
    if row is None or (op.op_type == "QGemm" and len(op.inputs) <= 7):
        return None
    return Unit(op, [op.inputs[i] if i < len(op.inputs) else None for i in row[1]], op.outputs[0], [op])


def _moves_bytes(op: Operator) -> bool:
    """Whether an operator takes 8-bit tensors as they are and gives such."""
    outputs = [t for t in op.outputs if t.name]
    return op.op_type in _BYTE_OPERATORS and bool(outputs) and all(t.dtype in EIGHT_BIT for t in outputs)


def _bytes(op: Operator) -> Unit | None:
    if not _moves_bytes(op):
        return None
    first, *others = (t for t in op.outputs if t.name)
    return Unit(op, list(op.inputs), first, [op], others=others)


def gap(
    op: Operator,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    results: list[Tensor],
) -> str:
    """What keeps an operator on real numbers from being a unit; empty where nothing around it is quantised either."""
    if op.op_type in (QUANTIZE, DEQUANTIZE):
        return ""
    data = [t for t in op.inputs if t is not None and not t.is_constant]
    sources = [(t, producer.get(t)) for t in data]
    users = [(t, user) for t in op.outputs for user in consumers.get(t, [])]
    bare = [(t, source) for t, source in sources if source is None or source.op_type != DEQUANTIZE]
    if len(bare) == len(sources) and all(user.op_type != QUANTIZE for _, user in users):
        return ""
    out = []
    for t, source in bare:
        whence = f"comes from {_called(source)}" if source is not None else "is an input of the model"
        out.append(f"'{t.name}' {whence} without a DequantizeLinear")
    others = [(t, user) for t, user in users if user.op_type != QUANTIZE]
    for t, user in others:
        out.append(f"'{t.name}' is read by {_called(user)}, not only by one QuantizeLinear")
    out += [
        f"'{t.name}' is an output of the model without a QuantizeLinear" for t in op.outputs if t in results
    ]
    if not out:
        out = [f"'{t.name}' is not read by exactly one QuantizeLinear" for t in op.outputs[:1]]
    return "; ".join(out)


def _called(op: Operator) -> str:
    return f"{op.op_type} '{op.name}'"


def _normalizes(op: Operator, t: Tensor) -> bool:
    """Whether an operator is a BatchNormalization of ``t`` by constants."""
    return (
        op.op_type == "BatchNormalization"
        and op.inputs[0] is t
        and len(op.inputs) == 5
        and all(i is not None and i.is_constant for i in op.inputs[1:])
        and sum(bool(y.name) for y in op.outputs) == 1
        and not op.attributes.get("training_mode", 0)
    )


def _qdq(
    op: Operator,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    results: set[Tensor],
    moved: Moved,
) -> Unit | None:
    """The unit around an operator on real numbers, if its data comes dequantised and its result is quantised."""
    outputs = [t for t in op.outputs if t.name]
    if len(outputs) != 1 and op.op_type != "Split":
        return None
    dequantizes = []
    members: dict[Operator, None] = {}  # an ordered set: not those whose values a move has in between
    inputs: list[Tensor | None] = []
    for t in op.inputs:
        source = producer.get(t) if t is not None else None
        if source is not None and source.op_type == DEQUANTIZE:
            members[source] = None
            dequantizes.append(source)
            inputs.append(source.inputs[0])
        elif t in moved:
            dequantizes.append(moved[t].dequantize)
            inputs.append(moved[t].tensor)
        else:
            inputs.append(t)
            if t is not None and not t.is_constant:
                return None
    if not dequantizes:
        return None
    unique = list(dict.fromkeys(dequantizes))
    if len(outputs) > 1:
        return _split(op, inputs, unique, list(members), outputs, consumers, results)
    tail: list[Operator] = []
    activation = normalization = None
    (at,) = outputs
    while True:
        users = consumers.get(at, [])
        if len(users) != 1 or at in results:
            return None
        (user,) = users
        if user.op_type == QUANTIZE and user.inputs[0] is at:
            break
        if normalization is activation is None and op.op_type == "Conv" and _normalizes(user, at):
            normalization = user
            tail.append(user)
            at = user.outputs[0]
            continue
        if (
            activation is None
            and user.op_type in (ACTIVATIONS if op.op_type != "Conv" else (*ACTIVATIONS, *SLOPES))
            and op.op_type not in ACTIVATIONS
            and user.inputs[0] is at
        ):
            if any(t is not None and not t.is_constant for t in user.inputs[1:]):
                return None
            activation = user
            tail.append(user)
            at = user.outputs[0]
            continue
        return None
    return Unit(op, inputs, user.outputs[0], [*members, op, *tail, user], activation, normalization, unique)


def _split(
    op: Operator,
    inputs: list[Tensor | None],
    dequantizes: list[Operator],
    before: list[Operator],
    outputs: list[Tensor],
    consumers: dict[Tensor, list[Operator]],
    results: set[Tensor],
) -> Unit | None:
    """The unit around an operator with several results, if each of them is quantised and nothing else."""
    quantizes = []
    for t in outputs:
        users = consumers.get(t, [])
        if len(users) != 1 or t in results or users[0].op_type != QUANTIZE or users[0].inputs[0] is not t:
            return None
        quantizes.append(users[0])
    made = [q.outputs[0] for q in quantizes]
    members = [*before, op, *quantizes]
    return Unit(op, inputs, made[0], members, dequantizes=dequantizes, others=made[1:])
