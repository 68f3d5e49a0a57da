"""The factors alpha and beta of a Gemm, put into its constants: with them nobody computes it in integers."""

from __future__ import annotations

import numpy as np
import onnx

from furiosa.compiler.dfg.graph import Graph, Operator
from furiosa.quantizer.graph.constants import set_input


def fold_factors(graph: Graph) -> None:
    """Folds where weights and bias are float32 constants, rounded once."""
    for op in graph.operators:
        if op.op_type == "Gemm" and not op.attributes.get("domain"):
            _fold(op)


def _fold(op: Operator) -> None:
    factors = {1: op.attributes.get("alpha", 1.0), 2: op.attributes.get("beta", 1.0)}
    given = {i: op.inputs[i] for i in (1, 2) if i < len(op.inputs) and op.inputs[i] is not None}
    if all(f == 1 for f in factors.values()) or not all(
        t.is_constant and t.dtype == "float32" for t in given.values()
    ):
        return
    for i, t in given.items():
        if factors[i] != 1:
            set_input(op, i, t.data.astype(np.float64) * factors[i])
    source = onnx.NodeProto()
    source.CopyFrom(op.source)
    kept = [a for a in source.attribute if a.name not in ("alpha", "beta")]
    del source.attribute[:]
    source.attribute.extend(kept)
    op.source = source
    op.attributes = op.attributes | {"alpha": 1.0, "beta": 1.0}
