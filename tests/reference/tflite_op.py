"""Builds TFLite models of one operator and runs them with LiteRT: the oracle of the rules for TFLite models."""

from __future__ import annotations

import dataclasses

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "uint8": schema.TensorType.UINT8,
    "int8": schema.TensorType.INT8,
}


@dataclasses.dataclass
class Operand:
    """One tensor of the model: a constant if `data` is given, else an activation of that shape."""

    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float | np.ndarray | None = None
    zero_point: int = 0
    data: np.ndarray | None = None
    quantized_dimension: int = 0


def options(operator: str, **fields: object) -> object:
    """The options table `operator` of the schema, e.g. options("Conv2DOptions", strideW=1, strideH=1)."""
    table = getattr(schema, operator + "T")()
    for name, value in fields.items():
        if not hasattr(table, name):
            raise AttributeError(f"{operator} has no field {name}")
        setattr(table, name, value)
    return table


def build(
    operator: str,
    inputs: list[Operand | None],
    output: Operand | list[Operand],
    option: object = None,
    version: int = 4,
) -> bytes:
    """A TFLite model of one `operator` (name of schema.BuiltinOperator) over these tensors; None is a left-out input."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    graph.tensors = []
    node = schema.OperatorT()
    node.inputs = [-1 if operand is None else _add(model, graph, operand) for operand in inputs]
    outputs = output if isinstance(output, list) else [output]
    node.outputs = [_add(model, graph, operand) for operand in outputs]
    if option is not None:
        node.builtinOptionsType = getattr(schema.BuiltinOptions, type(option).__name__[:-1])
        node.builtinOptions = option
    graph.operators = [node]
    graph.inputs = [
        i for i, operand in zip(node.inputs, inputs) if operand is not None and operand.data is None
    ]
    graph.outputs = node.outputs
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _add(model: object, graph: object, operand: Operand) -> int:
    tensor = schema.TensorT()
    tensor.shape = list(operand.shape)
    tensor.type = _TYPES[operand.dtype]
    tensor.name = f"t{len(graph.tensors)}"
    if operand.scale is not None:
        quantization = schema.QuantizationParametersT()
        scales = np.atleast_1d(np.asarray(operand.scale, np.float32))
        quantization.scale = scales.tolist()
        quantization.zeroPoint = [operand.zero_point] * len(scales)
        quantization.quantizedDimension = operand.quantized_dimension
        tensor.quantization = quantization
    if operand.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(operand.data).tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def run(model: bytes, *arrays: np.ndarray) -> np.ndarray:
    """The first output of the model, computed by LiteRT's default kernels (XNNPACK where it takes the operator)."""
    return run_all(model, *arrays)[0]


def run_all(model: bytes, *arrays: np.ndarray) -> tuple[np.ndarray, bool]:
    """(first output, whether XNNPACK took the whole model)."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    delegated = any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), delegated
