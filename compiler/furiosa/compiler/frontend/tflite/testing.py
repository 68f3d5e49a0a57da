"""Builds small TFLite models for tests with the reference runtime's own schema classes, and runs them with LiteRT."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


class ModelBuilder:
    """One subgraph under construction; tensors are known by the index that ``tensor`` returns."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.model.subgraphs = []
        self.subgraph()

    def subgraph(self) -> schema.SubGraphT:
        """Begins a further subgraph, to which what follows belongs."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
        self.model.subgraphs.append(graph)
        self.graph = graph
        return graph

    def tensor(
        self,
        name: str,
        shape: list[int],
        dtype: str = "int8",
        data: Any = None,
        scale: float | list[float] | None = None,
        zero_point: int | list[int] = 0,
        axis: int = 0,
        **fields: Any,
    ) -> int:
        """Adds a tensor; ``fields`` are further fields of the schema (shapeSignature, isVariable, …)."""
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name, shape, getattr(schema.TensorType, dtype.upper()), 0
        if data is not None:
            buffer = schema.BufferT()
            raw = data if isinstance(data, bytes) else np.asarray(data, dtype).tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
            t.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(scale, np.float32))
            q.zeroPoint = np.atleast_1d(np.asarray(zero_point, np.int64))
            q.quantizedDimension = axis
            t.quantization = q
        for key, value in fields.items():
            setattr(t, key, value)
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def operator(
        self, op_type: str, inputs: list[int], outputs: list[int], options: Any = None, **fields: Any
    ) -> schema.OperatorT:
        """Adds an operator; ``options`` is an options object of the schema; "CUSTOM:code" is a custom operator."""
        code = schema.OperatorCodeT()
        op_type, _, custom = op_type.partition(":")
        code.builtinCode = getattr(schema.BuiltinOperator, op_type)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 2 if op_type == "BROADCAST_TO" else 1  # there is no version 1 of it
        code.customCode = custom or None
        op = schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        op.inputs, op.outputs = inputs, outputs
        if options is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            op.builtinOptions = options
        for key, value in fields.items():
            setattr(op, key, value)
        self.graph.operators.append(op)
        return op

    def build(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Serialises the model; inputs and outputs are those of subgraph 0."""
        self.model.subgraphs[0].inputs, self.model.subgraphs[0].outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def options(kind: str, **fields: Any) -> Any:
    """An options object of the schema, e.g. ``options("Conv2DOptions", strideH=2)``."""
    o = getattr(schema, f"{kind}T")()
    for key, value in fields.items():
        setattr(o, key, value)
    return o


def conv_model(rng: np.random.Generator, batch: int = 1) -> bytes:
    """int8 convolution per channel, ReLU6, then a reshape to [batch, 64] and a per-tensor fully connected layer."""
    b = ModelBuilder()
    x = b.tensor("x", [batch, 8, 8, 3], scale=0.02, zero_point=3)
    w = b.tensor(
        "w",
        [4, 3, 3, 3],
        data=rng.integers(-127, 128, (4, 3, 3, 3)),
        scale=[0.01, 0.02, 0.005, 0.01],
        zero_point=[0] * 4,
    )
    bias = b.tensor("b", [4], "int32", rng.integers(-99, 99, 4), [2e-4, 4e-4, 1e-4, 2e-4], [0] * 4)
    y = b.tensor("y", [batch, 4, 4, 4], scale=0.03, zero_point=-128)
    b.operator(
        "CONV_2D", [x, w, bias], [y],
        options("Conv2DOptions", padding=0, strideH=2, strideW=2, dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=3),
    )  # fmt: skip
    shape = b.tensor("shape", [2], "int32", [batch, 64])
    flat = b.tensor("flat", [batch, 64], scale=0.03, zero_point=-128)
    b.operator("RESHAPE", [y, shape], [flat], options("ReshapeOptions", newShape=[batch, 64]))
    fw = b.tensor("fw", [5, 64], data=rng.integers(-127, 128, (5, 64)), scale=0.01)
    z = b.tensor("z", [batch, 5], scale=0.2, zero_point=1)
    b.operator("FULLY_CONNECTED", [flat, fw, -1], [z], options("FullyConnectedOptions"))
    return b.build([x], [z])


def random_inputs(tensors: list[Any], seed: int) -> list[np.ndarray]:
    """Seeded inputs over the whole range of their type (floats: normal) for tensors with shape and dtype."""
    rng = np.random.default_rng(seed)
    inputs = []
    for t in tensors:
        dtype = np.dtype(t.dtype)
        if dtype.kind in "fc":
            inputs.append(rng.standard_normal(t.shape).astype(dtype))
        elif dtype.kind == "b":
            inputs.append(rng.integers(0, 2, t.shape).astype(dtype))
        else:
            low, high = max(np.iinfo(dtype).min, -(2**15)), min(np.iinfo(dtype).max, 2**15)
            inputs.append(rng.integers(low, high, t.shape, endpoint=True).astype(dtype))
    return inputs


def run(model: bytes, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Runs a model once with LiteRT's default kernels."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]


def operators(model: bytes) -> list[str]:
    """The operators of the first subgraph as LiteRT reads them.

    Raises:
        ValueError: LiteRT refuses the model.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = (
        OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )  # a delegate's operator would stand for those it takes
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver)
    return [op["op_name"] for op in interpreter._get_ops_details()]
