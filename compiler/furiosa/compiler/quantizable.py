"""The one door through which the quantiser asks what the NPU takes: it tries, and the lowering answers."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.ldfg import vendor
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.onnx import chains
from furiosa.compiler.ldfg.onnx.units import ACTIVATIONS, MOVES, SLOPES
from furiosa.compiler.ldfg.verdict import Reason

# operators that a convolution takes along, or any other operator
AFTER_CONVOLUTION, AFTER_ANY = SLOPES, ACTIVATIONS
# operators whose result holds values of their input and no others, so that both have one scale
SHARING = (*MOVES, "Identity", "MaxPool", "Split")


def host_operators(model: bytes, release: str = vendor.LATEST) -> dict[str, list[Reason]]:
    """The operators of a quantised ONNX model that the NPU does not take, by name, each with all the reasons.

    Raises:
        CompileError: the model cannot be imported.
    """
    lowering = lower(import_model(model), release)
    return {op.name: v.reasons for op, v in lowering.verdicts.items() if v.placed_on == "host"}


def is_function(op: Operator) -> bool:
    """Whether an operator can be part of one table: it computes each number of its result from one number, or from two."""
    return chains.takes(op)
