"""Models in the forms in which quantisers and exporters write them: all of them on the NPU, with onnxruntime's numbers.

Each small model has what is peculiar to its tool, from the tools' own exporters; nothing of it is a model of theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto

from tests.properties.qdq import MICROSOFT, Net, check

UINT8 = {"zero": 128, "dtype": "uint8"}


def _constant_node(net: Net, value: object, dtype: str = "float32") -> str:
    """A Constant node in place of an initialiser."""
    value = np.array(value, dtype)
    name = net.constant(value, dtype)
    net.constants.pop()
    message = helper_tensor(name, value)
    return net.node("Constant", value=message)


def helper_tensor(name: str, value: np.ndarray):
    from onnx import numpy_helper

    return numpy_helper.from_array(value, name)


def _fake_quantize(
    net: Net, x: str, scale: object, zero: object, code: int, top: int | None = None, **attributes: int
) -> str:
    """As PyTorch's exporter writes fake_quantize: constants are nodes, the zero point is cast, 7 bits are a Clip of the integers."""
    dtype = {TensorProto.INT8: "int8", TensorProto.UINT8: "uint8"}[code]
    s = _constant_node(net, scale)
    z = net.node("Cast", _constant_node(net, zero, "int32"), to=code)
    q = net.node("QuantizeLinear", x, s, z, **attributes)
    if top is not None:
        q = net.node("Clip", q, _constant_node(net, 0, dtype), _constant_node(net, top, dtype))
    return net.node("DequantizeLinear", q, s, z, **attributes)


