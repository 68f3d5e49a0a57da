"""Which ONNX operators keep the samples of a batch apart, and what of them changes with the batch size."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Graph, Operator
from furiosa.compiler.frontend import batch as engine
from furiosa.compiler.frontend.batch import Batch, Mixed, Rule, constant


def apply_batch(graph: Graph, size: int) -> None:
    """Multiplies dimension 0 of inputs, outputs and what lies between.

    Raises:
        InvalidModel: an operator mixes samples.
    """
    engine.apply_batch(graph, size, _RULES)


def _axis(default: int):
    return lambda op: [op.attributes.get("axis", default)]


def _axes(op: Operator) -> list[int]:
    """Axes by attribute or, in newer opsets, by input; none means all, as far as this is about dimension 0."""
    axes = constant(op, 1, "axes")
    if axes is None:
        return op.attributes.get("axes", [0])
    return axes.reshape(-1).tolist() or [0]


def _squeeze(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    engine.leave_dimension_0(_axes(op), len(op.inputs[0].shape))


def _unsqueeze(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    engine.leave_dimension_0(_axes(op), len(op.outputs[0].shape))


def _quantize(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    rank = len(op.inputs[0].shape)
    scale = op.inputs[1].shape
    if scale not in ((), (1,)) and (len(scale) > 1 or op.attributes.get("axis", 1) % rank == 0):
        raise Mixed("has scales along dimension 0")


def _max_pool(op: Operator, batch: Batch) -> None:
    if len(op.outputs) > 1 and op.outputs[1].name:
        raise Mixed("counts its indices through all samples")
    engine.first_input(op, batch)


def _gather(op: Operator, batch: Batch) -> None:
    data, indices = op.inputs
    along_0 = op.attributes["axis"] % max(len(data.shape), 1) == 0
    if data in batch and indices in batch or along_0 == (data in batch):
        raise Mixed("gathers along dimension 0")


def _slice(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    rank = len(op.inputs[0].shape)
    starts = op.attributes.get("starts") or constant(op, 1, "bounds").tolist()
    axes = op.attributes.get("axes") or constant(op, 3, "axes")
    engine.leave_dimension_0(range(len(starts)) if axes is None else axes, rank)


def _expand(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    data, out = op.inputs[0].shape, op.outputs[0].shape
    if len(data) != len(out) or data[0] != out[0]:
        raise Mixed("spreads its input over dimension 0")
    shape = constant(op, 1, "a target shape whose numbers")
    if len(shape) == len(out) and shape[0] != 1:
        engine.scale_leading(op, batch, 1)


def _tile(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    if constant(op, 1, "repeats")[0] != 1:
        raise Mixed("repeats dimension 0")


def _pad(op: Operator, batch: Batch) -> None:
    if len(op.inputs) > 3:
        engine.first_input(op, batch)
        engine.leave_dimension_0(constant(op, 3, "axes"), len(op.inputs[0].shape))
    elif "pads" in op.attributes:  # before opset 11
        pads = op.attributes["pads"]
        if pads[0] or pads[len(pads) // 2]:
            raise Mixed("pads dimension 0")
    else:
        engine.pad(1)(op, batch)


def _resize(op: Operator, batch: Batch) -> None:
    engine.first_input(op, batch)
    if op.outputs[0].shape[0] != op.inputs[0].shape[0]:
        raise Mixed("resizes dimension 0")
    if 0 not in op.attributes.get("axes", [0]):
        return
    if len(op.inputs) > 3:
        engine.scale_leading(op, batch, 3)
    if op.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise Mixed("crops by regions of interest")


def _gemm(op: Operator, batch: Batch) -> None:
    a, b = op.inputs[0], op.inputs[3 if op.op_type == "QGemm" else 1]
    c = None
    if op.op_type != "QGemm" and len(op.inputs) > 2:
        c = op.inputs[2]
    if b in batch or op.attributes.get("transA", 0):
        raise Mixed(f'sums over dimension 0 of "{(b if b in batch else a).name}"')
    if c is not None and c not in batch and len(c.shape) == 2 and c.shape[0] != 1:
        batch.repeat(op, 2)


def _same_axis(op: Operator, batch: Batch) -> None:
    """GatherElements: data and indices have the same rank."""
    engine.leave_dimension_0([op.attributes["axis"]], len(op.inputs[0].shape))
    for i, tensor in enumerate(op.inputs):
        if tensor not in batch:
            batch.repeat(op, i)


_ELEMENTWISE = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BiasGelu BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu
Clip Cos Cosh Div Dropout Elu Equal Erf Exp FastGelu Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity
IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QLinearAdd QLinearLeakyRelu
QLinearMul QLinearSigmoid QLinearWhere QuickGelu Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_FIRST_INPUT = """
AveragePool BatchNormalization Conv ConvInteger ConvTranspose DepthToSpace FusedConv GlobalAveragePool GlobalLpPool
GlobalMaxPool GroupNormalization InstanceNormalization LRN LpPool QLinearAveragePool QLinearConv
QLinearGlobalAveragePool SpaceToDepth
"""
_REDUCE = """
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""
_LAST_AXIS = "Hardmax LayerNormalization LogSoftmax LpNormalization OneHot QLinearSoftmax RMSNormalization Softmax TopK"

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), engine.elementwise),
    **dict.fromkeys(_FIRST_INPUT.split(), engine.first_input),
    **dict.fromkeys(_REDUCE.split(), engine.along(_axes)),
    **dict.fromkeys(_LAST_AXIS.split(), engine.along(_axis(-1))),
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), _quantize),
    **dict.fromkeys(("FusedGemm", "Gemm", "QGemm"), _gemm),
    **dict.fromkeys(("MatMul", "MatMulInteger"), engine.matmul),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "ArgMax": engine.along(_axis(0)),
    "ArgMin": engine.along(_axis(0)),
    "Concat": engine.concatenate(lambda op: op.attributes["axis"]),
    "CumSum": engine.along(_axes),
    "Expand": _expand,
    "Flatten": engine.along(_axis(1)),
    "Gather": _gather,
    "GatherElements": _same_axis,
    "MaxPool": _max_pool,
    "Pad": _pad,
    "QLinearConcat": engine.concatenate(lambda op: op.attributes["axis"], slice(2, None, 3)),
    "QLinearMatMul": lambda op, batch: engine.matmul(op, batch, (0, 3)),
    "Reshape": engine.reshape(1),
    "Slice": _slice,
    "Split": engine.along(_axis(0)),
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": engine.transpose(lambda op: op.attributes.get("perm", range(len(op.inputs[0].shape))[::-1])),
    "Unsqueeze": _unsqueeze,
}
