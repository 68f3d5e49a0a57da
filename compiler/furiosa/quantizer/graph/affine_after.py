"""What scales and shifts the channels of a Conv, ConvTranspose or Gemm, put into its weights and its bias.

BatchNormalization; and Add, Sub, Mul and Div by a constant of one value or one a channel, as which some exporters write biases.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.quantizer.graph.constants import set_input


class _Affine(NamedTuple):
    """``y = factor * x + shift``, float64 [] or [channels] each."""

    factor: np.ndarray
    shift: np.ndarray


def fold_affine(graph: Graph) -> None:
    """Folds where nothing else reads what lies between, in float64, rounded once."""
    readers: dict[Tensor, int] = {}
    for op in graph.operators:
        for t in op.inputs:
            if t is not None:
                readers[t] = readers.get(t, 0) + 1
    results = set(graph.outputs)
    producer: dict[Tensor, Operator] = {}
    kept: list[Operator] = []
    for op in graph.operators:
        source = next((t for t in op.inputs if t in producer), None)
        if (
            source is not None
            and readers[source] == 1
            and source not in results
            and _fold(producer[source], op, source)
        ):
            producer[source].outputs[0] = op.outputs[0]
            producer[op.outputs[0]] = producer.pop(source)
            continue
        kept.append(op)
        if _channel_axis(op) is not None:
            producer[op.outputs[0]] = op
    graph.operators = kept


def _fold(op: Operator, after: Operator, between: Tensor) -> bool:
    """Whether ``after`` is an affine function of ``between``, which ``op`` makes, and is now part of its constants."""
    axis = _channel_axis(op)
    weight = op.inputs[1]
    channels = weight.shape[axis]
    bias = op.inputs[2] if len(op.inputs) > 2 else None
    found = _affine(after, between, channels)
    if found is None or (bias is not None and bias.shape not in ((channels,), (1, channels), (1,), ())):
        return False
    before = np.zeros(1) if bias is None else bias.data.astype(np.float64).reshape(-1)
    along = [-1 if i == axis else 1 for i in range(len(weight.shape))]
    factor = np.broadcast_to(found.factor, (channels,))
    scaled = weight.data.astype(np.float64) * factor.reshape(along)
    shifted = np.broadcast_to(before * found.factor + found.shift, (channels,))
    if not (_fits(scaled) and _fits(shifted)):
        return False
    set_input(op, 1, scaled)
    set_input(op, 2, shifted)
    return True


def _fits(values: np.ndarray) -> bool:
    return bool(np.all(np.abs(values) <= np.finfo(np.float32).max))  # false for NaN


def _channel_axis(op: Operator) -> int | None:
    """The axis of the weights that belongs to the channels of the result; None where the weights are no such constants."""
    if op.attributes.get("domain") or op.bodies is not None:
        return None
    constants = [t for t in op.inputs[1:] if t is not None]
    if not constants or not all(t.is_constant and t.dtype == "float32" for t in constants):
        return None
    match op.op_type:
        case "Conv":
            return 0
        case "ConvTranspose" if op.attributes.get("group", 1) == 1:
            return 1
        case "Gemm" if op.attributes.get("alpha", 1.0) == op.attributes.get("beta", 1.0) == 1.0:
            return 0 if op.attributes.get("transB", 0) else 1
    return None


def _affine(op: Operator, x: Tensor, channels: int) -> _Affine | None:
    """What an operator does to the channels of ``x``, which lie along axis 1."""
    if op.attributes.get("domain") or op.outputs[0].shape != x.shape:
        return None
    if op.op_type == "BatchNormalization":
        return _normalization(op, x, channels)
    if op.op_type not in ("Add", "Sub", "Mul", "Div") or len(op.inputs) != 2:
        return None
    (place,) = [i for i in (0, 1) if op.inputs[i] is x] if op.inputs.count(x) == 1 else [None]
    constant = None if place is None else _per_channel(op.inputs[1 - place], x, channels)
    if constant is None:
        return None
    one, zero = np.ones(()), np.zeros(())
    match op.op_type, place:
        case "Add", _:
            return _Affine(one, constant)
        case "Sub", 0:
            return _Affine(one, -constant)
        case "Sub", 1:
            return _Affine(-one, constant)
        case "Mul", _:
            return _Affine(constant, zero)
        case "Div", 0 if np.all(constant != 0):
            return _Affine(1 / constant, zero)
    return None


def _normalization(op: Operator, x: Tensor, channels: int) -> _Affine | None:
    parameters = op.inputs[1:]
    if op.inputs[0] is not x or op.attributes.get("training_mode") or any(t.name for t in op.outputs[1:]):
        return None
    if (
        any(t is None or not t.is_constant or t.shape != (channels,) for t in parameters)
        or len(parameters) != 4
    ):
        return None
    scale, shift, mean, variance = (t.data.astype(np.float64) for t in parameters)
    spread = variance + op.attributes.get("epsilon", 1e-5)
    if not np.all(spread > 0):
        return None
    factor = scale / np.sqrt(spread)
    return _Affine(factor, shift - mean * factor)


def _per_channel(t: Tensor | None, x: Tensor, channels: int) -> np.ndarray | None:
    """A constant as float64 [] or [channels]; None where it has other values along other axes than 1."""
    if t is None or not t.is_constant or t.dtype != "float32" or len(t.shape) > len(x.shape):
        return None
    if t.size == 1:
        return t.data.astype(np.float64).reshape(())
    wanted = tuple(channels if i == 1 else 1 for i in range(len(x.shape)))
    shape = (1,) * (len(x.shape) - len(t.shape)) + t.shape
    return t.data.astype(np.float64).reshape(-1) if shape == wanted else None
