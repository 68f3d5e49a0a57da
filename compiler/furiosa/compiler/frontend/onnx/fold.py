"""Folds the arithmetic that exported models do on shapes, reshapes of constants, and what quantises weights.

Only operators that are exact (integers, IEEE basic arithmetic, moves), so that folding cannot differ from running;
what a constant costs to compute and to store is bounded before it is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.frontend.onnx.constants import DTYPES, is_numpy

MAX_ELEMENTS = 1 << 16  # of a result that is not a view of its input, except of weights (``OF_WEIGHTS``)

Arrays = list[Any]  # np.ndarray, or None for an omitted input
Attributes = dict[str, Any]


def fold(
    op_type: str, inputs: list[Tensor | None], shape: tuple[int, ...] | None, attributes: Attributes
) -> Any:
    """The result of an operator on constants as a read-only array, or None if it is not folded.

    Args:
        shape: the inferred shape of the result, where known.

    Raises:
        ValueError, TypeError, IndexError, ArithmeticError: the operator is invalid on these inputs.
    """
    if op_type not in _FOLDS or not inputs or not all(t is None or is_numpy(t.dtype) for t in inputs):
        return None
    if op_type == "Cast" and not is_numpy(DTYPES.get(attributes["to"], "string")):
        return None
    if op_type not in (*_VIEWS, *OF_WEIGHTS) and (shape is None or _size(shape) > MAX_ELEMENTS):
        return None
    arrays: Arrays = [None if t is None else t.data for t in inputs]
    with np.errstate(all="ignore"):
        result = _FOLDS[op_type](arrays, attributes)
    if result is None:
        return None
    result = np.asarray(result)
    if op_type not in _VIEWS and op_type not in _TYPED:
        result = result.astype(arrays[-1].dtype, copy=False)
    if op_type not in _VIEWS:
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


def _cast(x: Arrays, a: Attributes) -> np.ndarray:
    if not np.all(np.isfinite(x[0])):
        raise ValueError("a cast of a value that is not finite")
    return x[0].astype(DTYPES[a["to"]])


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


def _reduce_prod(x: Arrays, a: Attributes) -> np.ndarray:
    axes = _axes(x, a)
    if not axes and a.get("noop_with_empty_axes", 0):
        return x[0]
    return np.prod(x[0], axis=axes or None, keepdims=bool(a.get("keepdims", 1)), dtype=x[0].dtype)


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
    "Cast": _cast,
    "Ceil": lambda x, a: np.ceil(x[0]),
    "Clip": _clip,
    "Concat": lambda x, a: np.concatenate(x, axis=a["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "Div": _div,
    "Equal": _binary(np.equal),
    "Expand": _expand,
    "Floor": lambda x, a: np.floor(x[0]),
    "Gather": lambda x, a: np.take(x[0], x[1], axis=a.get("axis", 0)),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Max": _reduce(np.maximum),
    "Min": _reduce(np.minimum),
    "Mul": _binary(np.multiply),
    "Neg": lambda x, a: -x[0],
    "Not": lambda x, a: np.logical_not(x[0]),
    "Or": _binary(np.logical_or),
    "QuantizeLinear": _quantize,
    "Range": lambda x, a: np.arange(x[0].item(), x[1].item(), x[2].item()),
    "ReduceProd": _reduce_prod,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": lambda x, a: np.squeeze(x[0], _axes(x, a)),
    "Sub": _binary(np.subtract),
    "Tile": lambda x, a: np.tile(x[0], x[1].tolist()),
    "Transpose": lambda x, a: x[0].transpose(a.get("perm")),
    "Unsqueeze": _unsqueeze,
    "Where": lambda x, a: np.where(x[0], x[1], x[2]),
}
_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze"})  # cost nothing, whatever the size
# what lies between float weights and the DequantizeLinear of a convolution: the caller bounds what their results take together
OF_WEIGHTS = frozenset({"Clip", "QuantizeLinear", "Transpose"})
_UINT8 = 2  # TensorProto.UINT8
# Operators whose result has another type than their last input.
_TYPED = frozenset(
    [
        "And",
        "Cast",
        "Clip",
        "ConstantOfShape",
        "Equal",
        "Expand",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Not",
        "Or",
        "QuantizeLinear",
        "ReduceProd",
        "Slice",
        "Tile",
        "Where",
    ]
)
