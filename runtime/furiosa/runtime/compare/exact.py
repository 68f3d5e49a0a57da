"""The real numbers that a part of an ONNX model stands for: computed in float64 by the reference implementation of the onnx package."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from furiosa.runtime.compare import qoperators

# How far beyond half a step a result may be from the real number and still count as rounded to the nearest integer.  Commands multiply,
# add and round in float32, as onnxruntime does: 24 bits for numbers of 8, so each operation is off by 2^-16 steps at most; a unit has
# a handful of them.
SLACK = 2.0**-12
# How far float32 (or float16) sums may be from the real number and still be its approximation: in roundings of the largest number of the tensor.
_ROUNDINGS = 2.0**13
_TIE = 1e-9  # LSB from the middle between two integers; nearer than this a real number is a tie, which rounds to even
_DOMAIN = "furiosa.compare"
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


class Scale(NamedTuple):
    """Of an integer tensor: its least and greatest value, and its zero point, which broadcasts to it."""

    low: int
    high: int
    zero_point: np.ndarray


class Real(NamedTuple):
    """``values`` float64: the real numbers or, with a ``scale``, how many of its steps they are above or below 0."""

    values: np.ndarray
    scale: Scale | None

    def nearest(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Where ``ours`` is right by the real numbers.

        An integer is, where the real number rounds to it or is within ``SLACK`` of doing so.  A tie rounds to even, unless ``theirs``
        rounds some of the tensor's ties to odd: then its arithmetic does not see that they are ties.  A float is right where it is no
        further from the real number than ``theirs`` is anywhere in the tensor, or two roundings of the largest number in it.
        """
        if self.scale is None:
            with np.errstate(invalid="ignore"):
                error = np.abs(theirs - self.values)
                rounding = np.finfo(theirs.dtype).eps * np.max(
                    np.abs(self.values), where=np.isfinite(self.values), initial=0.0
                )
                allowed = np.max(error, where=np.isfinite(error), initial=rounding)
                return np.abs(ours - self.values) <= allowed
        zero_point, values = self.scale.zero_point, self._clipped()
        ours, theirs = ours.astype(np.float64) - zero_point, theirs.astype(np.float64) - zero_point
        is_near = np.abs(ours - values) <= 0.5 + SLACK
        is_tie = np.abs(np.abs(values - np.trunc(values)) - 0.5) < _TIE
        if np.any(theirs[is_tie] % 2):
            return is_near
        return is_near & (~is_tie | (ours % 2 == 0))

    def fits(self, plain: np.ndarray) -> np.ndarray:
        """Where these real numbers are those of which ``plain``, what the reference makes without its optimiser, is an approximation.

        Elsewhere the two do not agree what the layer is, and nothing is right by the real numbers.  An integer fits within one step of them;
        floats fit, all or none, where none is further off than sums in their type are.
        """
        if self.scale is None:
            with np.errstate(invalid="ignore"):
                error = np.abs(plain - self.values)
                largest = np.max(np.abs(self.values), where=np.isfinite(self.values), initial=0.0)
                allowed = _ROUNDINGS * np.finfo(plain.dtype).eps * largest
                return np.full(plain.shape, np.max(error, where=np.isfinite(error), initial=0.0) <= allowed)
        return np.abs(plain.astype(np.float64) - self.scale.zero_point - self._clipped()) <= 1

    def _clipped(self) -> np.ndarray:
        low, high, zero_point = self.scale
        return np.clip(self.values, low - zero_point, high - zero_point)

    def rounded(self, dtype: np.dtype) -> np.ndarray:
        """The results that are right by these numbers."""
        if self.scale is None:
            return self.values.astype(dtype)
        low, high, zero_point = self.scale
        return np.clip(np.rint(self.values) + zero_point, low, high).astype(dtype)


