"""What an ldfg must be.

- Every source operator has a verdict: "npu" without reasons, or "host" with at least one.
- What has the verdict "host" is there as it was in the source, and nothing else of the source is.
- Every other operator is an NPU operator: its type known, all inputs given, one output, element types that have a size.
- The order rule of the dfg holds.
"""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.dfg.legality import Illegal, check_order
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.enf.dtypes import ITEMSIZE


def check(lowering: Lowering) -> None:
    """Checks the rules above.

    Raises:
        Illegal: a rule is broken.
    """
    graph = lowering.graph
    on_host = set()
    for op in graph.operators:
        verdict = lowering.verdicts.get(op)
        if verdict is None:
            raise Illegal("ldfg", f"operator '{op.name}' ({op.op_type}) has no verdict")
        if (verdict.placed_on, bool(verdict.reasons)) not in (("npu", False), ("host", True)):
            raise Illegal(
                "ldfg",
                f"operator '{op.name}' is placed on {verdict.placed_on} for {len(verdict.reasons)} reasons",
            )
        if verdict.placed_on == "host":
            on_host.add(op)
    for op in lowering.operators:
        if op in on_host:
            on_host.discard(op)
        else:
            _check_npu(op)
    if on_host:
        raise Illegal(
            "ldfg", f"the host operator '{next(op.name for op in graph.operators if op in on_host)}' is lost"
        )
    check_order("ldfg", graph.inputs, lowering.operators, graph.outputs)


def _check_npu(op: Operator) -> None:
    if not op.op_type.startswith("npu."):
        raise Illegal("ldfg", f"operator '{op.name}' ({op.op_type}) is there and not on the host")
    if len(op.outputs) != 1 or any(t is None for t in op.inputs):
        raise Illegal(
            "ldfg", f"the NPU operator '{op.name}' ({op.op_type}) has not one output, or lacks an input"
        )
    for t in (*op.inputs, *op.outputs):
        if t.dtype not in ITEMSIZE:
            raise Illegal(
                "ldfg", f"the NPU operator '{op.name}' ({op.op_type}) is on '{t.name}' of type {t.dtype}"
            )
