"""Models and damaged programs for the tests of ``furiosa compare``."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper

from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container, reader

CHANNELS = 8


def onnx_network(size: int = 12, inputs: int = 1) -> bytes:
    """QDQ int8: conv a, Sin (which the host runs), conv b, of the sum of ``inputs`` images [1, 8, size, size]."""
    rng = np.random.default_rng(3)
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(op: str, operands: Sequence[str], name: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, list(operands), [name], name, **attributes))
        return name

    def quantized(x: str, name: str, scale: float, zero_point: int) -> str:
        s = constant(f"{name}/scale", np.float32(scale))
        z = constant(f"{name}/zero", np.int8(zero_point))
        q = node("QuantizeLinear", [x, s, z], f"{name}/q")
        return node("DequantizeLinear", [q, s, z], f"{name}/dq")

    def conv(x: str, name: str) -> str:
        data = rng.integers(-127, 128, (CHANNELS, CHANNELS, 3, 3)).astype(np.int8)
        s = constant(f"{name}/w/scale", np.float32(0.01))
        z = constant(f"{name}/w/zero", np.int8(0))
        w = node("DequantizeLinear", [constant(f"{name}/w", data), s, z], f"{name}/w/dq")
        return node("Conv", [x, w], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    shape = [1, CHANNELS, size, size]
    names = [f"x{i}" for i in range(inputs)]
    x = quantized(names[0], names[0], 0.05, -3)
    for i, name in enumerate(names[1:], 1):
        x = quantized(node("Add", [x, quantized(name, name, 0.04, 2)], f"sum{i}"), f"sum{i}", 0.07, 1)
    x = quantized(conv(x, "a"), "a", 0.08, 4)
    x = quantized(node("Sin", [x], "sin"), "sin", 0.01, 0)
    x = quantized(conv(x, "b"), "b", 0.02, -5)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in names],
        [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(deterministic=True)


def tflite_network(size: int = 12) -> bytes:
    """Int8: conv a, SIN in float (which the host runs), conv b, of an image [1, size, size, 8]."""
    rng = np.random.default_rng(5)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph.tensors, graph.operators = [], []

    def tensor(
        name: str, kind: str, shape: list[int], scale: object = None, zero: int = 0, data: object = None
    ) -> int:
        t = schema.TensorT()
        t.name, t.shape, t.type = name, shape, getattr(schema.TensorType, kind)
        if scale is not None:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            t.quantization.zeroPoint = [zero] * len(t.quantization.scale)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            t.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    def operator(name: str, inputs: list[int], output: int, options: object = None, version: int = 1) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = version
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes), inputs, [output]
        if options is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            op.builtinOptions = options
        model.operatorCodes.append(code)
        graph.operators.append(op)
        return output

    def conv(x: int, name: str, x_scale: float, scale: float) -> int:
        weights = rng.integers(-127, 128, (CHANNELS, 3, 3, CHANNELS)).astype(np.int8)
        bias = rng.integers(-500, 500, CHANNELS).astype(np.int32)
        w = tensor(f"{name}/w", "INT8", list(weights.shape), [0.01] * CHANNELS, 0, weights)
        b = tensor(f"{name}/b", "INT32", [CHANNELS], [x_scale * 0.01] * CHANNELS, 0, bias)
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = 1
        return operator("CONV_2D", [x, w, b], tensor(name, "INT8", shape, scale, 3), options, 3)

    shape = [1, size, size, CHANNELS]
    x = tensor("x", "INT8", shape, 0.05, -3)
    a = conv(x, "a", 0.05, 0.08)
    real = operator("DEQUANTIZE", [a], tensor("real", "FLOAT32", shape), version=2)
    sine = operator("SIN", [real], tensor("sine", "FLOAT32", shape))
    again = operator("QUANTIZE", [sine], tensor("again", "INT8", shape, 0.01, 0))
    y = conv(again, "b", 0.01, 0.02)
    graph.inputs, graph.outputs = [x], [y]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def damaged(model: bytes, tensor: str, target_npu: str = "warboy-2pe", batch_size: int = 1) -> bytes:
    """The ENF of a model with one weight changed of the convolution that makes ``tensor``, and right checksums."""
    compilation = Compilation(model, Options(target_npu, batch_size)).run()
    for op in compilation.ldfg.operators:
        if op.op_type == "npu.conv2d" and op.outputs[0].name == tensor:
            at = compilation.pool.place(op.inputs[1])
            enf = reader.load(container.to_bytes(compilation.enf))
            sections = {s.name: bytes(enf.section(s.name)) for s in enf.sections}
            constants = bytearray(sections["constants"])
            constants[at] ^= 0x80
            return container.to_bytes(sections | {"constants": bytes(constants)})
    raise AssertionError(f"no convolution makes {tensor}")
