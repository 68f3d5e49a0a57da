"""float16 to float32: a model of half precision is quantised as the same model of single precision."""

from __future__ import annotations

import numpy as np
import onnx

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidModel

_NARROW, _WIDE = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
_TYPES = ("to", "dtype")  # attributes that name a type


def widen(graph: Graph) -> None:
    """Gives every float16 tensor float32, inputs and outputs as well, and takes the Casts out that then change nothing.

    Raises:
        InvalidModel: float16 in a model with loops or branches, whose bodies stay as they are.
    """
    tensors = [
        *graph.inputs,
        *(t for op in graph.operators for t in (*op.inputs, *op.outputs) if t is not None),
    ]
    narrow = dict.fromkeys(t for t in tensors if t.dtype == "float16")
    if not narrow:
        return
    for op in graph.operators:
        if op.bodies or "function" in op.attributes:
            raise InvalidModel(
                f"the model is of float16 and has {op.written_type} '{op.name}', whose inside cannot be made float32: export it in float32"
            )
    for t in narrow:
        t.dtype = "float32"
        if t.data is not None:
            t.data = t.data.astype(np.float32)
    for op in graph.operators:
        _retype(op)
    _without_casts(graph)


def _retype(op: Operator) -> None:
    """Attributes that name float16, or hold a tensor of it."""
    source = onnx.NodeProto()
    source.CopyFrom(op.source)
    for a in source.attribute:
        if a.name in _TYPES and a.i == _NARROW:
            a.i = _WIDE
            op.attributes = op.attributes | {a.name: int(_WIDE)}
        elif a.type == onnx.AttributeProto.TENSOR and a.t.data_type == _NARROW:
            values = onnx.numpy_helper.to_array(a.t).astype(np.float32)
            a.t.CopyFrom(onnx.numpy_helper.from_array(values, a.t.name))
            op.attributes = op.attributes | {a.name: values}
    op.source = source


def _without_casts(graph: Graph) -> None:
    made = {t for op in graph.operators for t in op.outputs}
    same: dict[Tensor, Tensor] = {}
    kept: list[Operator] = []
    for op in graph.operators:
        op.inputs = [same.get(t, t) if t is not None else None for t in op.inputs]
        x, y = op.inputs[0] if op.inputs else None, op.outputs[0]
        if op.op_type != "Cast" or x is None or not x.dtype == y.dtype == "float32":
            kept.append(op)
        elif y not in graph.outputs:
            same[y] = x
        elif x in made and x not in graph.outputs:  # what makes it makes the output, under its name
            x.name, same[y] = y.name, x
            graph.outputs = [x if t is y else t for t in graph.outputs]
        else:
            kept.append(op)
    graph.operators = kept
