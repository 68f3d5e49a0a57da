"""Moves of dequantised values without a QuantizeLinear of their own: they move the integers.

Exporters quantise around arithmetic only, so DequantizeLinear -> Reshape -> Transpose -> Reshape -> Conv is common.  To
dequantise and to move are the same in either order, so the move becomes a unit on the quantised tensor, and what reads its
result reads a quantised tensor of the same scale.
"""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg.onnx.units import DEQUANTIZE, EIGHT_BIT, Integers, Moved, Unit

# Those past which onnxruntime, too, takes the quantisation (its transformer QDQPropagation, measured): past any other move it
# computes what follows in real numbers.
_MOVES = ("Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")


def find(op: Operator, producer: dict[Tensor, Operator], moved: Moved) -> Unit | None:
    """The unit of a move whose data comes dequantised; its result is added to ``moved``."""
    if op.op_type not in _MOVES or op.outputs[0].dtype != "float32":
        return None
    if any(t is not None and not t.is_constant for t in op.inputs[1:]):
        return None
    x, y = op.inputs[0], op.outputs[0]
    source = moved.get(x) or _dequantized(x, producer)
    if source is None:
        return None
    integers = Tensor(y.name, y.shape, source.tensor.dtype, source.tensor.quantization)
    members = [op] if x in moved else [source.dequantize, op]
    moved[y] = Integers(integers, source.dequantize)
    return Unit(op, [source.tensor, *op.inputs[1:]], integers, members, dequantizes=[source.dequantize])


def _dequantized(t: Tensor, producer: dict[Tensor, Operator]) -> Integers | None:
    """The quantised tensor behind an activation, with one scale; None where there is none."""
    source = producer.get(t)
    if source is None or source.op_type != DEQUANTIZE:
        return None
    x = source.inputs[0]
    if x.is_constant or x.dtype not in EIGHT_BIT or x.quantization is None or x.quantization.scale.size != 1:
        return None
    return Integers(x, source)
