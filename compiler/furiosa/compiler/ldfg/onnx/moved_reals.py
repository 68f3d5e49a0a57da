"""Moves of dequantised values without a QuantizeLinear of their own: they move the integers.

Exporters quantise around arithmetic only, so DequantizeLinear -> Reshape -> Transpose -> Reshape -> Conv is common.  To
dequantise and to move are the same in either order, so the move becomes a unit on the quantised tensor, and what reads its
result reads a quantised tensor of the same scale.
"""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator, Quantization, Tensor
from furiosa.compiler.ldfg.onnx.units import (
    DEQUANTIZE,
    EIGHT_BIT,
    MOVES,
    PASSED,
    QUANTIZE,
    Integers,
    Moved,
    Unit,
)

_LONGEST = 64  # moves in a row: what reads the last on the host takes all of them along


def find(
    op: Operator,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    moved: Moved,
) -> Unit | None:
    """The unit of a move whose data comes dequantised; its result is added to ``moved``."""
    if op.op_type not in MOVES or op.outputs[0].dtype != "float32" or any(t.name for t in op.outputs[1:]):
        return None
    if any(t is not None and not t.is_constant for t in op.inputs[1:]):
        return None
    x, y = op.inputs[0], op.outputs[0]
    source = moved.get(x) or _dequantized(x, producer)
    if source is None or source.moves == _LONGEST:
        return None
    members = [op] if x in moved else [source.dequantize, op]
    if source.tensor.is_constant:
        if op.op_type != "Transpose":
            return None
        weights = _transposed(source.tensor, y, op.attributes.get("perm"))
        moved[y] = Integers(weights, source.dequantize, source.moves + 1)
        return Unit(op, [source.tensor], weights, members, dequantizes=[source.dequantize])
    integers = Tensor(y.name, y.shape, source.tensor.dtype, source.tensor.quantization)
    # onnxruntime passes no move whose result somebody quantises again
    is_apart = source.apart or op.op_type not in PASSED
    is_apart |= any(user.op_type == QUANTIZE for user in consumers.get(y, ()))
    moved[y] = Integers(integers, source.dequantize, source.moves + 1, is_apart)
    return Unit(op, [source.tensor, *op.inputs[1:]], integers, members, dequantizes=[source.dequantize])


def _dequantized(t: Tensor, producer: dict[Tensor, Operator]) -> Integers | None:
    """The quantised tensor behind an activation with one scale, or behind weights; None where there is none."""
    source = producer.get(t)
    if source is None or source.op_type != DEQUANTIZE:
        return None
    x = source.inputs[0]
    if x.dtype not in EIGHT_BIT or x.quantization is None:
        return None
    return Integers(x, source) if x.is_constant or x.quantization.scale.size == 1 else None


def _transposed(w: Tensor, y: Tensor, perm: list[int] | None) -> Tensor:
    """Weights as a Transpose of their real numbers has them; onnxruntime, too, transposes the integers."""
    perm = list(perm) if perm is not None else list(range(len(w.shape)))[::-1]
    q = w.quantization
    axis = None if q.axis is None else perm.index(q.axis)
    return Tensor(w.name, y.shape, w.dtype, Quantization(q.scale, q.zero_point, axis), w.data.transpose(perm))
