"""Cuts operators out of an imported ONNX model as an ONNX model of their own, for the reference runtime."""

from __future__ import annotations

import numpy as np
import onnx

from furiosa.compiler.dfg.graph import HOST_REGION, Graph, Operator, Tensor
from furiosa.compiler.frontend.borders import check_borders
from furiosa.compiler.frontend.onnx import regions, wire
from furiosa.compiler.frontend.onnx.constants import CODES
from furiosa.compiler.frontend.onnx.names import unused

# Since IR version 4 an initialiser need not be an input as well.
_MIN_IR_VERSION = 4


def extract(graph: Graph, operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor]) -> bytes:
    """Builds an ONNX model of ``operators`` (in topological order) with the given inputs and outputs.

    Attributes, subgraphs and operator sets are those of the imported model; constants are those of the dfg, which a
    batch size may have changed.  The same arguments give the same bytes.

    Raises:
        InvalidModel: a value that is no dense tensor would have to cross the model's border.
    """
    check_borders((*inputs, *outputs), "between host and NPU")
    names = _Names([*inputs, *outputs])
    borders = [_value_info(t, names) for t in (*inputs, *outputs)]
    captured = [t for op in operators for t in op.inputs[len(op.source.input) :] if t is not None]
    for tensor in captured:  # subgraphs know these by name
        names.of(tensor)
    copies = [names.apart(t) for t in outputs if t not in captured and _is_quantized_later(t, operators)]
    given = {id(t) for t in inputs}
    nodes = []
    constants: dict[int, Tensor] = {}
    for op in operators:
        node = onnx.NodeProto()
        node.CopyFrom(op.source)
        if node.name:  # onnxruntime wants a name only once
            node.name = op.name
        explicit = op.inputs[: len(node.input)]
        node.input[:] = [names.of(t) if t is not None else "" for t in explicit]
        node.output[:] = [names.of(t) if t.name else "" for t in op.outputs]
        nodes.append(node)
        constants |= {id(t): t for t in op.inputs if t is not None and t.is_constant and id(t) not in given}
    constants |= {id(t): t for t in outputs if t.is_constant and id(t) not in given}
    small, big = [], []
    for tensor in constants.values():
        message = onnx.TensorProto(name=names.of(tensor), dims=tensor.shape, data_type=CODES[tensor.dtype])
        if tensor.dtype == "string":
            message.string_data.extend(tensor.data.reshape(-1).tolist())
            small.append(message)
        else:
            raw = np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8)
            big.append((message.SerializeToString(deterministic=True), memoryview(raw)))
    functions = [op.attributes["function"] for op in operators if op.op_type == HOST_REGION]
    opsets = graph.source.opsets | ({regions.DOMAIN: 1} if functions else {})
    model = onnx.ModelProto(
        ir_version=max(graph.source.ir_version, regions.MIN_IR_VERSION if functions else _MIN_IR_VERSION),
        opset_import=[onnx.OperatorSetIdProto(domain=d, version=v) for d, v in sorted(opsets.items())],
        functions=functions,
        graph=onnx.GraphProto(
            name="main",
            node=[*nodes, *copies],
            input=borders[: len(inputs)],
            output=borders[len(inputs) :],
            initializer=small,
        ),
    )
    return wire.join(model.SerializeToString(deterministic=True), big)


# Past these onnxruntime looks for the QuantizeLinear of what an operator makes
_BEFORE_QUANTIZE = ("Clip", "MaxPool", "Relu", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")


def _is_quantized_later(t: Tensor, operators: list[Operator]) -> bool:
    """Whether an output is also quantised, perhaps after a move or an activation.

    onnxruntime counts the operators that read a tensor, not that it is an output (1.32): so it would fuse what makes this one with its
    quantisation, and quantise the output itself or a bias.  In the whole model there is another reader.
    """
    if t.dtype != "float32" or t.is_constant:
        return False
    found = {t}
    for op in operators:
        if op.inputs and op.inputs[0] in found:
            if op.op_type == "QuantizeLinear":
                return True
            if op.op_type in _BEFORE_QUANTIZE:
                found.add(op.outputs[0])
    return False


class _Names:
    """One name for every tensor; who comes first keeps its own."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._names: dict[int, str] = {}
        self._taken: set[str] = set()
        for tensor in tensors:
            self.of(tensor)

    def of(self, tensor: Tensor) -> str:
        name = self._names.get(id(tensor))
        if name is None:
            name = self._names[id(tensor)] = unused(tensor.name, self._taken)
        return name

    def apart(self, tensor: Tensor) -> onnx.NodeProto:
        """Another name for what makes and reads a tensor from now on, and the node that copies it to the one it had."""
        before = self.of(tensor)
        self._names[id(tensor)] = unused(before, self._taken)
        return onnx.helper.make_node("Identity", [self.of(tensor)], [before])


def _value_info(tensor: Tensor, names: _Names) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(names.of(tensor), CODES[tensor.dtype], tensor.shape)
