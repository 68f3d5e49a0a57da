"""From an instruction to the kernel that does it: the simulator's half of the instruction table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from furiosa.runtime.simulator.kernels import (
    conv,
    depthwise,
    elementwise,
    layer_norm,
    matmul,
    moments,
    move,
    normalize,
    pool,
    quantize,
    reduce,
    resize,
    softmax,
    table,
)

Views = list[np.ndarray]
Arguments = dict[str, int | float]

_LAYOUT_ONLY = ("split_pixels", "split_channels")  # how the work lies on slices: time, not values


def _values(arguments: Arguments) -> Arguments:
    return {k: v for k, v in arguments.items() if k not in _LAYOUT_ONLY}


def _plain(kernel: Callable[..., None]) -> Callable[[Views, Arguments], Callable[[], None]]:
    """A kernel that takes the operands in the table's order and the parameters by name."""
    return lambda views, arguments: partial(kernel, *views, **_values(arguments))


KERNELS: dict[str, Callable[[Views, Arguments], Callable[[], None]]] = {
    "LOAD": _plain(move.copy),
    "STORE": _plain(move.copy),
    "COPY": _plain(move.copy),
    "FILL": _plain(move.fill),
    "CONV2D": _plain(conv.conv2d),
    "DEPTHWISE_CONV2D": _plain(depthwise.depthwise_conv2d),
    "MAX_POOL2D": _plain(pool.max_pool2d),
    "AVERAGE_POOL2D": _plain(pool.average_pool2d),
    "MATMUL": _plain(matmul.matmul),
    "REDUCE": _plain(reduce.reduce),
    "SUM": _plain(reduce.sum_of_tensors),
    "RESIZE": _plain(resize.resize),
    "ADD": _plain(elementwise.add),
    "MUL": _plain(elementwise.mul),
    "DIV": _plain(elementwise.div),
    "MAXIMUM": _plain(elementwise.maximum),
    "MINIMUM": _plain(elementwise.minimum),
    "TABLE_LOOKUP": _plain(table.table_lookup),
    "SOFTMAX": _plain(softmax.softmax),
    "L2_NORMALIZE": _plain(normalize.l2_normalize),
    "LAYER_NORM": _plain(layer_norm.layer_norm),
    "VARIANCE": _plain(moments.variance),
    "STANDARDIZE": _plain(moments.standardize),
    "QUANTIZE": _plain(quantize.quantize),
    "DEQUANTIZE": _plain(quantize.dequantize),
}
