"""A command as two that may run at the same time: each makes one half of the output, and together they make the same bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Views = list[np.ndarray]
Arguments = dict[str, int | float]
Part = tuple[Views, Arguments]

LONG = 8  # a dimension of so many places is cut into halves that are nearly equal


def halves(name: str, views: Views, arguments: Arguments) -> list[Part]:
    """The parts of a command over ``views``, its operands: two, or the whole where it is not cut."""
    cut = _CUTS.get(name)
    return (cut and cut(views, arguments)) or [(views, arguments)]


def _spans(size: int) -> tuple[slice, slice]:
    return slice(0, size // 2), slice(size // 2, size)


def _along(views: Views, arguments: Arguments, axis: int, cut: tuple[bool, ...]) -> list[Part]:
    """The operands that ``cut`` marks, cut along an axis."""
    return [
        ([v[(slice(None),) * axis + (span,)] if c else v for v, c in zip(views, cut)], arguments)
        for span in _spans(views[-1].shape[axis])
    ]


def _elementwise(views: Views, arguments: Arguments) -> list[Part]:
    """Along the first dimension that is long enough, or else the longest."""
    shape = views[-1].shape
    axis = max(range(len(shape)), key=lambda i: (min(shape[i], LONG), -i))
    return _along(views, arguments, axis, (True,) * len(views)) if shape[axis] > 1 else []


def _lookup(views: Views, arguments: Arguments) -> list[Part]:
    """Along a dimension of the rows, each of which needs all the tables."""
    rows = views[-1].shape[:-1]
    axis = max(range(len(rows)), key=lambda i: (min(rows[i], LONG), -i))
    return _along(views, arguments, axis, (True, False, True)) if rows[axis] > 1 else []


def _window(views: Views, arguments: Arguments) -> list[Part]:
    """Along the rows of the output; the second half starts further down in the input, or less far above it."""
    out = views[-1]
    if out.shape[1] < 2:
        return []
    parts = []
    for span in _spans(out.shape[1]):
        first = span.start * int(arguments["stride_h"]) - int(arguments["pad_top"])
        image = views[0][:, max(first, 0) :]
        parts.append(([image, *views[1:-1], out[:, span]], {**arguments, "pad_top": max(-first, 0)}))
    return parts


def _conv(views: Views, arguments: Arguments) -> list[Part]:
    """Along the rows, or along the output channels where the weights are larger than the image."""
    image, weight, *_, out = views
    if arguments["groups"] == 1 and (weight.size > image.size or out.shape[1] < 2):
        by_axis = [
            ([image, *(v[span] for v in views[1:-1]), out[..., span]], arguments)
            for span in _spans(out.shape[3])
        ]
        return by_axis if out.shape[3] > 1 else []
    return _window(views, arguments)


def _reduce(views: Views, arguments: Arguments) -> list[Part]:
    """Along a dimension that stays."""
    shape = views[-1].shape
    axis = max(range(len(shape)), key=lambda i: (min(shape[i], LONG), -i))
    return _along(views, arguments, axis, (True, True)) if shape[axis] > 1 else []


def _matmul(views: Views, arguments: Arguments) -> list[Part]:
    """Along the rows of the product, or along its columns where these are more."""
    a, b, bias, scale, out = views
    if max(out.shape[2:]) < 2:
        return []
    if out.shape[2] >= out.shape[3]:
        return _along(views, arguments, 2, (True, False, True, False, True))
    return [
        ([a, b[..., span], bias[..., span], scale[span], out[..., span]], arguments)
        for span in _spans(out.shape[3])
    ]


def _resize(views: Views, arguments: Arguments) -> list[Part]:
    """Along the rows of the output and of their tables."""
    image, rows, row_weights, *columns, out = views
    if out.shape[1] < 2:
        return []
    return [
        ([image, rows[:, span], row_weights[:, span], *columns, out[:, span]], arguments)
        for span in _spans(out.shape[1])
    ]


_CUTS: dict[str, Callable[[Views, Arguments], list[Part]]] = {
    "ADD": _elementwise,
    "AVERAGE_POOL2D": _window,
    "CONV2D": _conv,
    "COPY": _elementwise,
    "DEPTHWISE_CONV2D": _window,
    "DEQUANTIZE": _elementwise,
    "MATMUL": _matmul,
    "MAXIMUM": _elementwise,
    "MAX_POOL2D": _window,
    "MINIMUM": _elementwise,
    "MUL": _elementwise,
    "QUANTIZE": _elementwise,
    "REDUCE": _reduce,
    "RESIZE": _resize,
    "TABLE_LOOKUP": _lookup,
}
