"""Multiply-accumulates of an operator, for coverage figures and cost estimates.

They are those of the operator's definition, whatever algorithm computes it: of convolutions, matrix products and what is made
of them (recurrent layers, attention, Einsum, Fourier transforms), also inside of loops and branches.  Padding counts as if it were
data, as in the published figures of the usual networks.  What multiplies element by element, interpolates, normalises or
adds has none.

Every operator of either format is in one table of ``macs_onnx`` and ``macs_tflite``: it multiplies, it does not, or nobody can
tell how much before the model runs.  What is in no table is unknown, never 0.
"""

from __future__ import annotations

from furiosa.compiler.dfg import macs_onnx, macs_tflite
from furiosa.compiler.dfg.graph import Graph, Operator
from furiosa.compiler.dfg.macs_common import Unknown

__all__ = ("LARGEST", "Unknown", "count", "macs", "total")

LARGEST = (1 << 64) - 1  # that files and reports can state; sums end there


def count(op: Operator, source_format: str) -> int:
    """Multiply-accumulates of one run of an operator.

    Args:
        source_format: "onnx" or "tflite"; some names of operators are in both.

    Raises:
        Unknown: nobody can tell; its text is the reason, a clause.
    """
    return min(macs_tflite.count(op) if source_format == "tflite" else macs_onnx.count(op), LARGEST)


def macs(op: Operator, source_format: str) -> int | None:
    """The same; None where nobody can tell."""
    try:
        return count(op, source_format)
    except Unknown:
        return None


def total(graph: Graph, operators: list[Operator]) -> int:
    """The multiply-accumulates of some operators of a graph, as far as they are known."""
    return min(sum(macs(op, graph.format) or 0 for op in operators), LARGEST)
