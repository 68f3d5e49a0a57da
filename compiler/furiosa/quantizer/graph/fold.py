"""Computes what depends on constants only, such as weights that an exporter transposes or scales when the model runs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from furiosa.compiler.dfg.graph import Graph, Operator

MOST_BYTES = 1 << 28  # of one result; what is larger stays in the model
_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


def fold_constants(graph: Graph) -> None:
    """Replaces operators of constant inputs by their results, computed by onnx's reference implementation.

    What that does not know, or makes otherwise than the graph says, stays.
    """
    kept: list[Operator] = []
    for op in graph.operators:
        if not _can_fold(op, graph) or not _fold(op, graph):
            kept.append(op)
    graph.operators = kept


def _can_fold(op: Operator, graph: Graph) -> bool:
    plain = op.attributes.get("domain", "") == "" and not op.bodies and op.op_type not in _RANDOM
    if not plain or op.source is None or op.source.domain not in ("", "ai.onnx"):
        return False
    inputs, outputs = [t for t in op.inputs if t is not None], [t for t in op.outputs if t.name]
    if not inputs or not all(t.is_constant for t in inputs) or any(t in graph.outputs for t in outputs):
        return False
    return all(t.dtype in _NUMERIC and t.size * 8 <= MOST_BYTES for t in (*inputs, *outputs))


_NUMERIC = {"bool", "float32", "float64", "int32", "int64", "uint8", "int8", "float16"}


def _fold(op: Operator, graph: Graph) -> bool:
    node = onnx.NodeProto()
    node.CopyFrom(op.source)
    node.input[:] = [f"i{i}" if t is not None else "" for i, t in enumerate(op.inputs)]
    node.output[:] = [f"o{i}" if t.name else "" for i, t in enumerate(op.outputs)]
    feed = {f"i{i}": np.asarray(t.data) for i, t in enumerate(op.inputs) if t is not None}
    opsets = {d: v for d, v in graph.source.opsets.items()}
    try:
        results = ReferenceEvaluator(node, opsets=opsets).run([n for n in node.output if n], feed)
    except Exception:  # noqa: BLE001  whatever it cannot do, onnxruntime may do when the model runs
        return False
    made = [t for t in op.outputs if t.name]
    for t, value in zip(made, results, strict=True):
        if (
            not isinstance(value, np.ndarray | np.generic)
            or np.shape(value) != t.shape
            or str(np.asarray(value).dtype) != t.dtype
        ):
            return False
    for t, value in zip(made, results, strict=True):
        t.data = np.ascontiguousarray(value).reshape(t.shape)
        t.data.setflags(write=False)
    return True
