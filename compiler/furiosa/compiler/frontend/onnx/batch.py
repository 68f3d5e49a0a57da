"""Which ONNX operators keep the samples of a batch apart, and what of them changes with the batch size."""

from __future__ import annotations

import math

from furiosa.compiler.dfg.graph import Graph, Operator
from furiosa.compiler.frontend import batch as engine
from furiosa.compiler.frontend import batch_rules as rules
from furiosa.compiler.frontend.batch import Along, Batch, Mixed, Rule
from furiosa.compiler.frontend.batch_rules import constant


def apply_batch(graph: Graph, size: int) -> None:
    """Multiplies dimension 0 of inputs and outputs, and what lies between.

    Raises:
        InvalidModel: an operator mixes samples.
    """
    engine.apply_batch(graph, size, _RULES)


def _axis(default: int):
    return lambda op: [op.attributes.get("axis", default)]


def _from_axis(op: Operator) -> range:
    """All dimensions from an axis on: LayerNormalization, and Softmax before opset 13 (later ones have less)."""
    rank = len(op.inputs[0].shape)
    return range(op.attributes.get("axis", -1) % max(rank, 1), rank)


def _axes(op: Operator) -> list[int]:
    """Axes by attribute or, in newer opsets, by input; none means all."""
    axes = constant(op, 1, "axes")
    axes = op.attributes.get("axes", []) if axes is None else axes.reshape(-1).tolist()
    if axes or op.attributes.get("noop_with_empty_axes", 0):
        return axes
    return list(range(len(op.inputs[0].shape)))


def _squeezed(op: Operator) -> list[int]:
    axes = constant(op, 1, "axes")
    axes = op.attributes.get("axes") if axes is None else axes.reshape(-1).tolist()
    return [i for i, d in enumerate(op.inputs[0].shape) if d == 1] if axes is None else axes


def _unsqueeze(op: Operator, batch: Batch) -> int:
    return rules.insert(rules.only(op, batch), _axes(op), len(op.outputs[0].shape))


def _one_hot(op: Operator, batch: Batch) -> int:
    return rules.insert(rules.only(op, batch), _axis(-1)(op), len(op.outputs[0].shape))


def _quantize(op: Operator, batch: Batch) -> int:
    axis = rules.only(op, batch)
    scale, rank = op.inputs[1].shape, len(op.inputs[0].shape)
    if scale not in ((), (1,)) and (len(scale) > 1 or op.attributes.get("axis", 1) % rank == axis):
        raise Mixed(f"has scales along dimension {axis}, which has the samples")
    return axis


def _max_pool(op: Operator, batch: Batch) -> int:
    if len(op.outputs) > 1 and op.outputs[1].name:
        raise Mixed("counts its indices through all samples")
    return rules.first_input(op, batch)


def _slice(op: Operator, batch: Batch) -> int:
    """The samples' dimension may be sliced if all of it is taken: from 0 in steps of 1 to its size or beyond."""
    axis, shape = rules.only(op, batch), op.inputs[0].shape
    fixed = "starts" in op.attributes  # before opset 10
    if fixed:
        starts, ends, axes, steps = (op.attributes.get(n) for n in ("starts", "ends", "axes", "steps"))
    else:
        starts, ends, axes, steps = (constant(op, i, "bounds") for i in (1, 2, 3, 4))
    axes = [int(a) % len(shape) for a in (range(len(starts)) if axes is None else axes)]
    if axis in axes:
        i, size = axes.index(axis), shape[axis] * batch.size
        whole = starts[i] == 0 and ends[i] >= shape[axis] and (steps is None or steps[i] == 1)
        if not whole or fixed and ends[i] < size:
            raise Mixed(f"slices dimension {axis}, which has the samples")
        if ends[i] < size:
            ends = ends.copy()
            ends[i] = size
            batch.change(op, 2, ends)
    return axis


def _reshape(op: Operator, batch: Batch) -> int:
    if "shape" in op.attributes:
        raise Mixed("has its target shape as an attribute, as before opset 5")
    return rules.reshape(op, batch)


