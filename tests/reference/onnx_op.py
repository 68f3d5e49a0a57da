"""Builds ONNX models of one quantised operator, QDQ or QOperator, and runs them with onnxruntime: the oracle for ONNX models."""

from __future__ import annotations

import dataclasses
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

_TYPES = {
    "float32": TensorProto.FLOAT,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
}
onnxruntime.set_default_logger_severity(3)


@dataclasses.dataclass
class Operand:
    """One tensor of the model: a constant if `data` is given, else an activation of that shape.

    With `scale` it is quantised; without, it enters the operator as it is (e.g. float32, or the int64 of a shape).
    """

    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float | np.ndarray | None = None
    zero_point: int | np.ndarray = 0
    data: np.ndarray | None = None
    axis: int | None = None


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, array: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def operand(self, name: str, operand: Operand) -> str:
        if operand.data is not None:
            return self.constant(name, operand.data)
        self.inputs.append(helper.make_tensor_value_info(name, _TYPES[operand.dtype], operand.shape))
        return name

    def quantization(self, name: str, operand: Operand) -> tuple[str, str]:
        scale = np.asarray(operand.scale, np.float32)
        zero_point = np.broadcast_to(np.asarray(operand.zero_point, operand.dtype), scale.shape)
        return self.constant(name + "_scale", scale), self.constant(
            name + "_zero_point", np.array(zero_point)
        )

    def model(self, outputs: list[Operand], opset: int) -> bytes:
        values = [
            helper.make_tensor_value_info(name, _TYPES[output.dtype], output.shape)
            for name, output in zip(_output_names(outputs), outputs, strict=True)
        ]
        graph = helper.make_graph(self.nodes, "one_operator", self.inputs, values, self.initializers)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def _output_names(outputs: list[Operand]) -> list[str]:
    return ["y"] if len(outputs) == 1 else [f"y{k}" for k in range(len(outputs))]


def build_qdq(
    operators: str | list[tuple[str, dict]],
    inputs: list[Operand],
    output: Operand | list[Operand],
    opset: int = 13,
    **attributes,
) -> bytes:
    """DequantizeLinear -> operator(s) -> QuantizeLinear. `operators`: one type, or a chain of (type, attributes).

    An attribute "inputs" holds further constant inputs, e.g. the bounds of Clip.  Several outputs are those of the last operator.
    """
    chain = [(operators, attributes)] if isinstance(operators, str) else operators
    graph = _Graph()
    names = []
    for index, operand in enumerate(inputs):
        name = graph.operand(f"x{index}", operand)
        if operand.scale is not None:
            axis = {} if operand.axis is None else {"axis": operand.axis}
            parameters = graph.quantization(name, operand)
            graph.nodes.append(
                helper.make_node("DequantizeLinear", [name, *parameters], [name + "_dq"], **axis)
            )
            name += "_dq"
        names.append(name)
    outputs = output if isinstance(output, list) else [output]
    for index, (operator, fields) in enumerate(chain):
        extra = [graph.constant(f"extra{index}_{k}", v) for k, v in enumerate(fields.get("inputs", []))]
        fields = {name: value for name, value in fields.items() if name != "inputs"}
        count = len(outputs) if index == len(chain) - 1 else 1
        results = [f"f{index}_{k}" if count > 1 else f"f{index}" for k in range(count)]
        graph.nodes.append(helper.make_node(operator, names + extra, results, **fields))
        names = results
    for name, made, y in zip(names, outputs, _output_names(outputs), strict=True):
        if made.scale is None:
            graph.nodes.append(helper.make_node("Identity", [name], [y]))
        else:
            graph.nodes.append(helper.make_node("QuantizeLinear", [name, *graph.quantization(y, made)], [y]))
    return graph.model(outputs, opset)


def build_qoperator(
    operator: str,
    inputs: list[Operand],
    output: Operand,
    bias: np.ndarray | None = None,
    domain: str = "",
    **attributes,
) -> bytes:
    """One QLinear* operator: each input followed by its scale and zero point, then the output's, then the bias."""
    graph = _Graph()
    names = []
    for index, operand in enumerate(inputs):
        name = graph.operand(f"x{index}", operand)
        names += [name, *graph.quantization(name, operand)]
    parameters = graph.quantization("y", output)
    if operator == "QLinearConcat":
        names = [*parameters, *names]
    else:
        names += parameters
    if bias is not None:
        names.append(graph.constant("bias", bias))
    graph.nodes.append(helper.make_node(operator, names, ["y"], domain=domain, **attributes))
    return graph.model([output], 13)


def run(model: bytes, *arrays: np.ndarray) -> np.ndarray:
    """The output of the model by onnxruntime with int8 kernels allowed."""
    return run_all(model, *arrays)[0]


def run_all(model: bytes, *arrays: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(output, types of the operators that really ran, after onnxruntime's graph optimisation)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session, operators = _session(model, options)
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))[0], operators


def _session(
    model: bytes, options: onnxruntime.SessionOptions
) -> tuple[onnxruntime.InferenceSession, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = folder + "/optimized.onnx"
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        operators = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    return session, operators