class Exact:
    """A part of an ONNX model with one output, in float64; a QuantizeLinear that makes the output is left unrounded.

    Raises:
        NotImplementedError: an operator has no implementation in float64.
    """

    def __init__(self, model: bytes):
        proto = onnx.ModelProto.FromString(model)
        graph = proto.graph
        nodes = qoperators.expanded(graph.node)
        del graph.node[:]
        graph.node.extend(nodes)
        self.scale: Scale | None = None  # of ``Real``
        (last,) = (n for n in graph.node if graph.output[0].name in n.output)
        if last.op_type == "QuantizeLinear":
            last.domain, last.op_type = _DOMAIN, "Levels"
            proto.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
            info = np.iinfo(onnx.helper.tensor_dtype_to_np_dtype(graph.output[0].type.tensor_type.elem_type))
            self.scale = Scale(int(info.min), int(info.max), _zero_point(last, graph))
        for t in graph.initializer:
            if t.data_type in _FLOATS:
                array = onnx.numpy_helper.to_array(t).astype(np.float64)
                t.CopyFrom(onnx.numpy_helper.from_array(array, t.name))
        self._names = [i.name for i in graph.input]
        try:
            self._evaluator = ReferenceEvaluator(proto, new_ops=_OPERATORS)
        except Exception as e:  # onnx's errors have no common base
            raise NotImplementedError(str(e)) from e

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """``Real.values``, the only one, for inputs of one sample.

        Raises:
            NotImplementedError: as the constructor.
        """
        feed = {n: _wide(a) for n, a in zip(self._names, inputs, strict=True)}
        try:
            with np.errstate(all="ignore"):
                (values,) = self._evaluator.run(None, feed)
        except Exception as e:  # onnx's errors have no common base
            raise NotImplementedError(str(e)) from e
        if values.dtype != np.float64:
            raise NotImplementedError(f"the output is of type {values.dtype}")
        return [values]


def _wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float64) if a.dtype.kind == "f" else a


def _zero_point(quantize: onnx.NodeProto, graph: onnx.GraphProto) -> np.ndarray:
    """The zero point of a QuantizeLinear that makes the graph's output, as it broadcasts to that."""
    name = quantize.input[2] if len(quantize.input) > 2 else ""
    if not name:
        return np.zeros(())
    constant = next((t for t in graph.initializer if t.name == name), None)
    if constant is None:
        raise NotImplementedError("a zero point that is computed")
    shape = tuple(d.dim_value for d in graph.output[0].type.tensor_type.shape.dim)
    stated = {a.name: a.i for a in quantize.attribute}
    return _along(onnx.numpy_helper.to_array(constant), shape, stated.get("axis"), stated.get("block_size"))


def _along(
    values: np.ndarray, shape: tuple[int, ...], axis: int | None, block_size: int | None
) -> np.ndarray:
    """Scales or zero points, float64, as they broadcast to a tensor of ``shape``."""
    values = values.astype(np.float64)
    if values.size == 1:
        return values.reshape(())
    axis = 1 if axis is None else axis % len(shape)
    if block_size:
        return np.repeat(values, block_size, axis).take(range(shape[axis]), axis)
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])


# -- operators that the onnx package rounds to float32, or computes slowly -------------------------------------------------


class DequantizeLinear(OpRun):
    op_domain = ""

    def _run(self, x, scale, zero_point=None, axis=None, block_size=None, output_dtype=None):
        zero = 0 if zero_point is None else _along(zero_point, x.shape, axis, block_size)
        return ((x.astype(np.float64) - zero) * _along(scale, x.shape, axis, block_size),)


class Levels(OpRun):
    """QuantizeLinear that neither rounds nor saturates, nor adds the zero point."""

    op_domain = _DOMAIN

    def _run(
        self,
        x,
        scale,
        zero_point=None,
        axis=None,
        block_size=None,
        output_dtype=None,
        precision=None,
        saturate=None,
    ):
        return (x / _along(scale, x.shape, axis, block_size),)


class QuantizeLinear(OpRun):
    """One inside of the part; a number near the middle between two integers leaves open what follows."""

    op_domain = ""

    def _run(
        self,
        x,
        scale,
        zero_point=None,
        axis=None,
        block_size=None,
        output_dtype=None,
        precision=None,
        saturate=None,
    ):
        if zero_point is None or zero_point.dtype.kind not in "iu":
            raise NotImplementedError("a QuantizeLinear without an integer zero point")
        steps = x / _along(scale, x.shape, axis, block_size)
        if np.any(np.abs(np.abs(steps - np.trunc(steps)) - 0.5) < SLACK):
            raise NotImplementedError("a QuantizeLinear inside, which may round up or down")
        info = np.iinfo(zero_point.dtype)
        whole = np.rint(steps) + _along(zero_point, x.shape, axis, block_size)
        return (np.clip(whole, info.min, info.max).astype(zero_point.dtype),)


