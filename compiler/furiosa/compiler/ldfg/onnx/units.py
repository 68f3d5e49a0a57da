"""Units of an ONNX graph: what quantisation makes one operator, DequantizeLinear -> op (-> Relu | Clip) -> QuantizeLinear.

A unit is lowered as a whole or goes to the host as a whole, so that onnxruntime can fuse it there as it would in the
model; an operator in QOperator form (QLinearConv, ...) is a unit by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor

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
    moves: list[Unit] = field(
        default_factory=list
    )  # of the result, before its QuantizeLinear: see quantized_moves
    twins: list[Operator] = field(default_factory=list)  # QuantizeLinear that make the output once more
    function: Callable[..., None] | None = None  # what lowers it, where its operator's type does not tell
    steps: list[Unit] = field(
        default_factory=list
    )  # units that are lowered one after the other, or none (moments.py)
    # from its quantisation, for onnxruntime: by a move that it does not pass, or for twins
    apart: bool = False

    @property
    def outputs(self) -> list[Tensor]:
        """All that the unit makes."""
        return [self.output, *self.others]

    @property
    def anchor(self) -> Operator:
        """The member in whose place the unit is lowered: all that it reads has been made, nothing reads it yet."""
        return self.op if self.others else self.operators[-1 - len(self.twins)]


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
# Past these, and no others, onnxruntime takes a QuantizeLinear up to what makes the values and a DequantizeLinear down to what reads
# them (its transformer QDQPropagation; measured): to move or compare values and to quantise them are the same in either order.
PASSED = ("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
# Exporters leave other moves without quantisation of their own, too; what these part from its quantisation onnxruntime does not fuse.
MOVES = (*PASSED, "DepthToSpace", "Expand", "Flatten", "Gather", "SpaceToDepth", "Tile")
# operators that only move or compare values take 8-bit tensors as they are
_BYTE_OPERATORS = {
    *(
        "Clip",
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "Pad",
        "Reshape",
        "Slice",
    ),
    *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
}


class Integers(NamedTuple):
    """The quantised tensor behind a real one that a move makes of dequantised values, and their DequantizeLinear; ``Unit.apart``."""

    tensor: Tensor
    dequantize: Operator
    moves: int = 0  # between the two
    apart: bool = False


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
    twins: dict[Operator, Operator],
    find_chain: Callable[..., Unit | None],
    find_move: Callable[..., Unit | None],
    find_moments: Callable[..., Unit | None],
) -> list[Unit]:
    """The units in topological order; ``find_chain`` is chains.find, ``find_move`` moved_reals.find, ``find_moments`` moments.find.

    A DequantizeLinear may belong to several; what no unit absorbs is one itself.  ``moved`` gets the real tensors that moves of
    dequantised ones make; ``twins`` are those of ``stated.Stated``.
    """
    results = set(graph.outputs)
    absorbed: dict[Operator, Unit] = {}
    for op in graph.operators:
        if op in absorbed or op.op_type in (QUANTIZE, DEQUANTIZE):
            continue
        unit = (
            _qoperator(op)
            or _qdq(op, producer, consumers, results, moved, twins)
            or _bytes(op)
            or find_move(op, producer, consumers, moved)
        )
        if unit is not None:
            for member in unit.operators:
                if member.op_type != DEQUANTIZE:
                    absorbed[member] = unit
    for op in graph.operators:
        if op.op_type == QUANTIZE and op not in absorbed:
            unit = find_moments(op, producer, consumers, results, absorbed)
            if unit is None:
                beside = [q for q in consumers.get(op.inputs[0], ()) if twins.get(q) is op]
                unit = find_chain(op, producer, consumers, results, beside)
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


def moves_bytes(op: Operator) -> bool:
    """Whether an operator takes 8-bit tensors as they are and gives such."""
    outputs = [t for t in op.outputs if t.name]
    return op.op_type in _BYTE_OPERATORS and bool(outputs) and all(t.dtype in EIGHT_BIT for t in outputs)


def _bytes(op: Operator) -> Unit | None:
    if not moves_bytes(op):
        return None
    first, *others = (t for t in op.outputs if t.name)
    return Unit(op, list(op.inputs), first, [op], others=others)


def gap(
    op: Operator,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    results: set[Tensor],
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
    return f"{op.written_type} '{op.name}'"


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
    twins: dict[Operator, Operator],
) -> Unit | None:
    """The unit around an operator on real numbers, if its data comes dequantised and its result is quantised."""
    outputs = [t for t in op.outputs if t.name]
    if len(outputs) != 1 and op.op_type != "Split":
        return None
    dequantizes = []
    is_apart = False
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
            is_apart |= moved[t].apart
        else:
            inputs.append(t)
            if t is not None and not t.is_constant:
                return None
    if not dequantizes:
        return None
    unique = list(dict.fromkeys(dequantizes))
    if len(outputs) > 1:
        return _split(op, inputs, unique, list(members), outputs, consumers, results, twins)
    (result,) = outputs
    after = _after(op, inputs, result, producer, consumers, results, twins)
    if after is None:
        return None
    unit = Unit(op, inputs, after.quantize.outputs[0], [], after.activation, after.normalization, unique)
    if after.bias is not None:
        inputs.append(after.bias)
        members |= dict.fromkeys(after.dequantizes)
    unit.operators = [*members, op, *after.operators, *after.moves, after.quantize, *after.twins]
    unit.twins = after.twins
    unit.apart = is_apart or any(move.op_type not in PASSED for move in after.moves)
    unit.apart |= _kept_apart(after.quantize, after.twins, results)
    if after.moves:
        unit.output, unit.moves = quantized_moves(after.moves, unit.output)
    return unit


@dataclass(slots=True)
class _After:
    """What lies between an operator and the QuantizeLinear of its result."""

    quantize: Operator
    twins: list[Operator]
    operators: list[Operator]  # an Add, a BatchNormalization, an activation
    moves: list[Operator]
    activation: Operator | None = None
    normalization: Operator | None = None
    bias: Tensor | None = (
        None  # what a MatMul's Add adds, and the DequantizeLinear that it comes from, if any
    )
    dequantizes: list[Operator] = field(default_factory=list)


def _after(
    op: Operator,
    inputs: list[Tensor | None],
    result: Tensor,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    results: set[Tensor],
    twins: dict[Operator, Operator],
) -> _After | None:
    """None where the result is not quantised, or something else is done with it before."""
    found = _After(op, [], [], [])
    at = result
    activations = ACTIVATIONS if op.op_type != "Conv" else (*ACTIVATIONS, *SLOPES)
    while True:
        users = consumers.get(at, [])
        if not users or at in results:
            return None
        user, *others = users
        if _quantizes(user, at) and all(twins.get(q) is user for q in others):
            found.quantize, found.twins = user, others
            return found
        if others:
            return None
        first = not found.operators and not found.moves
        if first and op.op_type == "MatMul" and _adds_bias(user, at, inputs, producer, found):
            found.operators.append(user)
        elif first and op.op_type == "Conv" and _normalizes(user, at):
            found.normalization = user
            found.operators.append(user)
        elif passes(user, at) and op.op_type not in MOVES:
            found.moves.append(user)
        elif (
            not found.moves
            and found.activation is None
            and user.op_type in activations
            and op.op_type not in ACTIVATIONS
            and user.inputs[0] is at
            and all(t is None or t.is_constant for t in user.inputs[1:])
            and (found.bias is None or len(at.shape) == 2)  # of more dimensions it is not fused
        ):
            found.activation = user
            found.operators.append(user)
        else:
            return None
        at = user.outputs[0]


def _quantizes(op: Operator, t: Tensor) -> bool:
    return op.op_type == QUANTIZE and op.inputs[0] is t


def _kept_apart(quantize: Operator, twins: list[Operator], results: set[Tensor]) -> bool:
    """Whether onnxruntime does not find that twins are the same, so fuses none of them.

    It does where they have their zero point from the same tensor (of scales it compares the values), and make no output of the model.
    """
    same = all(q.inputs[2:] == quantize.inputs[2:] for q in twins)
    return bool(twins) and (not same or any(q.outputs[0] in results for q in (quantize, *twins)))


def _adds_bias(
    op: Operator,
    t: Tensor,
    inputs: list[Tensor | None],
    producer: dict[Tensor, Operator],
    found: _After,
) -> bool:
    """Whether an operator adds one constant for each column to a product by a matrix, which onnxruntime makes a Gemm; notes them."""
    if op.op_type != "Add" or len(inputs[1].shape) != 2:
        return False
    (other,) = [i for i in op.inputs if i is not t] or [t]
    source = producer.get(other)
    if source is not None and source.op_type == DEQUANTIZE and source.inputs[0].dtype == "int32":
        found.dequantizes.append(source)
        other = source.inputs[0]
    if not other.is_constant or other.dtype not in ("float32", "int32") or other.shape != t.shape[-1:]:
        return False
    found.bias = other
    return True


def passes(op: Operator, t: Tensor) -> bool:
    """Whether an operator moves the values of ``t``, or takes the largest of some: in either order with QuantizeLinear the same."""
    if (
        op.op_type not in (*MOVES, "Pad")
        or op.inputs[0] is not t
        or len([y for y in op.outputs if y.name]) != 1
    ):
        return False
    return not op.attributes.get("domain") and all(i is None or i.is_constant for i in op.inputs[1:])


def quantized_moves(operators: list[Operator], quantized: Tensor) -> tuple[Tensor, list[Unit]]:
    """Moves of real numbers that are then quantised as moves of integers: what they begin with, and a unit for each."""
    first = at = _integers(operators[0].inputs[0], quantized)
    units = []
    for op in operators:
        y = quantized if op is operators[-1] else _integers(op.outputs[0], quantized)
        units.append(Unit(op, [at, *op.inputs[1:]], y, [op]))
        at = y
    return first, units


def _integers(real: Tensor, quantized: Tensor) -> Tensor:
    return Tensor(real.name, real.shape, quantized.dtype, quantized.quantization)


def _split(
    op: Operator,
    inputs: list[Tensor | None],
    dequantizes: list[Operator],
    before: list[Operator],
    outputs: list[Tensor],
    consumers: dict[Tensor, list[Operator]],
    results: set[Tensor],
    twins: dict[Operator, Operator],
) -> Unit | None:
    """The unit around an operator with several results, if each of them is quantised and nothing else."""
    quantizes, more = [], []
    for t in outputs:
        first, *others = consumers.get(t) or [op]
        if t in results or not _quantizes(first, t) or not all(twins.get(q) is first for q in others):
            return None
        quantizes.append(first)
        more += others
    made = [q.outputs[0] for q in quantizes]
    members = [*before, op, *quantizes, *more]
    return Unit(op, inputs, made[0], members, dequantizes=dequantizes, others=made[1:])
