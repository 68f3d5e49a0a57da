"""Chains: operators on real numbers that are together a function of one quantised tensor, and so one table.

x * Sigmoid(x), Gelu as exporters write it (Div, Erf, Add, Mul, Mul), x * Clip(x + 3, 0, 6) / 6: whatever lies between a
DequantizeLinear and a QuantizeLinear, has the tensor's shape, and reads nothing else than constants of one value.
"""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import lookup
from furiosa.compiler.ldfg.onnx.elementwise import NUMBERS
from furiosa.compiler.ldfg.onnx.unary import FUNCTIONS
from furiosa.compiler.ldfg.onnx.units import DEQUANTIZE, Unit, passes, quantized_moves

MAX_OPERATORS = 64


def find(
    quantize: Operator,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    results: set[Tensor],
    twins: list[Operator],
) -> Unit | None:
    """The unit of all operators between one quantised tensor and a QuantizeLinear with its twins; None where there is more to it."""
    members: dict[Operator, None] = {}
    dequantizes: dict[Operator, None] = {}
    start, moves = _before_moves(quantize, producer, consumers, results)
    ready = [start]
    while ready:
        t = ready.pop()
        if t is None or _single(t):
            continue
        op = producer.get(t)
        if op is not None and op.op_type == DEQUANTIZE:
            dequantizes[op] = None
        elif op is None or t in results or not takes(op) or len(members) == MAX_OPERATORS:
            return None
        elif op not in members:
            members[op] = None
            ready += op.inputs
    sources = list(dict.fromkeys(op.inputs[0] for op in dequantizes))
    if len(sources) != 1 or len(members) < 2:
        return None
    (x,) = sources
    inside = {*members, *moves, quantize, *twins}
    for op in members:
        y = op.outputs[0]
        if y.shape != x.shape or not inside.issuperset(consumers.get(y, [])):
            return None
    ordered = _ordered(members, producer)
    made = [*dequantizes, *ordered, *moves, quantize, *twins]
    output, units = quantized_moves(moves, quantize.outputs[0]) if moves else (quantize.outputs[0], [])
    last = ordered[-1]
    unit = Unit(last, [x], output, made, dequantizes=list(dequantizes), chain=ordered, moves=units)
    unit.twins = twins
    return unit


def _before_moves(
    quantize: Operator,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    results: set[Tensor],
) -> tuple[Tensor, list[Operator]]:
    """What a QuantizeLinear quantises after some moves of it, and these in order."""
    t, moves = quantize.inputs[0], []
    while (op := producer.get(t)) is not None and op.inputs and passes(op, op.inputs[0]):
        if t in results or len(consumers[t]) != 1 or len(moves) == MAX_OPERATORS:
            break
        t = op.inputs[0]
        moves.insert(0, op)
    return t, moves


def _single(t: Tensor) -> bool:
    return t.is_constant and t.dtype == "float32" and t.size == 1


def takes(op: Operator) -> bool:
    """Whether an operator is a function of numbers: of one, or of two."""
    if op.attributes.get("domain", "") not in ("", "com.microsoft") or len(op.outputs) != 1:
        return False
    if op.op_type in FUNCTIONS:
        return all(t is None or _single(t) for t in op.inputs[1:])
    return op.op_type in NUMBERS and len(op.inputs) == 2 and None not in op.inputs


def _ordered(members: dict[Operator, None], producer: dict[Tensor, Operator]) -> list[Operator]:
    """In topological order, whatever the order of the walk."""
    out: dict[Operator, None] = {}
    stack = [(op, False) for op in members]
    while stack:
        op, is_done = stack.pop()
        if is_done:
            out[op] = None
        elif op not in out:
            stack.append((op, True))
            stack += [(p, False) for t in op.inputs if (p := producer.get(t)) in members and p not in out]
    return list(out)


@rules.requires(rules.UNARY)
def chain(low: Lowering, unit: Unit) -> None:
    """The operators one by one in float32, each function in double, for all 256 values."""
    x, y = unit.inputs[0], unit.output
    low.check(rules.UNARY, Facts(unit.op.op_type, [x, y], []))
    numbers = {op.outputs[0]: arithmetic.real_values(*low.quantization(x)) for op in unit.dequantizes}
    image = low.has_image(x) and len(x.shape) == 4
    lookup(low, x, y, evaluate(unit.chain, numbers, unit.op.outputs[0])[None], None, image=image)


def evaluate(operators: list[Operator], numbers: dict[Tensor, np.ndarray], result: Tensor) -> np.ndarray:
    """float32 [256]: what operators make of the 256 values of tensors that are given."""
    with np.errstate(all="ignore"):
        for op in operators:
            given = [
                None if t is None else numbers[t] if t in numbers else t.data.reshape(1) for t in op.inputs
            ]
            numbers[op.outputs[0]] = _result(op, given)
    return numbers[result]


def _result(op: Operator, given: list[np.ndarray | None]) -> np.ndarray:
    if op.op_type in NUMBERS:
        return np.broadcast_to(NUMBERS[op.op_type](*given).astype(f32), (256,))
    function = FUNCTIONS[op.op_type](Unit(op, list(op.inputs), op.outputs[0], [op]))
    real = np.array([function(v) for v in np.broadcast_to(given[0], (256,)).tolist()], np.float64)
    return real.astype(f32)