class Cast(OpRun):
    op_domain = ""

    def _run(self, x, to=None, saturate=None, round_mode=None):
        if to == onnx.TensorProto.FLOAT:
            return (x.astype(np.float64),)
        if not np.can_cast(x.dtype, to_type := onnx.helper.tensor_dtype_to_np_dtype(to), "same_kind"):
            raise NotImplementedError(f"Cast of {x.dtype} to {to_type}")
        return (x.astype(to_type),)


class AveragePool(OpRun):
    op_domain = ""

    def _run(
        self,
        x,
        auto_pad=None,
        ceil_mode=None,
        count_include_pad=None,
        dilations=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        rank = len(kernel_shape)
        if ceil_mode or auto_pad not in (None, "NOTSET") or any(d != 1 for d in dilations or ()):
            raise NotImplementedError("AveragePool with ceil_mode, auto_pad or dilations")
        pads, strides = pads or [0] * 2 * rank, strides or [1] * rank
        around = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
        ones = np.ones((1, 1, *x.shape[2:]))
        counted = np.pad(ones, around, constant_values=float(bool(count_include_pad)))
        axes, steps = (
            tuple(range(2, 2 + rank)),
            (slice(None), slice(None), *(slice(None, None, s) for s in strides)),
        )
        sums = [
            sliding_window_view(a, kernel_shape, axes)[steps].sum(tuple(range(-rank, 0)))
            for a in (np.pad(x, around), counted)
        ]
        return (sums[0] / sums[1],)


class Conv(OpRun):
    op_domain = ""

    def _run(
        self,
        x,
        w,
        b=None,
        auto_pad=None,
        dilations=None,
        group=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        if auto_pad not in (None, "NOTSET"):
            raise NotImplementedError("Conv with auto_pad")
        kernel, rank, group = w.shape[2:], x.ndim - 2, group or 1
        strides, dilations, pads = strides or [1] * rank, dilations or [1] * rank, pads or [0] * 2 * rank
        x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        size = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, strides, strict=True)]
        parts = x.reshape(x.shape[0], group, -1, *x.shape[2:])
        weights = w.reshape(group, -1, *w.shape[1:])
        out = np.zeros((x.shape[0], group, weights.shape[1], *size))
        for at in itertools.product(*map(range, kernel)):
            where = _strided([k * d for k, d in zip(at, dilations, strict=True)], size, strides)
            out += np.einsum("ngc...,gmc->ngm...", parts[(..., *where)], weights[(..., *at)], optimize=True)
        out = out.reshape(x.shape[0], -1, *size)
        return (out if b is None else out + b.reshape(-1, *[1] * rank),)


class ConvTranspose(OpRun):
    op_domain = ""

    def _run(
        self,
        x,
        w,
        b=None,
        auto_pad=None,
        dilations=None,
        group=None,
        kernel_shape=None,
        output_padding=None,
        output_shape=None,
        pads=None,
        strides=None,
    ):
        if auto_pad not in (None, "NOTSET") or output_shape:
            raise NotImplementedError("ConvTranspose with auto_pad or output_shape")
        size, kernel, rank, group = x.shape[2:], w.shape[2:], x.ndim - 2, group or 1
        strides, dilations, pads = strides or [1] * rank, dilations or [1] * rank, pads or [0] * 2 * rank
        parts = x.reshape(x.shape[0], group, -1, *size)
        weights = w.reshape(group, -1, *w.shape[1:])
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        whole = [(n - 1) * s + r for n, s, r in zip(size, strides, reach, strict=True)]
        whole = [n + more for n, more in zip(whole, output_padding or [0] * rank, strict=True)]
        out = np.zeros((x.shape[0], group, w.shape[1], *whole))
        for at in itertools.product(*map(range, kernel)):
            where = _strided([k * d for k, d in zip(at, dilations, strict=True)], size, strides)
            out[(..., *where)] += np.einsum("ngc...,gcm->ngm...", parts, weights[(..., *at)], optimize=True)
        out = out.reshape(x.shape[0], -1, *whole)
        out = out[(..., *(slice(p, n - q) for p, q, n in zip(pads[:rank], pads[rank:], whole, strict=True)))]
        return (out if b is None else out + b.reshape(-1, *[1] * rank),)


def _strided(start: Sequence[int], count: Sequence[int], step: Sequence[int]) -> list[slice]:
    """``count`` places of each dimension from ``start`` on."""
    return [slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(start, count, step, strict=True)]


_OPERATORS = [DequantizeLinear, QuantizeLinear, Levels, Cast, AveragePool, Conv, ConvTranspose]