@pytest.mark.parametrize("bits", [8, 7])
def test_pytorch_quantisation_aware_training(bits: int) -> None:
    """Weights are real numbers with a QuantizeLinear each, biases are real, activations are uint8."""
    net = Net(13)
    top = 127 if bits == 7 else None
    levels = 2**bits - 1
    x = _fake_quantize(net, net.input([2, 3, 24, 24]), 6 / levels, levels // 2, TensorProto.UINT8, top)
    w = net.rng.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32)
    scale = np.abs(w).max((1, 2, 3)) / 127
    w = _fake_quantize(net, net.constant(w), scale, np.zeros(16), TensorProto.INT8, axis=0)
    y = net.node("Conv", x, w, net.normal([16], 0.1), strides=[2, 2], pads=[1] * 4)
    y = _fake_quantize(net, net.node("Relu", y), 2 / levels, 0, TensorProto.UINT8, top)
    y = net.node("GlobalAveragePool", y)
    y = net.node("Flatten", _fake_quantize(net, y, 1 / levels, 0, TensorProto.UINT8, top), axis=1)
    y = _fake_quantize(net, y, 1 / levels, 0, TensorProto.UINT8, top)
    w = net.rng.normal(0, 0.2, (10, 16)).astype(np.float32)
    w = _fake_quantize(net, net.constant(w), np.abs(w).max(1) / 127, np.zeros(10), TensorProto.INT8, axis=0)
    y = net.node("Gemm", y, w, net.normal([10], 0.1), transB=1)
    net.output(_fake_quantize(net, y, 2 / levels, levels // 2, TensorProto.UINT8, top))
    check(net)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("form", ["constant", "quantized", "clipped"])
def test_a_linear_layer_as_transpose_matmul_add(rank: int, form: str) -> None:
    """How tracing writes a linear layer of three dimensions; onnxruntime makes a Gemm of it and quantises the bias."""
    net = Net()
    x = net.pair(net.input([4, 6, 32][-rank:]), 0.03, **UINT8)
    w = net.node("Transpose", net.weights((24, 32), form=form), perm=[1, 0])
    y = net.node("Add", net.node("MatMul", x, w), net.normal([24]))
    if rank == 2:
        y = net.node("Relu", y)
    net.output(net.pair(y, 0.02, **({"zero": 0, "dtype": "uint8"} if rank == 2 else UINT8)))
    check(net)


@pytest.mark.parametrize("first", [True, False])
def test_a_bias_that_is_added_is_on_either_side(first: bool) -> None:
    net = Net()
    y = net.node("MatMul", net.pair(net.input([6, 32]), 0.03), net.weights((32, 24), axis=1))
    b = net.normal([24])
    net.output(net.pair(net.node("Add", *((b, y) if first else (y, b))), 0.02))
    check(net)


def test_an_added_bias_of_integers() -> None:
    net = Net()
    x = net.pair(net.input([2, 6, 32]), 0.03)
    w = net.weights((32, 24), axis=1)
    scale = np.float32(0.03) * _last_scale(net)
    b = net.dq(net.constant(net.rng.integers(-500, 500, 24), "int32"), scale, 0, "int32", axis=0)
    net.output(net.pair(net.node("Add", net.node("MatMul", x, w), b), 0.02))
    check(net)


def _last_scale(net: Net) -> np.ndarray:
    """The scale of the weights that were written last."""
    from onnx import numpy_helper

    constants = {t.name: t for t in net.constants}
    return numpy_helper.to_array(constants[net.nodes[-1].input[1]])


def _residual(net: Net, x: str, scale: float) -> str:
    """A block with the same scale before and after, the Relu between the Add and its QuantizeLinear."""
    inner = net.pair(net.node("Relu", _conv(net, x)), 0.1)
    return net.pair(net.node("Relu", net.node("Add", net.pair(_conv(net, inner), 0.2), x)), scale)


def _conv(net: Net, x: str, bias: str = "float") -> str:
    b = [net.normal([16], 0.5)] if bias == "float" else []
    return net.node("Conv", x, net.weights((16, 16, 3, 3), deviation=0.1), *b, pads=[1] * 4)


def test_brevitas_qcdq() -> None:
    """Clip narrows the integers: weights to -127 to 127, activations to 4 bits; the bias is int32 with the scale of the sums."""
    net = Net(13)

    def activation(x: str, scale: float, low: int, high: int, dtype: str) -> str:
        q = net.q(x, scale, 0, dtype)
        q = net.node("Clip", q, net.constant(low, dtype), net.constant(high, dtype))
        return net.dq(q, scale, 0, dtype)

    x = activation(net.input([1, 16, 10, 10]), 0.25, -8, 7, "int8")
    w = net.weights((16, 16, 3, 3), form="clipped")
    scale = np.float32(0.25) * _last_scale(net)
    b = net.dq(net.constant(net.rng.integers(-90, 90, 16), "int32"), scale, 0, "int32", axis=0)
    y = net.node("Conv", x, w, b, pads=[1] * 4)
    net.output(activation(y, 0.5, -7, 7, "int8"))
    check(net)


def test_pt2e() -> None:
    """torch.export with a symmetric quantiser: zero point 0, Relu before the QuantizeLinear, scales shared by an addition.

    A Relu that the range does not imply is a layer that onnxruntime computes in floating point: see docs/numerics.md.  These scales
    are powers of two, with which its sums are exact.
    """
    net = Net(18)
    x = net.pair(net.input([1, 16, 12, 12]), 2.0**-5)
    for _ in range(2):
        w = [net.weights((16, 16, 3, 3), axis=None) for _ in range(2)]
        _round_scales(net)
        inner = net.pair(net.node("Relu", net.node("Conv", x, w[0], pads=[1] * 4)), 2.0**-3)
        outer = net.pair(net.node("Conv", inner, w[1], pads=[1] * 4), 2.0**-2)
        x = net.pair(net.node("Relu", net.node("Add", outer, x)), 2.0**-2)
    net.output(x)
    check(net)


def _round_scales(net: Net) -> None:
    """Makes all scales of weights powers of two."""
    from onnx import numpy_helper

    for node in net.nodes:
        if node.op_type == "DequantizeLinear":
            for t in net.constants:
                if t.name == node.input[1] and t.data_type == TensorProto.FLOAT:
                    value = np.exp2(np.floor(np.log2(numpy_helper.to_array(t)))).astype(np.float32)
                    t.CopyFrom(numpy_helper.from_array(value, t.name))


@pytest.mark.parametrize("opset", [17, 21])
def test_aimet(opset: int) -> None:
    """Asymmetric uint8 activations, symmetric int8 weights, real biases, a QuantizeLinear after each activation."""
    net = Net(opset)
    x = net.pair(net.input([1, 16, 12, 12]), 0.03, **UINT8)
    for _ in range(2):
        y = net.node("Relu", _conv(net, x))
        x = net.pair(y, 0.05, 0, "uint8")
    x = net.pair(net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), 0.05, 0, "uint8")
    net.output(net.pair(net.node("Sigmoid", _conv(net, x)), 1 / 255, 0, "uint8") if opset < 0 else x)
    check(net)


def test_tensorrt_stem_and_branches() -> None:
    """Quantised before convolutions only: the stem's MaxPool lies before the QuantizeLinear, scales have one element."""
    net = Net(17)
    x = net.pair(net.input([1, 3, 32, 32]), [0.02])
    y = net.node(
        "Conv",
        x,
        net.weights((16, 3, 7, 7), form="quantized"),
        net.normal([16]),
        strides=[2, 2],
        pads=[3] * 4,
    )
    y = net.node("MaxPool", net.node("Relu", y), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    q = net.pair(y, 0.04, -128)
    branches = [net.pair(net.node("Relu", _conv(net, q)), 0.05, -128) for _ in range(2)]
    net.output(net.pair(net.node("Concat", *branches, axis=1), 0.05, -128))
    check(net)


@pytest.mark.parametrize("opset", [13, 17, 18, 21, 23])
@pytest.mark.parametrize("kind", ["MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"])
def test_a_quantize_linear_behind_a_move(kind: str, opset: int) -> None:
    """Of a convolution with a real bias and an activation; two moves in a row, too."""
    net = Net(opset)
    y = net.node("Relu", _conv(net, net.pair(net.input([1, 16, 12, 12]), 0.05)))
    y = _move(net, kind, y)
    net.output(net.pair(y, 0.04, -128))
    y = net.node("Conv", net.pair(net.input([1, 16, 12, 12]), 0.05), net.weights((16, 16, 1, 1)))
    net.output(net.pair(net.node("Transpose", _move(net, kind, y)), 0.04, 3))
    check(net)


def _move(net: Net, kind: str, x: str) -> str:
    """[1, 16, 12, 12] moved in one way."""
    moves: dict[str, Callable[[], str]] = {
        "MaxPool": lambda: net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]),
        "Reshape": lambda: net.node("Reshape", x, net.integers(1, 16, -1)),
        "Slice": lambda: net.node(
            "Slice", x, net.integers(1), net.integers(9), net.integers(2), net.integers(2)
        ),
        "Squeeze": lambda: net.node("Squeeze", x, net.integers(0)),
        "Transpose": lambda: net.node("Transpose", x, perm=[0, 3, 1, 2]),
        "Unsqueeze": lambda: net.node("Unsqueeze", x, net.integers(0)),
    }
    return moves[kind]()