def _pad(op: Operator, batch: Batch) -> int:
    axis = rules.only(op, batch)
    if len(op.inputs) > 3 and op.inputs[3] is not None:
        rules.leave(axis, constant(op, 3, "axes"), len(op.inputs[0].shape))
        return axis
    pads = op.attributes.get("pads")  # before opset 11
    if pads is None:
        return rules.pad(op, batch)
    if pads[axis] or pads[axis + len(pads) // 2]:
        raise Mixed(f"pads dimension {axis}, which has the samples")
    return axis


def _resize(op: Operator, batch: Batch) -> int:
    axis, rank = rules.first_input(op, batch), len(op.inputs[0].shape)
    if op.outputs[0].shape[0] != op.inputs[0].shape[0]:
        raise Mixed("resizes dimension 0, which has the samples")
    axes = [a % rank for a in op.attributes.get("axes", range(rank))]
    if 0 in axes:
        rules.scale(op, batch, 3, axes.index(0))
        if op.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
            raise Mixed("crops by regions of interest")
    return axis


def _flatten(op: Operator, batch: Batch) -> Along:
    axis, shape = rules.only(op, batch), op.inputs[0].shape
    split = op.attributes.get("axis", 1)
    split += len(shape) if split < 0 else 0
    target, begin = (0, 0) if axis < split else (1, split)
    return Along(target, math.prod(shape[begin:axis]) * batch.outer(op))


def _gemm(op: Operator, batch: Batch) -> int:
    quantized = op.op_type == "QGemm"
    position = 6 if quantized else 2
    a, b, c = (op.inputs[i] if i < len(op.inputs) else None for i in (0, 3 if quantized else 1, position))
    if b in batch or a not in batch or batch.axis(a) != op.attributes.get("transA", 0):
        raise Mixed(f'sums over dimension 0 of "{(b if b in batch else a).name}", or takes it transposed')
    if c in batch and (len(c.shape) != 2 or batch.axis(c) != 0 or c.shape[0] != op.outputs[0].shape[0]):
        raise Mixed(f'spreads "{c.name}" over dimension 0')
    if c is not None and c not in batch and len(c.shape) == 2 and c.shape[0] != 1:
        batch.repeat(op, position, 0)
    return 0


def _gather_nd(op: Operator, batch: Batch) -> int:
    return rules.gather_nd(op, batch, op.attributes.get("batch_dims", 0))


def _recurrent(op: Operator, batch: Batch) -> list[int]:
    """X [time, batch, input] or, with layout 1, [batch, time, input]; the states [directions, batch, hidden]."""
    first = op.attributes.get("layout", 0) == 1
    state = 0 if first else 1
    places = {0: state, 4: 0, 5: state, 6: state}  # X, sequence_lens, initial_h, initial_c
    for i, tensor in enumerate(op.inputs):
        if tensor in batch:
            if places.get(i) != batch.axis(tensor):
                raise Mixed(f'has no batch along dimension {batch.axis(tensor)} of "{tensor.name}"')
        elif i in places and tensor is not None:
            batch.repeat(op, i, places[i])
    return [0 if first else 2, state, state][: len(op.outputs)]


def _einsum(op: Operator, batch: Batch) -> int:
    """The samples have one letter, which stays."""
    left, arrow, right = op.attributes["equation"].replace(" ", "").partition("->")
    terms = left.split(",")
    letters = {term[batch.axis(t)] for term, t in zip(terms, op.inputs) if t in batch}
    if "." in left or not arrow or len(letters) != 1 or (letter := letters.pop()) not in right:
        raise Mixed("sums over the samples, or has no one letter for them")
    for i, (term, tensor) in enumerate(zip(terms, op.inputs)):
        if term.count(letter) > 1:
            raise Mixed("multiplies the samples with one another")
        if tensor not in batch and letter in term:
            batch.repeat(op, i, term.index(letter))
    return right.index(letter)


def _matrices(op: Operator) -> list[int]:
    return [-2, -1]


_ELEMENTWISE = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BiasGelu BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu
Clip Cos Cosh Div Dropout Elu Equal Erf Exp FastGelu Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity
IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QLinearAdd QLinearLeakyRelu
QLinearMul QLinearSigmoid QLinearWhere QuickGelu Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_FIRST_INPUT = """
AveragePool Conv ConvInteger ConvTranspose DepthToSpace FusedConv GlobalAveragePool GlobalLpPool
GlobalMaxPool GroupNormalization InstanceNormalization LRN LpPool QLinearAveragePool QLinearConv
QLinearGlobalAveragePool SpaceToDepth
"""
_REDUCE = """
CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare
"""
_FROM_AXIS = "Hardmax LayerNormalization LogSoftmax QLinearSoftmax RMSNormalization Softmax"

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), rules.elementwise),
    **dict.fromkeys(_FIRST_INPUT.split(), rules.first_input),
    **dict.fromkeys(_REDUCE.split(), rules.along(_axes)),
    **dict.fromkeys(_FROM_AXIS.split(), rules.along(_from_axis)),
    **dict.fromkeys(("ArgMax", "ArgMin", "Split"), rules.along(_axis(0))),
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), _quantize),
    **dict.fromkeys(("FusedGemm", "Gemm", "QGemm"), _gemm),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
    **dict.fromkeys(("GatherElements", "ScatterElements"), rules.same(_axis(0))),
    **dict.fromkeys(("LpNormalization", "TopK"), rules.along(_axis(-1))),
    **dict.fromkeys(("MatMul", "MatMulInteger"), rules.matmul),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "BatchNormalization": rules.along(lambda op: [1]),
    "Concat": rules.concatenate(lambda op: op.attributes["axis"]),
    "Einsum": _einsum,
    "Expand": rules.expand,
    "Flatten": _flatten,
    "Gather": lambda op, batch: rules.gather(op, batch, op.attributes["axis"]),
    "GatherND": _gather_nd,
    "GridSample": rules.same(lambda op: range(1, len(op.inputs[0].shape))),
    "MaxPool": _max_pool,
    "OneHot": _one_hot,
    "Pad": _pad,
    "QLinearConcat": rules.concatenate(lambda op: op.attributes["axis"], slice(2, None, 3)),
    "QLinearMatMul": lambda op, batch: rules.matmul(op, batch, (0, 3)),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": rules.along(_squeezed, removes=True),
    "Tile": rules.tile,
    "Transpose": rules.transpose(lambda op: op.attributes.get("perm", range(len(op.inputs[0].shape))[::-1])),
    "Trilu": rules.along(_matrices),
    "Unsqueeze": _unsqueeze,
}
