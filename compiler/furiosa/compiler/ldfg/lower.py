"""Stage dfg -> ldfg."""

from __future__ import annotations

from collections.abc import Iterable

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.compiler.ldfg.verdict import Reason, Refused, Verdict


def lower(graph: Graph) -> Lowering:
    """Lowers every operator: to NPU operators, or to the host with all the reasons.

    The graph itself is not changed.
    """
    lowering = Lowering(graph)
    if graph.format == "tflite":
        _lower_tflite(lowering)
    else:
        from furiosa.compiler.ldfg.onnx import lower_onnx

        lower_onnx(lowering)
    lowering.current = []
    for t in graph.outputs:
        lowering.host(t)
    return lowering


def unknown_operator(op_type: str, known: Iterable[str]) -> Reason:
    """The reason for an operator that has no lowering."""
    return Reason(
        "operator-table",
        "This compiler does not place the operator on the NPU.",
        op_type,
        ", ".join(sorted(known)),
        "replace the operator, or leave it to the host",
    )


def _lower_tflite(lowering: Lowering) -> None:
    from furiosa.compiler.ldfg.tflite import LOWERINGS

    for op in lowering.graph.operators:
        lowering.current = [op]
        function = LOWERINGS.get(op.op_type)
        if function is None:
            lowering.to_host(op, Verdict("host", [unknown_operator(op.op_type, LOWERINGS)]))
            continue
        try:
            function(lowering, op)
            lowering.verdicts[op] = Verdict("npu")
        except Refused as refusal:
            lowering.to_host(op, Verdict("host", refusal.reasons))