@pytest.mark.parametrize("kind", ["MaxPool", "Reshape", "Slice", "Squeeze", "Transpose"])
def test_a_move_of_dequantized_values_without_quantize_linear(kind: str) -> None:
    """onnxruntime's own int8 models of opset 21 and later it does not load then, so uint8."""
    for opset in (13, 18):
        net = Net(opset)
        x = net.pair(net.input([1, 16, 12, 12]), 0.05, **UINT8)
        y = net.node("Sub", _move(net, kind, x), net.constant(0.3))
        net.output(net.pair(y, 0.05, **UINT8))
        y = _move(net, kind, net.pair(net.node("Relu", x), 0.04, 0, "uint8"))
        columns = {"MaxPool": 6, "Reshape": 144}.get(kind, 12)
        net.output(net.pair(net.node("MatMul", y, net.weights((columns, 5), axis=1)), 0.1, **UINT8))
        check(net)


def test_onnxruntime_dedicated_pairs() -> None:
    """A QuantizeLinear for each reader of a tensor, all of them alike."""
    net = Net(13)
    x = net.input([1, 16, 12, 12])
    sums = net.node("Add", net.pair(_conv(net, net.pair(x, 0.05)), 0.1), net.pair(x, 0.05))
    pooled = net.pair(net.node("MaxPool", net.pair(sums, 0.1), kernel_shape=[3, 3], pads=[1] * 4), 0.1)
    net.output(net.pair(net.node("Mul", pooled, net.pair(sums, 0.1)), 0.2))
    check(net)


