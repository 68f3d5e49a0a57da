"""Writes a plan as an ONNX model with QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from furiosa.compiler.dfg.graph import HOST_REGION, Operator, Tensor
from furiosa.compiler.frontend.onnx import regions
from furiosa.compiler.frontend.onnx.constants import CODES
from furiosa.compiler.frontend.onnx.names import unused
from furiosa.quantizer.affine import Affine
from furiosa.quantizer.place import constants
from furiosa.quantizer.place.constants import Constant
from furiosa.quantizer.place.plan import Form, Plan

_MIN_IR_VERSION = 7


def write(plan: Plan) -> bytes:
    """The model; the same plan gives the same bytes.

    A tensor that a quantised operator makes keeps its name after DequantizeLinear; one that comes in float keeps it before QuantizeLinear.
    """
    return _Writer(plan).model()


class _Writer:
    def __init__(self, plan: Plan):
        self._plan = plan
        self._unit_of = plan.unit_of()
        self._affines = plan.affines()
        self._computed = {t for op in self._unit_of for t in op.outputs}  # which are never there in float
        graph = plan.graph
        tensors = [*graph.inputs, *(t for op in graph.operators for t in (*op.inputs, *op.outputs))]
        self._taken = {t.name for t in tensors if t is not None} | {op.name for op in graph.operators}
        self._raw: dict[Tensor, str] = {}  # the name of a tensor as it is made
        self._real: dict[Tensor, str] = {}  # and after DequantizeLinear
        self._numbers: dict[tuple[Tensor, bool], tuple[str, str]] = {}
        self._plain: dict[Tensor, str] = {}  # of constants that stay as they are
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def model(self) -> bytes:
        graph = self._plan.graph
        for t in graph.inputs:
            self._nodes += self._tensor(t, is_quantized=False)
        for op in graph.operators:
            self._operator(op)
        for t in graph.outputs:
            if t.is_constant:
                self._constant(t)
        functions = [op.attributes["function"] for op in graph.operators if op.op_type == HOST_REGION]
        opsets = graph.source.opsets | ({regions.DOMAIN: 1} if functions else {})
        written = helper.make_graph(
            self._nodes, "main", self._values(graph.inputs), self._values(graph.outputs), self._initializers
        )
        imports = [helper.make_opsetid(d, v) for d, v in sorted(opsets.items())]
        least = regions.MIN_IR_VERSION if functions else _MIN_IR_VERSION
        model = helper.make_model(
            written, opset_imports=imports, functions=functions, producer_name="furiosa.quantizer"
        )
        model.ir_version = max(graph.source.ir_version, least)
        return model.SerializeToString(deterministic=True)

    def _values(self, tensors: list[Tensor]) -> list[onnx.ValueInfoProto]:
        kinds = self._plan.types
        return [
            helper.make_tensor_value_info(t.name, CODES[kinds.get(t.name, t.dtype)], t.shape) for t in tensors
        ]

    def _operator(self, op: Operator) -> None:
        unit = self._unit_of.get(op)
        node = onnx.NodeProto()
        node.CopyFrom(op.source)
        node.name = op.name
        special = self._constants(op) if unit is not None else {}
        for i, t in enumerate(op.inputs[: len(node.input)]):
            if t is None:
                node.input[i] = ""
            elif i in special:
                node.input[i] = self._dequantized(special[i], f"{op.name}/{t.name}")
            elif t.is_constant:
                node.input[i] = self._constant(t)
            elif unit is not None or t in self._computed:
                node.input[i] = self._real.get(t, self._raw[t])
            else:
                node.input[i] = self._raw[t]
        for t in op.inputs[len(node.input) :]:
            if t is not None and t.is_constant:
                self._constant(t)
        self._nodes.append(node)
        for i, t in enumerate(op.outputs):
            if t.name:
                after = self._tensor(t, is_quantized=unit is not None)
                node.output[i] = self._raw[t]
                self._nodes += after

    def _constants(self, op: Operator) -> dict[int, Constant]:
        """The constants that an operator of a quantised unit has as integers, by the input's place."""
        found: dict[int, Constant] = {}
        if constants.has_weights(op) and op.inputs[0] in self._affines:
            found[1], bias = constants.weights(op, self._affines[op.inputs[0]])
            if bias is not None and constants.takes_bias(op):
                found[2] = bias
        if self._plan.forms[self._unit_of[op]] == Form.CONSTANTS:
            found |= {i: constants.operand(op.inputs[i]) for i in constants.operands(op)}
        return found

    # -- tensors ------------------------------------------------------------------------------------------------------------

    def _tensor(self, t: Tensor, *, is_quantized: bool) -> list[onnx.NodeProto]:
        """Names a tensor and gives what quantises it."""
        by = self._affines.get(t)
        if by is None:
            self._raw[t] = t.name
            return []
        kind = self._plan.types.get(t.name)
        if t in self._plan.graph.inputs and kind is not None:
            return self._typed_input(t, by, kind)
        self._raw[t] = unused(f"{t.name}/float", self._taken) if is_quantized or kind else t.name
        self._real[t] = t.name if is_quantized and not kind else unused(f"{t.name}/dequantized", self._taken)
        integers = t.name if kind == "int8" else unused(f"{t.name}/int8", self._taken)
        nodes = [
            *self._quantize(t, by, self._raw[t], integers),
            *self._dequantize(t, by, integers, self._real[t]),
        ]
        return nodes + (
            self._quantize(t, by, self._real[t], t.name, unsigned=True) if kind == "uint8" else []
        )

    def _typed_input(self, t: Tensor, by: Affine, kind: str) -> list[onnx.NodeProto]:
        """An input that comes as integers; uint8 ones become int8 of the same real numbers."""
        self._raw[t] = self._real[t] = unused(f"{t.name}/dequantized", self._taken)
        if kind == "int8":
            return self._dequantize(t, by, t.name, self._real[t])
        real, integers = unused(f"{t.name}/uint8", self._taken), unused(f"{t.name}/int8", self._taken)
        nodes = self._dequantize(t, by, t.name, real, unsigned=True)
        return [
            *nodes,
            *self._quantize(t, by, real, integers),
            *self._dequantize(t, by, integers, self._real[t]),
        ]

    def _quantize(
        self, t: Tensor, by: Affine, x: str, y: str, *, unsigned: bool = False
    ) -> list[onnx.NodeProto]:
        return [self._convert("QuantizeLinear", t, by, x, y, unsigned)]

    def _dequantize(
        self, t: Tensor, by: Affine, x: str, y: str, *, unsigned: bool = False
    ) -> list[onnx.NodeProto]:
        return [self._convert("DequantizeLinear", t, by, x, y, unsigned)]

    def _convert(self, kind: str, t: Tensor, by: Affine, x: str, y: str, unsigned: bool) -> onnx.NodeProto:
        scale, zero = self._parameters(t, by, unsigned)
        return helper.make_node(kind, [x, scale, zero], [y], unused(f"{t.name}/{kind}", self._taken))

    def _parameters(self, t: Tensor, by: Affine, unsigned: bool) -> tuple[str, str]:
        """The names of scale and zero point, the same for all that quantises a tensor."""
        key = (t, unsigned)
        if key not in self._numbers:
            zero = np.uint8(by.zero_point + 128) if unsigned else np.int8(by.zero_point)
            self._numbers[key] = (
                self._initializer(np.asarray(by.scale, np.float32), f"{t.name}/scale"),
                self._initializer(np.asarray(zero), f"{t.name}/zero_point"),
            )
        return self._numbers[key]

    def _dequantized(self, constant: Constant, name: str) -> str:
        """An integer constant with its DequantizeLinear, whose result's name this returns."""
        integers = self._initializer(constant.data, f"{name}/int")
        scale = self._initializer(constant.scale, f"{name}/scale")
        zeros = np.full(constant.scale.shape, constant.zero_point, constant.data.dtype)
        zero = self._initializer(zeros, f"{name}/zero_point")
        real, node = unused(name, self._taken), unused(f"{name}/DequantizeLinear", self._taken)
        axis = {} if constant.axis is None else {"axis": constant.axis}
        self._nodes.append(
            helper.make_node("DequantizeLinear", [integers, scale, zero], [real], node, **axis)
        )
        return real

    def _constant(self, t: Tensor) -> str:
        """A constant as it is."""
        if t not in self._plain:
            self._plain[t] = t.name
            message = onnx.TensorProto(name=t.name, dims=t.shape, data_type=CODES[t.dtype])
            if t.dtype == "string":
                message.string_data.extend(t.data.reshape(-1).tolist())
            else:
                message.raw_data = np.ascontiguousarray(t.data).tobytes()
            self._initializers.append(message)
        return self._plain[t]

    def _initializer(self, data: np.ndarray, name: str) -> str:
        name = unused(name, self._taken)
        self._initializers.append(
            numpy_helper.from_array(np.ascontiguousarray(data).reshape(data.shape), name)
        )
        return name
