"""What a dfg must be.

- Every dimension is a number, not negative.
- A constant's data has the tensor's type and shape, for the types that numpy has.
- A tensor is made once: by the model's inputs, as a constant, or by one operator.
- What an operator reads, and what the model gives, has been made before.
"""

from __future__ import annotations

from collections.abc import Iterable

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import CompileError
from furiosa.enf.command import OTHER, PLEASE_REPORT


class Illegal(CompileError):
    """An IR that breaks its own rules: a defect of this compiler, not of the model."""

    code = OTHER

    def __init__(self, ir: str, what: str):
        super().__init__(f"internal compiler error, an illegal {ir} was made ({what}); {PLEASE_REPORT}")


def check(graph: Graph) -> None:
    """Checks the rules above.

    Raises:
        Illegal: a rule is broken.
    """
    check_order("dfg", graph.inputs, graph.operators, graph.outputs)
    for op in graph.operators:
        for t in op.outputs:
            _check_tensor(t)
        for t in op.inputs:
            if t is not None and t.data is not None:
                _check_tensor(t)
    for t in graph.inputs:
        _check_tensor(t)


def check_order(
    ir: str, inputs: Iterable[Tensor], operators: Iterable[Operator], outputs: Iterable[Tensor]
) -> None:
    """Every tensor is made once, and before it is read; the stages up to cdfg share this rule."""
    made = set(inputs)
    for op in operators:
        for t in op.inputs:
            if t is not None and t.data is None and t not in made:
                raise Illegal(ir, f"operator '{op.name}' ({op.op_type}) reads '{t.name}' before it is made")
        for t in op.outputs:
            if t in made or t.data is not None:
                raise Illegal(
                    ir, f"operator '{op.name}' ({op.op_type}) makes '{t.name}', which is made elsewhere"
                )
            made.add(t)
    for t in outputs:
        if t.data is None and t not in made:
            raise Illegal(ir, f"the output '{t.name}' is never made")


def _check_tensor(t: Tensor) -> None:
    if any(not isinstance(d, int) or d < 0 for d in t.shape):
        raise Illegal("dfg", f"tensor '{t.name}' has the shape {t.shape}")
    if t.data is not None and t.data.dtype.name == t.dtype and t.data.shape != t.shape:
        raise Illegal("dfg", f"constant '{t.name}' of shape {t.shape} has data of shape {t.data.shape}")
