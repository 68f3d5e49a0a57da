"""Operators that onnxruntime has integer kernels for, where something keeps it from using them: the float operators' arithmetic, exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.properties.qdq import Net, Refused, check, inputs_of, reference

SHAPE = (1, 4, 6, 6)
KINDS: dict[str, Callable[[Net, str, str], str]] = {
    "Add": lambda net, a, b: net.node("Add", a, b),
    "Mul": lambda net, a, b: net.node("Mul", a, b),
    "Sub": lambda net, a, b: net.node("Sub", a, b),
    "AveragePool": lambda net, a, b: net.node("AveragePool", a, kernel_shape=[2, 3], pads=[0, 1, 1, 0]),
    "MaxPool": lambda net, a, b: net.node("MaxPool", a, kernel_shape=[2, 2]),
    "Concat": lambda net, a, b: net.node("Concat", a, b, axis=1),
    "LeakyRelu": lambda net, a, b: net.node("LeakyRelu", a, alpha=0.3),
}
# scales of the operands and of the result: any, and such that results lie in the middle between two integers
SCALES = [(0.037, 0.0213, 0.051), (0.05, 0.05, 0.1), (0.3, 0.1, 0.2), (0.05, 0.1, 0.025)]
# In which order onnxruntime sums a window of real numbers depends on the channels and the processor: with these it does not matter.
EXACT = [(0.25, 0.25, 0.5), (0.125, 0.125, 0.0625)]
FUSED = ("implied Clip", "Reshape")


def _twins(net: Net, x: str, scale: float, dtype: str, zero: int) -> None:
    """Two equal pairs, whose readers are in the model."""
    for kind in ("Relu", "Neg"):
        net.output(net.pair(net.node(kind, net.pair(x, scale, zero, dtype)), scale, zero, dtype))


CONTEXTS: dict[str, Callable[[Net, str, float, str, int], object]] = {
    "twins": _twins,
    "one element": lambda net, x, s, dtype, z: net.output(net.pair(x, [s], z, dtype)),
    "Relu": lambda net, x, s, dtype, z: net.output(net.pair(net.node("Relu", x), s, z, dtype)),
    "Clip": lambda net, x, s, dtype, z: net.output(
        net.pair(net.node("Clip", x, net.constant(-0.31), net.constant(0.77)), s, z, dtype)
    ),
    "implied Clip and one element": lambda net, x, s, dtype, z: net.output(
        net.pair(net.node("Clip", x, net.constant(-999), net.constant(999)), [s], z, dtype)
    ),
    "implied Clip": lambda net, x, s, dtype, z: net.output(
        net.pair(net.node("Clip", x, net.constant(-999), net.constant(999)), s, z, dtype)
    ),
    "other type": lambda net, x, s, dtype, z: net.output(
        net.pair(x, s, 5, "uint8" if dtype == "int8" else "int8")
    ),
    "Flatten": lambda net, x, s, dtype, z: net.output(net.pair(net.node("Flatten", x), s, z, dtype)),
    "Reshape": lambda net, x, s, dtype, z: net.output(
        net.pair(net.node("Reshape", x, net.integers(-1)), s, z, dtype)
    ),
}


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("kind", KINDS)
def test_arithmetic(kind: str, context: str, dtype: str) -> None:
    zero = 3 if dtype == "int8" else 131
    for a, b, y in EXACT if kind == "AveragePool" and context not in FUSED else SCALES:
        net = Net(17)
        first = net.pair(net.input(SHAPE), a, zero - 1, dtype)
        second = net.pair(net.input(SHAPE), b, zero + 2, dtype)
        CONTEXTS[context](net, KINDS[kind](net, first, second), y, dtype, zero)
        if context == "one element" and kind == "AveragePool":  # there is nothing to compare with
            with pytest.raises(Refused):
                reference(net.model(), inputs_of(net.model(), 0))
            continue
        check(net, ["Neg"] if context == "twins" else [])


@pytest.mark.parametrize("shape", [[], [1]])
@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_scales_of_one_element_of_an_operand(kind: str, shape: list[int]) -> None:
    for a, b, y in SCALES:
        net = Net(17)
        first = net.pair(net.input(SHAPE), np.full(shape, a), 2)
        second = net.pair(net.input(SHAPE), b, -5)
        net.output(net.pair(net.node(kind, first, second), y, 3))
        check(net)
