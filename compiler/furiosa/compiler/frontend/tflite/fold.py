"""Folds what converted models compute from static shapes (SHAPE, STRIDED_SLICE, PACK … RESHAPE): exact, and small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from furiosa.compiler.dfg.graph import Operator

MAX_ELEMENTS = 1 << 10  # of an input or a result: shapes are short


def fold(op: Operator) -> np.ndarray | None:
    """The result of an operator of one output on integer constants (or on a static shape), else None.

    An operator that is invalid on its inputs is not folded: the reference runtime will say so.
    """
    if len(op.outputs) != 1 or op.outputs[0].dtype not in ("int32", "int64"):
        return None
    if op.op_type in ("SHAPE", "RANK") and op.inputs and op.inputs[0] is not None:
        shape = op.inputs[0].shape
        value: Any = shape if op.op_type == "SHAPE" else len(shape)
    elif op.op_type in _FOLDS and op.inputs:
        if op.attributes.get("fused_activation_function", "NONE") != "NONE":
            return None
        arrays = []
        for t in op.inputs:
            if t is None or not t.is_constant or t.dtype not in ("int32", "int64") or t.size > MAX_ELEMENTS:
                return None
            arrays.append(t.data)
        try:
            with np.errstate(all="ignore"):
                value = _FOLDS[op.op_type](arrays, op.attributes)
        except (ValueError, TypeError, IndexError):
            return None
    else:
        return None
    result = np.array(value, op.outputs[0].dtype)
    result.flags.writeable = False
    return result


def _strided_slice(x: list[np.ndarray], a: dict[str, Any]) -> np.ndarray:
    data, begin, end, strides = x
    if a["ellipsis_mask"] or a["new_axis_mask"] or a["offset"]:
        raise ValueError("an ellipsis, a new axis or an offset")
    index: list[Any] = []
    for i, (b, e, s) in enumerate(zip(begin.tolist(), end.tolist(), strides.tolist(), strict=True)):
        bit = 1 << i
        if a["shrink_axis_mask"] & bit:
            index.append(b)
        else:
            index.append(slice(None if a["begin_mask"] & bit else b, None if a["end_mask"] & bit else e, s))
    return data[tuple(index)]


def _slice(x: list[np.ndarray], a: dict[str, Any]) -> np.ndarray:
    data, begin, size = x
    return data[tuple(slice(b, None if n < 0 else b + n) for b, n in zip(begin.tolist(), size.tolist()))]


def _squeeze(x: list[np.ndarray], a: dict[str, Any]) -> np.ndarray:
    return np.squeeze(x[0], tuple(a["squeeze_dims"]) or None)


def _reduce_prod(x: list[np.ndarray], a: dict[str, Any]) -> np.ndarray:
    return np.prod(x[0], axis=tuple(x[1].reshape(-1).tolist()), keepdims=a["keep_dims"], dtype=x[0].dtype)


_FOLDS: dict[str, Callable[[list[np.ndarray], dict[str, Any]], Any]] = {
    "ADD": lambda x, a: x[0] + x[1],
    "CAST": lambda x, a: x[0],
    "CONCATENATION": lambda x, a: np.concatenate(x, axis=a["axis"]),
    "EXPAND_DIMS": lambda x, a: np.expand_dims(x[0], int(x[1].reshape(()))),
    "GATHER": lambda x, a: np.take(x[0], x[1], axis=a["axis"]),
    "MAXIMUM": lambda x, a: np.maximum(x[0], x[1]),
    "MINIMUM": lambda x, a: np.minimum(x[0], x[1]),
    "MUL": lambda x, a: x[0] * x[1],
    "PACK": lambda x, a: np.stack(x, axis=a["axis"]),
    "REDUCE_PROD": _reduce_prod,
    "SLICE": _slice,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": lambda x, a: x[0] - x[1],
}