def test_onnxruntime_contributed_operators() -> None:
    """QuantizeLinear of its own domain, for the weights too."""
    net = Net(13)
    more = {"domain": MICROSOFT}
    x = net.pair(net.input([1, 16, 12, 12]), 0.05, 3, **more)
    w = net.rng.normal(0, 0.1, (16, 16, 3, 3)).astype(np.float32)
    scale = np.float32(np.abs(w).max() / 127)
    y = net.node("Conv", x, net.pair(net.constant(w), scale, **more), net.normal([16]))
    net.output(net.pair(y, 0.04, -3, **more))
    check(net)


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_gemm_with_a_real_bias(transposed: bool, dtype: str) -> None:
    net = Net()
    x = net.pair(net.input([6, 32]), 0.03, 3 if dtype == "int8" else 130, dtype)
    w = net.weights((24, 32) if transposed else (32, 24), axis=0 if transposed else 1)
    y = net.node("Gemm", x, w, net.normal([24]), transB=int(transposed))
    net.output(net.pair(y, 0.02, 0 if dtype == "int8" else 128, dtype))
    check(net)


def test_real_biases_with_ties() -> None:
    """Biases halfway between two steps of the sums: they are rounded to even, by a division in float32."""
    net = Net()
    x = net.pair(net.input([1, 8, 6, 6]), 0.0625)
    w = net.dq(net.constant(net.rng.integers(-9, 9, (64, 8, 1, 1)), "int8"), 0.03)
    b = net.constant((np.arange(-32, 32) + 0.5) * np.float32(0.0625) * np.float32(0.03))
    net.output(net.pair(net.node("Conv", x, w, b), 0.0625 * 0.03 * 1.37))
    check(net)


def test_integers_that_are_clipped() -> None:
    net = Net()
    for dtype, low, high in (("int8", -20, 35), ("uint8", 3, 200), ("uint8", None, 90), ("int8", -5, None)):
        ends = [
            net.constant(low, dtype) if low is not None else "",
            net.constant(high, dtype) if high is not None else "",
        ]
        q = net.node("Clip", net.q(net.input([1, 4, 5, 6]), 0.02, 7, dtype), *ends)
        net.output(net.dq(q, 0.02, 7, dtype))
    check(net)


def test_a_flatten_without_quantisation_of_its_own() -> None:
    """onnxruntime fuses nothing across it: an Add has the float operators' arithmetic then, and the scales here make ties."""
    net = Net()
    x = net.pair(net.input([2, 4, 3, 3]), 0.5)
    y = net.pair(net.node("Relu", net.node("Flatten", x)), 0.5)
    z = net.node("Flatten", net.pair(net.node("LeakyRelu", x, alpha=0.5), 0.5))
    net.output(net.pair(net.node("Flatten", net.node("Add", y, z)), 1.0, 3))
    check(net)


def test_a_linear_layer_after_a_flatten() -> None:
    """With sums that float32 holds exactly; see docs/numerics.md for others."""
    net = Net()
    x = net.pair(net.input([2, 4, 3, 3]), 0.25)
    y = net.node("Gemm", net.node("Flatten", x), net.weights((10, 36)), transB=1)
    _round_scales(net)
    net.output(net.pair(y, 0.25))
    check(net)
