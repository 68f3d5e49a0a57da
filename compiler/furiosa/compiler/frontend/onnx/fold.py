"""Folds the arithmetic that exported models do on shapes and on grids and masks of that size, reshapes of constants, and what
quantises weights.

Only operators that are exact (integers, IEEE basic arithmetic, moves), so that folding cannot differ from running;
what a constant costs to compute and to store is bounded before it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.frontend.onnx.constants import DTYPES, is_numpy

MAX_ELEMENTS = 1 << 18  # of a result that is not a view of its input, except of weights (``OF_WEIGHTS``)
EXACT = 1 << 53  # up to which a double, in which runtimes compute powers, holds every integer

Arrays = list[Any]  # np.ndarray, or None for an omitted input
Attributes = dict[str, Any]


def fold(
    op_type: str,
    inputs: list[Tensor | None],
    shapes: list[tuple[int, ...] | None],
    attributes: Attributes,
) -> list[np.ndarray] | None:
    """The results of an operator on constants as read-only arrays, or None if it is not folded.

    Args:
        shapes: the inferred shape of each result, where known.

    Raises:
        ValueError, TypeError, IndexError, ArithmeticError: the operator is invalid on these inputs.
    """
    if not inputs or not all(t is None or is_numpy(t.dtype) for t in inputs):
        return None
    if op_type not in (_SEVERAL if len(shapes) > 1 else _FOLDS):
        return None
    if op_type == "Cast" and not is_numpy(DTYPES.get(attributes["to"], "string")):
        return None
    if op_type not in (*VIEWS, *OF_WEIGHTS) and any(_most(op_type, inputs, s) > MAX_ELEMENTS for s in shapes):
        return None
    arrays: Arrays = [None if t is None else t.data for t in inputs]
    with np.errstate(all="ignore"):
        if len(shapes) > 1:
            results = _SEVERAL[op_type](arrays, attributes, len(shapes))
        else:
            results = [_FOLDS[op_type](arrays, attributes)]
    if results is None or any(r is None for r in results):
        return None
    return [_finished(op_type, arrays, np.asarray(r)) for r in results]


def _most(op_type: str, inputs: list[Tensor | None], shape: tuple[int, ...] | None) -> float:
    """How many elements a result may have."""
    if shape is not None:
        return _size(shape)
    if op_type == "Range":  # whose inputs onnxruntime lets be of shape [1], too
        start, limit, step = (t.data.item() if t is not None and t.size == 1 else 0 for t in inputs)
        return abs(limit - start) / abs(step) if step else math.inf
    if op_type not in _BY_VALUES:
        return math.inf
    return sum(t.size * max(len(t.shape), 1) for t in inputs if t is not None)


def _finished(op_type: str, arrays: Arrays, result: np.ndarray) -> np.ndarray:
    if op_type not in VIEWS and op_type not in _TYPED:
        result = result.astype(arrays[-1].dtype, copy=False)
    if op_type not in VIEWS:
        result = np.ascontiguousarray(result).reshape(result.shape)
    result.flags.writeable = False
    return result


def shape_of(op_type: str, shape: tuple[int, ...], attributes: Attributes) -> np.ndarray:
    """The result of Shape (int64 [rank]) or Size (int64 scalar) of a tensor of a known shape."""
    part = shape[slice(attributes.get("start", 0), attributes.get("end"))]
    result = np.array(part if op_type == "Shape" else _size(shape), np.int64)
    result.flags.writeable = False
    return result


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for d in shape:
        size *= d
    return size


def _axes(x: Arrays, a: Attributes) -> tuple[int, ...] | None:
    """Axes, which newer opsets give as the second input."""
    if len(x) > 1 and x[1] is not None:
        return tuple(x[1].tolist())
    return tuple(a["axes"]) if "axes" in a else None


def _is_real(x: np.ndarray) -> bool:
    return x.dtype.kind not in "iub"


def _binary(function: Callable) -> Callable:
    return lambda x, a: function(x[0], x[1])


def _reduce(function: Callable) -> Callable:
    def fold_all(x: Arrays, a: Attributes) -> np.ndarray:
        result = x[0]
        for other in x[1:]:
            result = function(result, other)
        return result

    return fold_all


def _div(x: Arrays, a: Attributes) -> np.ndarray:
    if np.issubdtype(x[0].dtype, np.floating):
        return x[0] / x[1]
    if not np.all(x[1]):
        raise ArithmeticError("division by zero")
    quotient = np.abs(x[0]) // np.abs(x[1])  # towards zero, as in C
    return np.where((x[0] < 0) != (x[1] < 0), -quotient, quotient)


def _cast(x: Arrays, a: Attributes) -> np.ndarray | None:
    """None of a real number that the new type of integers does not hold: what comes of it depends on the processor."""
    dtype = np.dtype(DTYPES[a["to"]])
    if dtype.kind in "iu" and x[0].dtype.kind == "f":
        limits = np.iinfo(dtype)
        whole = np.trunc(x[0].astype(np.float64))
        if not np.all((whole >= float(limits.min)) & (whole < float(limits.max) + 1)):
            return None
    return x[0].astype(dtype)


def _clip(x: Arrays, a: Attributes) -> np.ndarray | None:
    """Of numbers; None where there is a NaN."""
    low, high = [*x[1:3], None, None][:2] if len(x) > 1 else (a.get("min"), a.get("max"))
    result = x[0]
    if low is not None:
        result = np.maximum(result, np.asarray(low, result.dtype).reshape(()))
    if high is not None:
        result = np.minimum(result, np.asarray(high, result.dtype).reshape(()))
    return None if result.dtype.kind == "f" and np.any(np.isnan(result)) else result


def _constant_of_shape(x: Arrays, a: Attributes) -> np.ndarray:
    value = a.get("value", np.zeros(1, np.float32))
    return np.full(tuple(x[0].tolist()), value.reshape(()), value.dtype)


def _expand(x: Arrays, a: Attributes) -> np.ndarray:
    return np.broadcast_to(x[0], np.broadcast_shapes(x[0].shape, tuple(x[1].tolist()))).copy()


_QUANTIZED = ("int8", "uint8", "int16", "uint16")


def _quantize(x: Arrays, a: Attributes) -> np.ndarray | None:
    """QuantizeLinear as onnxruntime: float32(x / scale), ties to even, plus the zero point, saturated.

    Of float32 numbers and ordinary scales only; None otherwise.
    """
    values, scale, zero = x[0], x[1], x[2] if len(x) > 2 else None
    dtype = zero.dtype.name if zero is not None else DTYPES.get(a.get("output_dtype") or _UINT8)
    if dtype not in _QUANTIZED or any(v is None or v.dtype != np.float32 for v in (values, scale)):
        return None
    if not np.all(np.isfinite(values)) or not np.all((scale > 0) & np.isfinite(scale)):
        return None
    scale = _aligned(scale, values.shape, a)
    steps = np.rint(values / scale)
    limits = np.iinfo(dtype)
    if zero is not None:
        zero = _aligned(zero, values.shape, a).astype(np.int32)
        # before the zero point is added: no sum leaves int32, and float32 holds these bounds
        np.clip(steps, limits.min - zero, limits.max - zero, out=steps)
        return (steps.astype(np.int32) + zero).astype(dtype)
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def _aligned(parameter: np.ndarray, shape: tuple[int, ...], a: Attributes) -> np.ndarray:
    """A scale or zero point of one value, one for each place of an axis, or one for each block of it, for broadcasting."""
    if parameter.size == 1:
        return parameter.reshape(())
    axis = a.get("axis", 1) % len(shape)
    block = a.get("block_size", 0)
    if not block:
        return parameter.reshape([shape[axis] if i == axis else 1 for i in range(len(shape))])
    blocks = (*shape[:axis], -(-shape[axis] // block), *shape[axis + 1 :])
    if block < 0 or parameter.shape != blocks:
        raise ValueError(f"blocks of {block} along axis {axis} of {list(shape)}: {list(parameter.shape)}")
    return np.repeat(parameter, min(block, shape[axis]), axis)[tuple(map(slice, shape))]


def _reduction(function: Callable, *, of_reals: bool) -> Callable:
    """A reduction; None of reals where their order matters, and of a NaN."""

    def reduce(x: Arrays, a: Attributes) -> np.ndarray | None:
        axes = _axes(x, a)
        if not axes and a.get("noop_with_empty_axes", 0):
            return x[0]
        if _is_real(x[0]) and not (of_reals and np.all(np.isfinite(x[0]))) or not x[0].size:
            return None
        result = function(x[0], axis=axes or None, keepdims=bool(a.get("keepdims", 1)))
        return np.asarray(result).astype(x[0].dtype)

    return reduce


def _first_place(function: Callable) -> Callable:
    """ArgMax or ArgMin; None for the last of equals, and of a NaN."""

    def find(x: Arrays, a: Attributes) -> np.ndarray | None:
        axis = a.get("axis", 0)
        if a.get("select_last_index", 0) or _is_real(x[0]) and not np.all(np.isfinite(x[0])):
            return None
        place = function(x[0], axis)
        return np.asarray(np.expand_dims(place, axis) if a.get("keepdims", 1) else place, np.int64)

    return find


def _mod(x: Arrays, a: Attributes) -> np.ndarray | None:
    if not np.all(x[1]):
        return None
    return np.fmod(x[0], x[1]) if a.get("fmod", 0) else np.mod(x[0], x[1])


def _pow(x: Arrays, a: Attributes) -> np.ndarray | None:
    """Of integers; a power of reals is rounded as each runtime likes."""
    if _is_real(x[0]) or _is_real(x[1]) or np.any(x[1] < 0) or np.any(x[1] > 63):
        return None
    result = np.power(x[0].astype(np.object_), x[1].astype(np.object_))
    limit = min(EXACT, np.iinfo(x[0].dtype).max)
    return np.asarray(result, x[0].dtype) if all(abs(v) <= limit for v in result.reshape(-1)) else None


def _cumulated(x: Arrays, a: Attributes) -> np.ndarray | None:
    if _is_real(x[0]):
        return None
    axis = int(x[1].reshape(()))
    data = np.flip(x[0], axis) if a.get("reverse", 0) else x[0]
    result = np.cumsum(data, axis, dtype=data.dtype)
    result = result - data if a.get("exclusive", 0) else result
    return np.flip(result, axis) if a.get("reverse", 0) else result


def _nonzero(x: Arrays, a: Attributes) -> np.ndarray | None:
    return np.array(np.nonzero(x[0]), np.int64) if x[0].ndim else None


def _compress(x: Arrays, a: Attributes) -> np.ndarray:
    if "axis" in a:
        return np.compress(x[1], x[0], a["axis"])
    return np.compress(x[1], x[0].reshape(-1))


def _gather_nd(x: Arrays, a: Attributes) -> np.ndarray | None:
    if a.get("batch_dims", 0):
        return None
    return x[0][tuple(np.moveaxis(x[1], -1, 0))]


def _scatter_nd(x: Arrays, a: Attributes) -> np.ndarray | None:
    """None where an index comes twice, or is out of its range."""
    data, indices, updates = x
    if a.get("reduction", "none") != "none":
        return None
    depth = indices.shape[-1]
    places = tuple(np.moveaxis(indices, -1, 0))
    flat = np.ravel_multi_index([p % d for p, d in zip(places, data.shape)], data.shape[:depth])
    if np.unique(flat).size != flat.size:
        return None
    result = data.copy()
    result[places] = updates
    return result


def _scatter_elements(x: Arrays, a: Attributes) -> np.ndarray | None:
    """None where an index comes twice."""
    data, indices, updates = x
    axis = a.get("axis", 0) % data.ndim
    if a.get("reduction", "none") != "none":
        return None
    if np.any(np.diff(np.sort(indices % data.shape[axis], axis), axis=axis) == 0):
        return None
    result = data.copy()
    np.put_along_axis(result, indices, updates, axis)
    return result


def _one_hot(x: Arrays, a: Attributes) -> np.ndarray:
    indices, depth, (off, on) = x[0].astype(np.int64), int(x[1].reshape(())), x[2]
    hot = np.expand_dims(np.where(indices < 0, indices + depth, indices), a.get("axis", -1))
    shape = [1] * hot.ndim
    shape[a.get("axis", -1)] = depth
    return np.where(hot == np.arange(depth).reshape(shape), on, off).astype(x[2].dtype)


def _trilu(x: Arrays, a: Attributes) -> np.ndarray:
    k = int(x[1].reshape(())) if len(x) > 1 and x[1] is not None else 0
    return np.triu(x[0], k) if a.get("upper", 1) else np.tril(x[0], k)


def _eye_like(x: Arrays, a: Attributes) -> np.ndarray:
    dtype = DTYPES[a["dtype"]] if "dtype" in a else x[0].dtype
    return np.eye(*x[0].shape, k=a.get("k", 0), dtype=dtype)


def _pad(x: Arrays, a: Attributes) -> np.ndarray | None:
    """With a constant, outwards."""
    if a.get("mode", "constant") not in ("constant", b"constant") or len(x) < 2:
        return None
    pads = x[1].tolist()
    value = x[2].reshape(()) if len(x) > 2 and x[2] is not None else 0
    axes = x[3].tolist() if len(x) > 3 and x[3] is not None else list(range(x[0].ndim))
    if min(pads, default=0) < 0 or len(pads) != 2 * len(axes):
        return None
    widths = [(0, 0)] * x[0].ndim
    for i, axis in enumerate(axes):
        widths[axis] = pads[i], pads[i + len(axes)]
    return np.pad(x[0], widths, constant_values=value)


def _range(x: Arrays, a: Attributes) -> np.ndarray:
    start, limit, step = (v.item() for v in x)
    if not _is_real(x[0]):
        return np.arange(start, limit, step)
    steps = np.full(max(0, int(np.ceil((limit - start) / step))), step, x[0].dtype)
    steps[:1] = start
    return np.add.accumulate(steps, dtype=x[0].dtype)  # one after the other, as runtimes do


def _flatten(x: Arrays, a: Attributes) -> np.ndarray:
    axis = a.get("axis", 1)
    axis += x[0].ndim if axis < 0 else 0
    return x[0].reshape(_size(x[0].shape[:axis]), _size(x[0].shape[axis:]))


def _split(x: Arrays, a: Attributes, count: int) -> list[np.ndarray]:
    axis = a.get("axis", 0)
    d = x[0].shape[axis]
    sizes = x[1].tolist() if len(x) > 1 and x[1] is not None else a.get("split")
    if sizes is None:
        each = -(-d // count)
        sizes = [each] * (count - 1) + [d - each * (count - 1)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != d:
        raise ValueError(f"parts of the sizes {sizes} of a dimension of {d}")
    return np.split(x[0], np.cumsum(sizes)[:-1].tolist(), axis)


def _reshape(x: Arrays, a: Attributes) -> np.ndarray:
    target = x[1].tolist()
    if not a.get("allowzero", 0):
        target = [x[0].shape[i] if d == 0 else d for i, d in enumerate(target)]
    return x[0].reshape(target)


def _slice(x: Arrays, a: Attributes) -> np.ndarray:
    if len(x) > 1:
        starts, ends = x[1].tolist(), x[2].tolist()
        axes = x[3].tolist() if len(x) > 3 and x[3] is not None else list(range(len(starts)))
        steps = x[4].tolist() if len(x) > 4 and x[4] is not None else [1] * len(starts)
    else:  # before opset 10
        starts, ends = a["starts"], a["ends"]
        axes, steps = a.get("axes", list(range(len(starts)))), [1] * len(starts)
    index = [slice(None)] * x[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # An end before the beginning, which numpy would count from the back.
        index[axis] = slice(start, None if step < 0 and end < -x[0].shape[axis] else end, step)
    return x[0][tuple(index)]


def _unsqueeze(x: Arrays, a: Attributes) -> np.ndarray:
    return np.expand_dims(x[0], _axes(x, a))


_FOLDS: dict[str, Callable[[Arrays, Attributes], Any]] = {
    "Abs": lambda x, a: np.abs(x[0]),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "ArgMax": _first_place(np.argmax),
    "ArgMin": _first_place(np.argmin),
    "BitwiseAnd": _binary(np.bitwise_and),
    "BitwiseNot": lambda x, a: np.bitwise_not(x[0]),
    "BitwiseOr": _binary(np.bitwise_or),
    "BitwiseXor": _binary(np.bitwise_xor),
    "Cast": _cast,
    "Ceil": lambda x, a: np.ceil(x[0]),
    "Clip": _clip,
    "Compress": _compress,
    "Concat": lambda x, a: np.concatenate(x, axis=a["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cumulated,
    "Div": _div,
    "Equal": _binary(np.equal),
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Floor": lambda x, a: np.floor(x[0]),
    "Gather": lambda x, a: np.take(x[0], x[1], axis=a.get("axis", 0)),
    "GatherElements": lambda x, a: np.take_along_axis(x[0], x[1], a.get("axis", 0)),
    "GatherND": _gather_nd,
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Identity": lambda x, a: None if _is_real(x[0]) else x[0],  # of weights it costs nothing to leave it
    "IsInf": lambda x, a: np.isinf(x[0]) if not a else None,
    "IsNaN": lambda x, a: np.isnan(x[0]),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Max": _reduce(np.maximum),
    "Min": _reduce(np.minimum),
    "Mod": _mod,
    "Mul": _binary(np.multiply),
    "Neg": lambda x, a: -x[0],
    "NonZero": _nonzero,
    "Not": lambda x, a: np.logical_not(x[0]),
    "OneHot": _one_hot,
    "Or": _binary(np.logical_or),
    "Pad": _pad,
    "Pow": _pow,
    "QuantizeLinear": _quantize,
    "Range": _range,
    "Reciprocal": lambda x, a: np.reciprocal(x[0]) if _is_real(x[0]) else None,
    "ReduceMax": _reduction(np.max, of_reals=True),
    "ReduceMin": _reduction(np.min, of_reals=True),
    "ReduceProd": _reduction(np.prod, of_reals=False),
    "ReduceSum": _reduction(np.sum, of_reals=False),
    "Reshape": _reshape,
    "Round": lambda x, a: np.rint(x[0]),
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Sign": lambda x, a: np.sign(x[0]),
    "Slice": _slice,
    "Sqrt": lambda x, a: np.sqrt(x[0]),
    "Squeeze": lambda x, a: np.squeeze(x[0], _axes(x, a)),
    "Sub": _binary(np.subtract),
    "Sum": _reduce(np.add),
    "Tile": lambda x, a: np.tile(x[0], x[1].tolist()),
    "Transpose": lambda x, a: x[0].transpose(a.get("perm")),
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
    "Where": lambda x, a: np.where(x[0], x[1], x[2]),
    "Xor": _binary(np.logical_xor),
}
# of several results; the last argument is their number
_SEVERAL: dict[str, Callable[[Arrays, Attributes, int], list[np.ndarray]]] = {"Split": _split}
VIEWS = frozenset(
    {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
)  # cost nothing, whatever the size
# the size of the result follows from values, and is no more than that of the inputs times their rank
_BY_VALUES = frozenset({"Compress", "NonZero"})
# what lies between float weights and the DequantizeLinear of a convolution: the caller bounds what their results take together
OF_WEIGHTS = frozenset({"Clip", "QuantizeLinear", "Transpose"})
_UINT8 = 2  # TensorProto.UINT8
# Operators whose result has another type than their last input.
_TYPED = frozenset(
    [
        "And",
        "ArgMax",
        "ArgMin",
        "Cast",
        "Clip",
        "Compress",
        "ConstantOfShape",
        "CumSum",
        "Equal",
        "Expand",
        "EyeLike",
        "Gather",
        "GatherElements",
        "GatherND",
        "Greater",
        "GreaterOrEqual",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "NonZero",
        "Not",
        "Or",
        "OneHot",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ScatterElements",
        "ScatterND",
        "Slice",
        "Split",
        "Tile",
        "Trilu",
        "Where",
        "Xor",
    ]
)
