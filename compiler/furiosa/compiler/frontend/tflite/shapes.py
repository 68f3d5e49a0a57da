"""Checks the shapes that a TFLite file states, and supplies the ones it leaves out.

A file states the shape of every tensor, and the reference runtime computes them anew.  Later stages trust them, so
operators that the NPU may take are checked here; a shape that is stated as [] may also mean that it is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.batch import MAX_TENSOR_BYTES
from furiosa.compiler.frontend.tflite.move_shapes import RULES, Contradiction, Shape, Shapes, axes, constant


def check(op: Operator) -> None:
    """Compares the shape of an operator's outputs with what its inputs and options make of it.

    Raises:
        InvalidModel: they contradict each other, or inputs are missing.
    """
    rule = _RULES.get(op.op_type)
    if rule is None:
        return
    where = f'operator "{op.name}" ({op.op_type})'
    at_least, function = rule
    if len(op.inputs) < at_least or any(t is None for t in op.inputs[:at_least]):
        raise InvalidModel(f"{where} has {len(op.inputs)} inputs; it needs {at_least}")
    try:
        shape = function(op)
    except Contradiction as e:
        raise InvalidModel(f"{where} {e}") from None
    shapes = shape if isinstance(shape, list) else [shape]
    for out, shape in zip(op.outputs, shapes):
        if shape is None or out.shape == shape:
            continue
        if out.shape != ():
            raise InvalidModel(
                f'{where} makes a tensor of shape {list(shape)}, but its output "{out.name}" is stated as {list(out.shape)}'
            )
        if math.prod(shape) > MAX_TENSOR_BYTES:
            raise InvalidModel(
                f'tensor "{out.name}" of shape {list(shape)} would have more than {MAX_TENSOR_BYTES} elements'
            )
        out.shape = shape


def _first(op: Operator) -> Shape:
    return op.inputs[0].shape


def _broadcast(op: Operator) -> Shape:
    result: Shape = ()
    for t in op.inputs:
        if t is None:
            continue
        rank = max(len(result), len(t.shape))
        pairs = zip((1,) * (rank - len(result)) + result, (1,) * (rank - len(t.shape)) + t.shape)
        merged = []
        for a, b in pairs:
            if a != b and 1 not in (a, b):
                raise Contradiction(f"cannot broadcast the shapes {[list(i.shape) for i in op.inputs if i]}")
            merged.append(b if a == 1 else a)
        result = tuple(merged)
    return result


def _rank(shape: Shape, rank: int, what: str) -> Shape:
    if len(shape) != rank:
        raise Contradiction(f"needs {what} of {rank} dimensions, not of shape {list(shape)}")
    return shape


def _windows(op: Operator, size: int, kernel: int, axis: str) -> int:
    """The number of windows along an axis: ceil(size / stride) for SAME, only whole windows for VALID."""
    a = op.attributes
    stride, dilation = a[f"stride_{axis}"], a.get(f"dilation_{axis}_factor", 1)
    if stride < 1 or dilation < 1 or kernel < 1:
        raise Contradiction(
            f"has stride {stride}, dilation {dilation} and kernel {kernel}; they must be at least 1"
        )
    if a["padding"] == "VALID":
        size -= (kernel - 1) * dilation
    if size < 1:
        raise Contradiction("has a window larger than its input")
    return -(-size // stride)


def _check_bias(op: Operator, channels: int) -> None:
    if len(op.inputs) > 2 and op.inputs[2] is not None and op.inputs[2].size != channels:
        raise Contradiction(f"has {channels} output channels, but a bias of shape {list(op.inputs[2].shape)}")


def _conv(op: Operator) -> Shape:
    n, h, w, c = _rank(op.inputs[0].shape, 4, "an input")
    o, kh, kw, i = _rank(op.inputs[1].shape, 4, "a filter")
    if i < 1 or c % i or o % max(c // i, 1):
        raise Contradiction(f"has {c} input channels, but a filter of shape {list(op.inputs[1].shape)}")
    _check_bias(op, o)
    return n, _windows(op, h, kh, "h"), _windows(op, w, kw, "w"), o


def _depthwise(op: Operator) -> Shape:
    n, h, w, c = _rank(op.inputs[0].shape, 4, "an input")
    one, kh, kw, o = _rank(op.inputs[1].shape, 4, "a filter")
    if one != 1 or c < 1 or o % c:
        raise Contradiction(f"has {c} input channels, but a filter of shape {list(op.inputs[1].shape)}")
    _check_bias(op, o)
    return n, _windows(op, h, kh, "h"), _windows(op, w, kw, "w"), o


def _transpose_conv(op: Operator) -> Shape | None:
    n, _, _, c = _rank(op.inputs[2].shape, 4, "an input")
    o, *_, i = _rank(op.inputs[1].shape, 4, "a filter")
    if c != i:
        raise Contradiction(f"has {c} input channels, but a filter of shape {list(op.inputs[1].shape)}")
    if min(op.attributes["stride_h"], op.attributes["stride_w"]) < 1:
        raise Contradiction("has a stride below 1")
    if len(op.inputs) > 3 and op.inputs[3] is not None and op.inputs[3].size != o:
        raise Contradiction(f"has {o} output channels, but a bias of shape {list(op.inputs[3].shape)}")
    shape = constant(op, 0)
    if shape is None:
        return None
    if len(shape) != 4 or min(shape) < 1 or (shape[0], shape[3]) != (n, o):
        raise Contradiction(f"makes a tensor of shape {shape} of {n} images, with {o} channels")
    return tuple(shape)


def _pool(op: Operator) -> Shape:
    n, h, w, c = _rank(op.inputs[0].shape, 4, "an input")
    a = op.attributes
    return n, _windows(op, h, a["filter_height"], "h"), _windows(op, w, a["filter_width"], "w"), c


def _fully_connected(op: Operator) -> Shape | None:
    o, k = _rank(op.inputs[1].shape, 2, "weights")
    _check_bias(op, o)
    size, out = op.inputs[0].size, op.outputs[0]
    if k < 1 or size % k:
        raise Contradiction(f"has {size} inputs, but weights of shape {list(op.inputs[1].shape)}")
    # The leading dimensions may be kept or joined.
    return None if out.size == size // k * o and out.shape[-1:] == (o,) else (size // k, o)


def _concatenation(op: Operator) -> Shape:
    shape = list(_first(op))
    (axis,) = axes([op.attributes["axis"]], len(shape))
    for t in op.inputs[1:]:
        same_rank = t is not None and len(t.shape) == len(shape)
        if not same_rank or t.shape[:axis] + t.shape[axis + 1 :] != (*shape[:axis], *shape[axis + 1 :]):
            raise Contradiction(
                f"cannot join the shapes {[list(i.shape) for i in op.inputs if i]} along {axis}"
            )
        shape[axis] += t.shape[axis]
    return tuple(shape)


def _reshape(op: Operator) -> Shape | None:
    """A target shape that is constant, if the operator has one, else what is stated, of as many elements."""
    has_input = len(op.inputs) > 1 and op.inputs[1] is not None
    target = constant(op, 1) if has_input else op.attributes["new_shape"]
    if not target or 0 in target:  # 0: an old spelling of a scalar
        if op.inputs[0].size != op.outputs[0].size:
            raise Contradiction(f"makes {list(op.outputs[0].shape)} of {list(_first(op))}")
        return None
    known, size = math.prod(d for d in target if d != -1), op.inputs[0].size
    rest = size // known if -1 in target else 1
    if min(target) < -1 or target.count(-1) > 1 or known * rest != size:
        raise Contradiction(f"makes {target} of {list(_first(op))}")
    return tuple(rest if d == -1 else d for d in target)


def _pad(op: Operator) -> Shape | None:
    pads = constant(op, 1)
    if pads is None:
        return None
    shape = _first(op)
    if len(pads) != 2 * len(shape) or min(pads, default=0) < 0:
        raise Contradiction(f"has the paddings {pads} for a tensor of shape {list(shape)}")
    return tuple(d + before + after for d, before, after in zip(shape, pads[::2], pads[1::2]))


def _transpose(op: Operator) -> Shape | None:
    perm = constant(op, 1)
    if perm is None:
        return None
    shape = _first(op)
    perm = axes(perm, len(shape))
    if sorted(perm) != list(range(len(shape))):
        raise Contradiction(f"has the permutation {perm} for a tensor of shape {list(shape)}")
    return tuple(shape[p] for p in perm)


def _reduce(op: Operator) -> Shape | None:
    reduced = constant(op, 1)
    if reduced is None:
        return None
    shape = _first(op)
    gone = set(axes(reduced, len(shape)))
    if op.attributes["keep_dims"]:
        return tuple(1 if i in gone else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def _resize(op: Operator) -> Shape | None:
    size = constant(op, 1)
    n, _, _, c = _rank(_first(op), 4, "an input")
    if size is None:
        return None
    if len(size) != 2 or min(size) < 1:
        raise Contradiction(f"resizes to {size}, which is not a height and a width")
    return n, *size, c


_UNARY = """
ABS CAST CEIL COS DEQUANTIZE ELU EXP FLOOR GELU HARD_SWISH LEAKY_RELU LOG LOGICAL_NOT LOGISTIC LOG_SOFTMAX NEG QUANTIZE
RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 ROUND RSQRT SIN SOFTMAX SQRT SQUARE TANH
"""
_BINARY = "ADD DIV FLOOR_DIV FLOOR_MOD MAXIMUM MINIMUM MUL POW PRELU SQUARED_DIFFERENCE SUB"


# The least number of inputs, and the rule; a rule gives None where it cannot tell.
def _recurrent(weights: int, units: Callable[[Operator, Shape], int]) -> Callable[[Operator], Shape | None]:
    """An operator that keeps a state, and makes so many ``units`` for each row of its input; ``weights`` are the input that says it.

    What a file states is left as it is.
    """

    def rule(op: Operator) -> Shape | None:
        if op.outputs[0].shape != () or len(op.inputs) <= weights or op.inputs[weights] is None:
            return None
        shape = _rank(op.inputs[weights].shape, 2, "weights")
        return (*op.inputs[0].shape[:-1], units(op, shape))

    return rule


_LSTM = _recurrent(8, lambda op, recurrent: recurrent[1])
_RNN = _recurrent(1, lambda op, weights: weights[0])

_RULES: dict[str, tuple[int, Callable[[Operator], Shapes]]] = {
    **RULES,
    **dict.fromkeys(("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"), (1, _LSTM)),
    **dict.fromkeys(("RNN", "UNIDIRECTIONAL_SEQUENCE_RNN"), (1, _RNN)),
    "SVDF": (1, _recurrent(1, lambda op, weights: weights[0] // max(op.attributes["rank"], 1))),
    **dict.fromkeys(_UNARY.split(), (1, _first)),
    **dict.fromkeys(_BINARY.split(), (2, _broadcast)),
    **dict.fromkeys(("AVERAGE_POOL_2D", "L2_POOL_2D", "MAX_POOL_2D"), (1, _pool)),
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"), (2, _reduce)),
    **dict.fromkeys(("PAD", "PADV2"), (2, _pad)),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), (2, _resize)),
    "CONCATENATION": (1, _concatenation),
    "CONV_2D": (2, _conv),
    "DEPTHWISE_CONV_2D": (2, _depthwise),
    "FULLY_CONNECTED": (2, _fully_connected),
    "RESHAPE": (1, _reshape),
    "TRANSPOSE": (2, _transpose),
    "TRANSPOSE_CONV": (3, _transpose_conv),
}
