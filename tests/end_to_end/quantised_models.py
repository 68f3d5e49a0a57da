"""Small float networks of the kinds that people quantise, and onnxruntime's own quantiser run on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

# how people call the quantiser: nothing said, and the options that they say
MODES: dict[str, dict] = {
    "default": {},
    "per-channel": {"per_channel": True, "activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8},
    "uint8": {"per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8},
    "symmetric": {"extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True}},
    "dedicated pairs": {"extra_options": {"DedicatedQDQPair": True}},
    "operators": {"quant_format": QuantFormat.QOperator},
}


class Net:
    """A float network under construction; every method returns the name of what it has made."""

    def __init__(self, shape: Sequence[int], seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shape = list(shape)

    def constant(self, value: object) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        made = [f"{op_type.lower()}_{len(self.nodes)}{f'_{i}' if i else ''}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, made, made[0], **attributes))
        return made[0]

    def conv(self, x: str, channels: int, out: int, kernel: int = 3, stride: int = 1, group: int = 1) -> str:
        w = self.rng.normal(
            0, (channels // group * kernel**2) ** -0.5, (out, channels // group, kernel, kernel)
        )
        b = self.constant(self.rng.normal(0, 0.1, out).astype(np.float32))
        pads = [kernel // 2] * 4
        return self.op(
            "Conv",
            x,
            self.constant(w.astype(np.float32)),
            b,
            kernel_shape=[kernel] * 2,
            pads=pads,
            strides=[stride] * 2,
            group=group,
        )

    def gemm(self, x: str, size: int, out: int) -> str:
        w = self.constant(self.rng.normal(0, size**-0.5, (size, out)).astype(np.float32))
        return self.op("Gemm", x, w, self.constant(self.rng.normal(0, 0.1, out).astype(np.float32)))

    def dense(self, x: str, size: int, out: int) -> str:
        """MatMul and Add, as exporters write a Linear on more than two dimensions."""
        w = self.constant(self.rng.normal(0, size**-0.5, (size, out)).astype(np.float32))
        b = self.constant(self.rng.normal(0, 0.1, out).astype(np.float32))
        return self.op("Add", self.op("MatMul", x, w), b)

    def reshape(self, x: str, *shape: int) -> str:
        return self.op("Reshape", x, self.constant(np.array(shape)))

    def model(self, output: str) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, self.shape)]
        outputs = [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


def residual() -> onnx.ModelProto:
    """Two blocks of a ResNet."""
    n = Net([1, 3, 24, 24], 1)
    x = n.op("Relu", n.conv("x", 3, 16, 7, 2))
    x = n.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    for i, stride in enumerate((1, 2)):
        inner = n.conv(n.op("Relu", n.conv(x, 16, 16, stride=stride)), 16, 16)
        x = n.op("Relu", n.op("Add", inner, n.conv(x, 16, 16, 1, stride) if i else x))
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    return n.model(n.gemm(x, 16, 10))


def mobile() -> onnx.ModelProto:
    """A block of a MobileNetV3: inverted residual, squeeze and excitation, HardSwish; and a LeakyRelu."""
    n = Net([1, 3, 20, 20], 2)
    x = n.op("HardSwish", n.conv("x", 3, 16, 3, 2))
    inner = n.op("HardSwish", n.conv(n.op("HardSwish", n.conv(x, 16, 48, 1)), 48, 48, 5, group=48))
    squeezed = n.op("Relu", n.conv(n.op("ReduceMean", inner, axes=[2, 3]), 48, 16, 1))
    inner = n.op("Mul", inner, n.op("HardSigmoid", n.conv(squeezed, 16, 48, 1), alpha=1 / 6))
    x = n.op("Add", x, n.conv(inner, 48, 16, 1))
    x = n.op("LeakyRelu", n.conv(x, 16, 24), alpha=0.1)
    silu = n.conv(x, 24, 24, 1)
    x = n.op("Mul", silu, n.op("Sigmoid", silu))
    return n.model(n.gemm(n.op("Flatten", n.op("GlobalAveragePool", x)), 24, 10))


def shuffled() -> onnx.ModelProto:
    """Two units of a ShuffleNetV2: halves of the channels, and a shuffle by Reshape, Transpose, Reshape."""
    n = Net([1, 4, 16, 16], 3)
    x = n.op("Relu", n.conv("x", 4, 16))
    for _ in range(2):
        a = n.op("Split", x, n.constant(np.array([8, 8])), outputs=2, axis=1)
        b = n.op("Relu", n.conv(f"{a}_1", 8, 8, 1))
        b = n.op("Relu", n.conv(n.conv(b, 8, 8, group=8), 8, 8, 1))
        x = n.reshape(n.op("Concat", a, b, axis=1), 1, 2, 8, 16, 16)
        x = n.reshape(n.op("Transpose", x, perm=[0, 2, 1, 3, 4]), 1, 16, 16, 16)
    x = n.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    return n.model(n.gemm(x, 16, 10))


def attention() -> onnx.ModelProto:
    """A block of a vision transformer: patches, LayerNormalization, two heads of attention, an MLP with Erf."""
    n = Net([1, 3, 16, 16], 4)
    x = n.reshape(
        n.op("Conv", "x", n.constant(n.rng.normal(0, 0.1, (16, 3, 4, 4)).astype(np.float32)), strides=[4, 4]),
        1,
        16,
        16,
    )
    x = n.op("Transpose", x, perm=[0, 2, 1])
    x = n.op("Add", x, n.constant(n.rng.normal(0, 0.5, (1, 16, 16)).astype(np.float32)))

    def normal(x: str) -> str:
        one, zero = (
            n.constant(v.astype(np.float32)) for v in (n.rng.normal(1, 0.1, 16), n.rng.normal(0, 0.1, 16))
        )
        return n.op("LayerNormalization", x, one, zero, axis=-1)

    def heads(x: str) -> str:
        return n.op("Transpose", n.reshape(x, 1, 16, 2, 8), perm=[0, 2, 1, 3])

    y = normal(x)
    q, k, v = (heads(n.dense(y, 16, 16)) for _ in range(3))
    scores = n.op(
        "Mul", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2])), n.constant(np.float32(8**-0.5))
    )
    y = n.op("Transpose", n.op("MatMul", n.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    x = n.op("Add", x, n.dense(n.reshape(y, 1, 16, 16), 16, 16))
    y = n.dense(normal(x), 16, 32)
    erf = n.op("Add", n.op("Erf", n.op("Div", y, n.constant(np.float32(2**0.5)))), n.constant(np.float32(1)))
    y = n.op("Mul", n.op("Mul", y, erf), n.constant(np.float32(0.5)))
    x = n.op("Add", x, n.dense(y, 32, 16))
    return n.model(n.gemm(n.op("ReduceMean", normal(x), axes=[1], keepdims=0), 16, 10))


def windows() -> onnx.ModelProto:
    """A block of ConvNeXt, one of Swin with shifted windows and a mask, and the operators that quantisers have a form of their own for."""
    n = Net([1, 16, 8, 8], 5)
    y = n.op("Transpose", n.conv("x", 16, 16, 7, group=16), perm=[0, 2, 3, 1])
    scale, bias = (n.constant(n.rng.normal(m, 0.1, 16).astype(np.float32)) for m in (1, 0))
    y = n.dense(n.op("LayerNormalization", y, scale, bias, axis=-1), 16, 32)
    erf = n.op("Add", n.op("Erf", n.op("Div", y, n.constant(np.float32(2**0.5)))), n.constant(np.float32(1)))
    y = n.op("Mul", n.op("Mul", y, erf), n.constant(np.float32(0.5)))
    y = n.op("Mul", n.constant(n.rng.normal(0, 0.5, 16).astype(np.float32)), n.dense(y, 32, 16))
    x = n.op("Add", "x", n.op("Transpose", y, perm=[0, 3, 1, 2]))

    y = n.op("Transpose", x, perm=[0, 2, 3, 1])
    for axis in (1, 2):  # shifts by two
        parts = [
            n.op("Slice", y, *(n.constant(np.array([v])) for v in (start, end, axis)))
            for start, end in ((2, 8), (0, 2))
        ]
        y = n.op("Concat", *parts, axis=axis)
    y = n.reshape(n.op("Transpose", n.reshape(y, 2, 4, 2, 4, 16), perm=[0, 2, 1, 3, 4]), 4, 16, 16)
    q, k, v = (n.dense(y, 16, 16) for _ in range(3))
    scores = n.op(
        "Mul", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])), n.constant(np.float32(0.25))
    )
    mask = np.where(n.rng.integers(0, 2, (4, 16, 16)), np.float32(0), np.float32(-4))
    y = n.op("MatMul", n.op("Softmax", n.op("Add", scores, n.constant(mask)), axis=-1), v)
    y = n.op("LeakyRelu", y, alpha=0.1)
    y = n.op("Concat", y, n.op("Sigmoid", y), axis=-1)
    y = n.op("Transpose", n.reshape(y, 1, 8, 8, 32), perm=[0, 3, 1, 2])
    y = n.op("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    return n.model(n.gemm(n.op("Flatten", n.op("GlobalAveragePool", y)), 32, 10))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "residual": residual,
    "mobile": mobile,
    "shuffled": shuffled,
    "attention": attention,
    "windows": windows,
}


class _Samples(CalibrationDataReader):
    def __init__(self, shape: Sequence[int]):
        rng = np.random.default_rng(0)
        self._samples = iter([{"x": rng.standard_normal(shape, np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def quantised(network: str, mode: str, folder: Path) -> str:
    """The path of a network that onnxruntime's quantiser has quantised from four samples."""
    source, target = folder / f"{network}_float.onnx", folder / f"{network}.onnx"
    model = NETWORKS[network]()
    onnx.save(model, source)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    quantize_static(str(source), str(target), _Samples(shape), **MODES[mode])
    return str(target)
