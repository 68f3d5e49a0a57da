"""What is left to the host gives onnxruntime's numbers of the whole model, wherever the NPU's part begins and ends.

onnxruntime computes DequantizeLinear, an operator and QuantizeLinear as one, or an operator alone otherwise: MatMul of dequantised
tensors is a sum of integers, of real numbers and dequantised weights it quantises the former on its own.  So a cut at the wrong
place changes the numbers.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.properties.qdq import Net, check

SCALE = 0.05


def _on_npu(net: Net, x: str, scale: float = SCALE) -> str:
    """A convolution [1, 8, H, W] to itself that the NPU does."""
    return net.pair(net.node("Conv", x, net.weights((8, 8, 3, 3)), pads=[1] * 4), scale, 3)


def _on_host(net: Net, x: str, scale: float = SCALE) -> str:
    """A convolution [1, 8, H, W] to itself that the host does, for its dilation."""
    y = net.node("Conv", x, net.weights((8, 8, 3, 3)), pads=[13] * 4, dilations=[13] * 2)
    return net.pair(y, scale, 3)


def test_a_product_without_quantize_linear_of_what_the_npu_made() -> None:
    net = Net()
    y = _on_npu(net, net.pair(net.input([1, 8, 6, 10]), SCALE))
    net.output(net.node("MatMul", y, net.weights((10, 16), axis=1)))
    placed = check(net, ["MatMul"])
    assert next(iter(placed.reasons.values())) == ["beside-host"]  # the DequantizeLinear of what the NPU made


@pytest.mark.parametrize("bias", ["float", "none"])
@pytest.mark.parametrize("activation", ["Relu", ""])
def test_gemm_without_quantize_linear(bias: str, activation: str) -> None:
    net = Net()
    x = net.pair(net.node("Abs", net.input([6, 32])), SCALE, 1)
    more = [net.normal([24])] if bias == "float" else []
    y = net.node("Gemm", x, net.weights((24, 32), axis=0), *more, transB=1)
    net.output(net.node(activation, y) if activation else y)
    check(net, ["Abs", "Gemm", activation] if activation else ["Abs", "Gemm"])


def test_a_product_of_real_numbers_and_dequantized_weights() -> None:
    """With a QuantizeLinear after it, and without: then onnxruntime quantises the real numbers as well."""
    for quantized in (False, True):
        net = Net()
        y = net.node("MatMul", net.input([6, 32]), net.weights((32, 24), axis=1))
        if quantized:
            y = _on_npu(net, net.pair(net.node("Reshape", y, net.integers(1, 8, 3, 6)), SCALE))
        net.output(y)
        check(net, ["MatMul", "Reshape"] if quantized else ["MatMul"])


def test_dequantized_values_that_are_moved_before_a_product() -> None:
    net = Net()
    y = _on_npu(net, net.pair(net.input([1, 8, 6, 10]), SCALE))
    moved = net.node("Transpose", net.node("Reshape", y, net.integers(8, 6, 10)), perm=[0, 2, 1])
    net.output(net.node("MatMul", moved, net.weights((6, 16), axis=1)))
    check(net, ["Reshape", "Transpose", "MatMul"])


def test_dequantized_values_that_the_npu_reads_too() -> None:
    net = Net()
    y = _on_npu(net, net.pair(net.input([1, 8, 6, 10]), SCALE))
    net.output(net.node("MatMul", y, net.weights((10, 16), axis=1)), _on_npu(net, y))
    check(net, ["MatMul"])


def test_dequantized_values_that_are_an_output_too() -> None:
    net = Net()
    y = _on_npu(net, net.pair(net.input([1, 8, 6, 10]), SCALE))
    net.output(y, net.node("MatMul", y, net.weights((10, 16), axis=1)))
    check(net, ["MatMul"])


def test_quantized_operators_of_the_host_around_the_npu() -> None:
    """Weights are dequantised beside their convolution, not with the first operators of the host; the scales make ties."""
    net = Net()
    x = _on_host(net, net.pair(net.input([1, 8, 12, 12]), 0.5), 0.5)
    y = _on_npu(net, x, 0.5)
    both = net.pair(net.node("Concat", x, y, axis=3), 0.5)
    net.output(_on_host(net, both, 0.5))
    check(net, ["Conv", "Concat", "Conv"])


def test_one_dequantize_linear_for_operators_of_the_host_before_and_after_the_npu() -> None:
    net = Net()
    y = _on_npu(net, net.pair(net.input([1, 8, 10, 10]), SCALE))
    first = net.node("MatMul", y, net.weights((10, 10), axis=1))
    z = _on_npu(net, net.pair(net.node("Sin", first), SCALE))
    net.output(net.node("MatMul", z, y))
    check(net, ["MatMul", "Sin", "MatMul"])


def test_real_numbers_of_the_host_stay_with_what_adds_them() -> None:
    """A residual block whose convolutions are not quantised after: onnxruntime adds within one of the convolutions."""
    net = Net()
    x = net.node("Relu", net.node("Conv", net.input([1, 8, 12, 12]), net.normal((8, 8, 3, 3)), pads=[1] * 4))
    quantized = net.pair(x, SCALE)
    shortcut = net.node("Conv", quantized, net.weights((8, 8, 1, 1)))
    inner = net.pair(
        net.node("Relu", net.node("Conv", quantized, net.weights((8, 8, 3, 3)), pads=[1] * 4)), 0.1, -128
    )
    outer = net.node("Conv", inner, net.weights((8, 8, 3, 3)), pads=[1] * 4)
    net.output(net.node("Relu", net.node("Add", outer, shortcut)))
    check(net, ["Conv", "Relu", "Conv", "Conv", "Add", "Relu"])


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_16_bits_meet_8(dtype: str, domain: str) -> None:
    """Mixed precision: 16 bits on the host, 8 on the NPU, in either order."""
    middle = 32768 if dtype == "uint16" else 0
    wide = {"dtype": dtype, "domain": domain}
    for first in ("wide", "narrow"):
        net = Net(21 if not domain else 17)
        x = net.input([1, 8, 8, 8])
        if first == "wide":
            y = net.pair(
                net.node("Conv", net.pair(x, 0.0001, middle, **wide), net.weights((8, 8, 1, 1))),
                0.0002,
                middle,
                **wide,
            )
            y = _on_npu(net, net.pair(y, SCALE, 3))
        else:
            y = _on_npu(net, net.pair(x, SCALE, 3))
            y = net.pair(y, 0.0002, middle, **wide)
            y = net.pair(net.node("Conv", y, net.weights((8, 8, 1, 1))), 0.0002, middle, **wide)
        net.output(y)
        check(net, ["Conv"])


def test_what_the_npu_makes_for_the_host_crosses_in_8_bits() -> None:
    net = Net()
    y = _on_npu(net, net.pair(net.input([1, 8, 6, 10]), SCALE))
    net.output(net.pair(net.node("Sinh", y), SCALE))
    placed = check(net, ["Sinh"])
    assert np.max(np.abs(placed.outputs[0][0])) > 0


def test_two_pairs_in_a_row_stay_two_on_the_host() -> None:
    """onnxruntime makes one of them; on the NPU both are done, and the numbers are those of the model wherever it is cut."""
    net = Net()
    x = net.pair(net.pair(net.node("Sin", net.input([1, 8, 6, 6])), 0.05, 3), 0.031, -7)
    net.output(net.node("Sin", x))
    check(net, ["Sin", "Sin"])
    check(net, ["Sin", "Sin"], optimized=False)


@pytest.mark.parametrize("moved", [True, False])
def test_real_numbers_of_the_host_that_are_quantised_and_read_again_after_the_npu(moved: bool) -> None:
    """An output of a part of the host counts as a reader, so that onnxruntime does not fuse what makes it, nor quantises its bias."""
    net = Net()
    x = net.pair(net.input([1, 8, 6, 6]), 0.5)
    y = net.node("Conv", x, net.weights((8, 8, 1, 1)), net.normal([8]))
    q = net.pair(net.node("Transpose", y, perm=[0, 1, 3, 2]) if moved else y, 0.125)
    net.output(net.node("MatMul", y, _on_npu(net, q, 0.125)))
    check(net, ["Conv", "Transpose", "MatMul"] if moved else ["Conv", "MatMul"])
