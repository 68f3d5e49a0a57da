"""Lowering of ONNX: which function lowers which operator, after the arithmetic of onnxruntime's quantised kernels.

Each rule of arithmetic is stated, and tested against onnxruntime, in tests/reference.
"""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import HOST_REGION, Graph, Operator
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx import chains, moments, moved_reals, units
from furiosa.compiler.ldfg.onnx.contraction import conv, gemm
from furiosa.compiler.ldfg.onnx.conv_transpose import conv_transpose
from furiosa.compiler.ldfg.onnx.elementwise import add, by_constant, div, maximum, mul
from furiosa.compiler.ldfg.onnx.layer_norm import layer_normalization
from furiosa.compiler.ldfg.onnx.move import (
    concat,
    depth_to_space,
    expand,
    gather,
    pad,
    reshape,
    slice_,
    split,
    transpose,
)
from furiosa.compiler.ldfg.onnx.normalization import batch_normalization
from furiosa.compiler.ldfg.onnx.pool import average_pool, global_max_pool, max_pool
from furiosa.compiler.ldfg.onnx.quantization import dequantize, quantize
from furiosa.compiler.ldfg.onnx.reduce import (
    global_average_pool,
    lp_normalization,
    reduction,
    softmax,
    total,
)
from furiosa.compiler.ldfg.onnx.resize import resize
from furiosa.compiler.ldfg.onnx.stated import Oddity, annotate
from furiosa.compiler.ldfg.onnx.unary import FUNCTIONS, unary
from furiosa.compiler.ldfg.onnx.units import DEQUANTIZE, Unit
from furiosa.compiler.ldfg.verdict import Reason, Refused, Verdict, failures

MIN_OPSET = 7


def lower_onnx(graph: Graph, release: str, tell: Callable[[str], None]) -> Lowering:
    """Lowers the graph unit by unit."""
    graph, odd, twins = annotate(graph)
    low = Lowering(graph, release)
    moved: units.Moved = {}
    finders = (chains.find, moved_reals.find, moments.find)
    all_units = units.units(low.graph, low.producer, low.consumers, moved, twins, *finders)
    low.twins = {q.outputs[0]: first.outputs[0] for q, first in twins.items()}
    for real, integers in moved.items():
        low.same_values(integers.tensor, real)
        if not integers.apart:
            low.taken_along.add(real)
    for i, unit in enumerate(all_units):
        tell(f"operator {i + 1} of {len(all_units)}")
        low.current = unit.operators
        try:
            _lower(low, unit, odd)
        except Refused as refusal:
            for op in unit.operators:
                _to_host(low, op, refusal.reasons)
    for op in low.graph.operators:  # a unit on the NPU takes the operators around it along
        low.verdicts.setdefault(op, Verdict("npu"))
    return low


def _to_host(low: Lowering, op: Operator, reasons: list[Reason]) -> None:
    """Places an operator on the host, and before it what makes real numbers of integers for it.

    For onnxruntime computes a DequantizeLinear, the moves after it and their reader in one, and the reader alone otherwise.
    """
    waiting = [(op, reasons)]
    while waiting:
        op, reasons = waiting[-1]
        sources = [] if op in low.verdicts else [low.producer[t] for t in op.inputs if t in low.producer]
        before = [p for p in sources if p not in low.verdicts and _is_companion(low, p)]
        if before:
            facts = Facts(before[0].op_type, [], [], neighbour=f"{op.written_type} '{op.name}'")
            waiting.append((before[0], failures((rules.beside_host,), facts)))
            continue
        waiting.pop()
        if op not in low.verdicts:
            low.to_host(op, Verdict("host", reasons))
            if _is_companion(low, op):
                low.companions.add(op)


def _is_companion(low: Lowering, op: Operator) -> bool:
    """Whether an operator makes real numbers of integers, for onnxruntime too."""
    return op.op_type == DEQUANTIZE or op.outputs[0] in low.taken_along


def _lower(low: Lowering, unit: Unit, odd: dict[Operator, Oddity]) -> None:
    op = unit.op
    if unit.output is not None and unit.output.is_constant:
        return  # weights that are moved: whoever reads them has them moved already
    low.check_elements(unit.operators)
    function = _function(unit)
    rule, found = None, ""
    for member in unit.operators if unit.steps else unit.chain:
        low.check_release(member)
    if op.op_type == HOST_REGION:
        rule = rules.dense_tensors
    elif low.graph.source.opsets[""] < MIN_OPSET:
        rule = rules.operator_set
    elif strange := [odd[m] for m in (*unit.operators, *unit.dequantizes) if m in odd]:
        rule, found = strange[0]
    elif function is None or op.attributes.get("domain", "") not in ("", "com.microsoft"):
        rule = rules.operator_table
    if op.attributes.get("channels_last", 0):
        facts = Facts(op.op_type, [], [], attribute="channels_last")
        raise Refused(failures((rules.supported_attributes,), facts))
    if rule is not None:
        raise Refused(failures((rule,), Facts(op.op_type, [], [], attribute=found)))
    low.gap = "" if unit.fused else units.gap(op, low.producer, low.consumers, low.results)
    with low.transaction():
        for step in unit.steps or [unit]:
            low.apply(units.plain_type(step.op), _function(step), step)
            for move in step.moves:
                low.apply(move.op.op_type, LOWERINGS[move.op.op_type], move)


def _function(unit: Unit) -> Callable[[Lowering, Unit], None] | None:
    """What lowers a unit; None where nothing does."""
    if unit.function is not None:
        return unit.function
    return chains.chain if unit.chain else LOWERINGS.get(units.plain_type(unit.op))


LOWERINGS: dict[str, Callable[[Lowering, Unit], None]] = {
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DepthToSpace": depth_to_space,
    "DequantizeLinear": dequantize,
    "Div": div,
    "Dropout": reshape,
    "Expand": expand,
    "Flatten": reshape,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "Identity": reshape,
    "LayerNormalization": layer_normalization,
    "LpNormalization": lp_normalization,
    "MatMul": gemm,
    "Max": maximum,
    "MaxPool": max_pool,
    "Min": maximum,
    "Mean": total,
    "Mul": mul,
    "PRelu": by_constant,
    "Pad": pad,
    "QuantizeLinear": quantize,
    "RMSNormalization": layer_normalization,
    "ReduceL2": reduction,
    "ReduceMax": reduction,
    "ReduceMean": reduction,
    "ReduceMin": reduction,
    "ReduceSum": reduction,
    "Reshape": reshape,
    "Resize": resize,
    "SimplifiedLayerNormalization": layer_normalization,
    "Slice": slice_,
    "Softmax": softmax,
    "SpaceToDepth": depth_to_space,
    "Split": split,
    "Squeeze": reshape,
    "Sub": add,
    "Sum": total,
    "Tile": expand,
    "Transpose": transpose,
    "Unsqueeze": reshape,
    **dict.fromkeys(FUNCTIONS, unary),
}
