"""Tests of the int8 files: the quantisation scheme, and what onnxruntime makes of them."""

from __future__ import annotations

import collections

import numpy as np
import onnx
import onnxruntime
import pytest

from generator.__main__ import MODELS, build
from generator.resnet50 import IMAGENET_HIGH, IMAGENET_LOW

INPUT_RANGES = {"resnet50": (IMAGENET_LOW, IMAGENET_HIGH), "ssd_mobilenet": (-1.0, 1.0), "tiny": (-1.0, 1.0)}
KEEPS_QUANTIZATION = {"MaxPool", "Flatten", "Reshape", "Transpose", "Concat"}
# The integer operators that onnxruntime has for the float ones of a QDQ model. The rest move int8 values as they are.
INTEGER_OPERATORS = {
    "Conv": "QLinearConv",
    "Gemm": "QGemm",
    "Add": "QLinearAdd",
    "GlobalAveragePool": "QLinearGlobalAveragePool",
    "Concat": "QLinearConcat",
}
# Least ratio of signal to quantisation noise in the outputs, dB. A deep network with random weights amplifies
# differences of its input, and with them the noise.
LEAST_SNR = {"tiny": 24.0, "ssd_mobilenet": 17.0, "resnet50": 15.0}


class Graph:
    """An ONNX graph with its initializers as arrays, and who makes and reads each value."""

    def __init__(self, proto):
        self.nodes = proto.graph.node
        self.constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer
        }
        self.maker = {output: node for node in self.nodes for output in node.output}
        self.readers = collections.defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)

    def quantization(self, node):
        """Scale and zero point of a QuantizeLinear or DequantizeLinear node."""
        return self.constants[node.input[1]], self.constants[node.input[2]]

    def output_quantizer(self, node):
        """The QuantizeLinear behind a node and its activation."""
        (reader,) = self.readers[node.output[0]]
        return reader if reader.op_type == "QuantizeLinear" else self.output_quantizer(reader)


@pytest.fixture(scope="module", params=MODELS)
def graph(request):
    return Graph(build(request.param, "int8"))


def test_weights_and_biases(graph):
    linear = [node for node in graph.nodes if node.op_type in ("Conv", "Gemm")]
    assert linear
    for node in linear:
        x, weight, bias = (graph.maker[name] for name in node.input)
        values, (scale, zero_point) = graph.constants[weight.input[0]], graph.quantization(weight)
        assert values.dtype == np.int8 and np.abs(values.astype(np.int16)).max() == 127
        assert scale.shape == ((values.shape[0],) if node.op_type == "Conv" else ())
        assert not zero_point.any() and zero_point.shape == scale.shape
        bias_scale, bias_zero_point = graph.quantization(bias)
        assert graph.constants[bias.input[0]].dtype == np.int32
        assert np.array_equal(bias_scale, graph.quantization(x)[0] * scale) and not bias_zero_point.any()


def test_activations(graph):
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear":
            scale, zero_point = graph.quantization(node)
            assert scale.shape == zero_point.shape == () and zero_point.dtype == np.int8 and scale > 0
        elif node.op_type in ("Relu", "Clip"):
            scale, zero_point = graph.quantization(graph.output_quantizer(node))
            assert zero_point == -128
            if node.op_type == "Clip":
                assert float(scale) * 255.0 == pytest.approx(6.0, abs=1e-6) and np.float32(255) * scale <= 6.0
        elif node.op_type in KEEPS_QUANTIZATION:
            after = graph.quantization(graph.output_quantizer(node))
            inputs = [name for name in node.input if name not in graph.constants]
            assert all(graph.quantization(graph.maker[name]) == after for name in inputs)


def _session(proto, optimized=""):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _operators(proto):
    return collections.Counter(node.op_type for node in proto.graph.node)


@pytest.mark.parametrize("model", MODELS)
def test_onnxruntime_fuses_every_operator(model, tmp_path):
    proto = build(model, "int8")
    _session(proto, tmp_path / "optimized.onnx")
    before, after = _operators(proto), _operators(onnx.load(tmp_path / "optimized.onnx"))
    for float_operator, integer_operator in INTEGER_OPERATORS.items():
        assert after[integer_operator] == before[float_operator]
        assert after[float_operator] == 0
    assert after["QuantizeLinear"] == 1
    assert after["DequantizeLinear"] == len(proto.graph.output)


def _inputs(proto, low, high):
    """Uniform noise in [low, high), in two and in four blocks a side."""
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    random = np.random.default_rng(1)
    for blocks in (2, 4):
        size = -(-shape[2] // blocks)
        noise = random.uniform(low, high, (3, blocks, blocks))
        yield np.kron(noise, np.ones((size, size)))[None, :, : shape[2], : shape[3]].astype(np.float32)


@pytest.mark.parametrize("model", INPUT_RANGES)
def test_values_are_alive(model):
    """No tensor is clipped or nearly constant, the int8 answer follows the float32 answer, and it depends on the
    input."""
    proto = build(model, "int8")
    quantizers = [node for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    zero_points = {node.output[0]: Graph(proto).quantization(node)[1] for node in quantizers}
    outputs = [output.name for output in proto.graph.output]
    proto.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT8, None) for name in zero_points
    )
    int8, float32 = _session(proto), _session(build(model, "float32"))
    answers = set()
    for x in _inputs(proto, *INPUT_RANGES[model]):
        values = dict(
            zip(outputs + list(zero_points), int8.run(outputs + list(zero_points), {"input": x}), strict=True)
        )
        for name, expected in zip(outputs, float32.run(outputs, {"input": x}), strict=True):
            noise = np.mean((values[name] - expected) ** 2)
            assert 10 * np.log10(np.mean(expected**2) / noise) > LEAST_SNR[model]
        answers.add(int(values[outputs[-1]].argmax()))
        for name, zero_point in zero_points.items():
            clipped = np.mean(values[name] == 127)
            if zero_point != -128:  # else -128 is a rectified 0
                clipped += np.mean(values[name] == -128)
            assert clipped < 0.05, name
            assert values[name].std() > 8.0, name
    assert len(answers) > 1
