"""What the NPU takes: one function per rule.

The first paragraph of a rule's docstring is the sentence that a user reads, the second the hint: what to change.  A rule
raises ``Failure(actual, allowed)`` where it does not hold.  docs/operators.md is generated from all of this, after a change:
``python -m furiosa.compiler.ldfg.docgen > docs/operators.md``.

A lowering function names its rules twice, ``@requires(rules.CONV)`` above it and ``low.check(rules.CONV, Facts(…))`` in it;
that the two agree is checked where it is called.  The limits are those of the vendor's public table of accelerated
operators (vendor.py); rules about arithmetic are where the reference runtime's own numbers would not be met.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from furiosa.compiler.dfg.broadcast import merged
from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.dfg.moves import MAX_RUNS, Runs
from furiosa.compiler.ldfg import vendor
from furiosa.compiler.ldfg.verdict import Failure, Rule, requires

MAX_GROUPS = 128  # vendor's table, Conv
MAX_DILATION = 12  # vendor's table, Conv
MAX_SOFTMAX_BATCH = 2  # vendor's table, Softmax
MAX_NORMALIZATION_BATCH = 2  # vendor's table, LpNormalization
MAX_REDUCED = (
    1 << 22
)  # elements that one command brings together: a quarter of the SRAM of one processing element
MAX_RANK = 4
# what dynamic quantisation leaves in ONNX models: scales are computed when the model runs
DYNAMIC_QUANTIZATION = (
    "ConvInteger",
    "DynamicQuantizeLinear",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
)
DYNAMIC_QUANTIZATION += ("MatMulInteger", "MatMulIntegerToFloat")
MAX_COPY_RANK = 6  # of the command COPY
MAX_COPIES = 1 << 12  # of one move


@dataclass(slots=True)
class Facts:
    """What is known of one operator; a rule reads only what it needs."""

    op_type: str
    activations: list[Tensor]
    constants: list[Tensor | None]
    weight: Tensor | None = None
    bias: Tensor | None = None
    groups: int = 1
    dilations: tuple[int, ...] = (1, 1)
    spatial_rank: int = 2
    batch: int = 1
    norm: int = 2
    dimension_groups: int = 1  # runs of neighbouring dimensions that are treated alike
    reduced: int = 1  # how many elements become one, or depend on each other
    reference: str = (
        ""  # why the reference runtime computes this operator in another way; empty where it does not
    )
    attribute: str = ""  # an attribute's value that is not supported; empty where all are
    channel_axis: int = 0  # of the weights: along which the output channels lie
    dimensions: tuple[str, ...] = ()  # those that a move cuts, joins or pads: see ``dimensions``
    runs: Sequence[Runs] = ()  # of a move, by dimension
    mode: str = "CRD"  # how blocks of height and width lie in the channels: CRD or DCR
    moved: int = 0  # dimensions that a transposition moves, those that stay neighbours counted once
    neighbour: str = ""  # the operator on the host that quantised or dequantised numbers come from or go to
    # set by Lowering.check
    release: str = vendor.LATEST  # whose table of operators counts
    gap: str = ""  # what an operator of a partly quantised model lacks to be a quantised one


def dimensions(t: Tensor, axes: list[int], channels_last: bool) -> tuple[str, ...]:
    """The letters of some axes: N, C, H, W; "axis 4" where a tensor has more than four.

    Fewer dimensions are those of a batch of sequences: [N, C, H], or [N, H, C] in TFLite; [N, C]; [C].
    """
    names = (
        {4: "NHWC", 3: "NHC", 2: "NC", 1: "C"} if channels_last else {4: "NCHW", 3: "NCH", 2: "NC", 1: "C"}
    )
    letters = names.get(len(t.shape))
    return tuple(letters[a] if letters else f"axis {a}" for a in sorted(axes))


# -- every operator -----------------------------------------------------------------------------------------------


def operator_table(f: Facts) -> None:
    """The NPU takes the operators of the table in docs/operators.md, of any other kind it takes none.

    Build this part of the model from operators of the table, or leave it to the host.
    """
    hint = "Quantise the model statically, with calibration: the NPU needs scales that are constants."
    raise Failure(
        f.op_type, "the operators of docs/operators.md", hint if f.op_type in DYNAMIC_QUANTIZATION else ""
    )


def has_elements(f: Facts) -> None:
    """Tensors must have elements.

    Leave what computes nothing out of the model.
    """
    bad = [f"{t.name}: {list(t.shape)}" for t in f.activations if 0 in t.shape]
    if bad:
        raise Failure(", ".join(bad), "no dimension of 0")


def dense_tensors(f: Facts) -> None:
    """Every value must be a dense tensor of known shape, and of an element type that NumPy has.

    Export this part of the model with fixed shapes and without sequences, strings and types like bfloat16.
    """
    raise Failure("values of unknown size or of another type", "dense tensors of fixed shape")


def of_one_run(f: Facts) -> None:
    """What a variable or a table of the model keeps from run to run, and what lies between reading and assigning it, stays on the host.

    Give the model its state as inputs and outputs instead.
    """
    raise Failure("values that are kept from run to run", "values of one run")


def operator_set(f: Facts) -> None:
    """The model must use opset 7 or newer: in older sets operators broadcast and take their parameters in other ways.

    Convert the model with onnx.version_converter.
    """
    raise Failure("an older opset", "opset 7 or newer")


def fits_command(f: Facts) -> None:
    """Scales, zero points and attributes must be numbers that a command can carry.

    Export the model with zero points of its types, and with scales and strides that are not beyond all measure.
    """
    if f.attribute:
        raise Failure(f.attribute, "the ranges of docs/enf.md")


def one_quantization(f: Facts) -> None:
    """A tensor has one scale and zero point, constants, the same for the operator that makes it and all that read it.

    Export the model again with one QuantizeLinear for each tensor, and its scale and zero point for every reader.
    """
    raise Failure(f.attribute, "one constant pair of a float32 scale and a zero point for each tensor")


def block_size(f: Facts) -> None:
    """A scale is for a whole tensor, or of weights for a whole output channel, not for blocks of it (attribute block_size).

    Quantise again without block_size: weights per output channel, everything else per tensor.
    """
    raise Failure(f.attribute, "no block_size, or 0")


def vendor_release(f: Facts) -> None:
    """The operator must be accelerated by the release that the option "compatibility" names.

    Compile for a later release (compatibility 0.10), or leave the operator to the host.
    """
    if not vendor.taken(f.op_type, f.release):
        first = vendor.since(f.op_type)
        raise Failure(
            f"release {f.release}", f"release {first} or later" if first else f"release {vendor.LATEST}"
        )


# -- tensors ------------------------------------------------------------------------------------------------------


def eight_bit_activations(f: Facts) -> None:
    """The NPU computes on 8-bit integers: every input and output must be quantised to int8 or uint8.

    Quantise the model, or what it leaves out: int8 QDQ or QOperator form for ONNX, full integer for TFLite.
    """
    bad: dict[str, list[str]] = {}
    tensors = [t for t in f.activations if t.dtype not in ("int8", "uint8")]
    for t in tensors:
        bad.setdefault(t.dtype, []).append(t.name)
    if bad:
        found = "; ".join(f"{dtype}: {', '.join(dict.fromkeys(names))}" for dtype, names in bad.items())
        hint = f"Quantise this operator like its neighbours: {f.gap}." if f.gap else ""
        if any(_is_other_quantization(dtype) for dtype in bad):
            hint = "Quantise to int8 or uint8 what is to run on the NPU; the rest may stay as it is."
        elif not any("float" in dtype for dtype in bad):
            hint = "Leave it to the host: there is nothing to quantise in indices, counts and truth values."
        elif all(t.is_constant for t in tensors):
            hint = (
                "Quantise these constants as well: to int8 or uint8, with one scale and zero point for each."
            )
        raise Failure(found, "int8, uint8", hint)


def _is_other_quantization(dtype: str) -> bool:
    """Whether quantised tensors have an element type that the NPU does not compute with."""
    return dtype in ("int16", "uint16") or dtype.startswith(
        ("int4", "uint4", "int2", "uint2", "float8", "float4")
    )


def beside_host(f: Facts) -> None:
    """QuantizeLinear and DequantizeLinear run where the operator does whose numbers they convert: onnxruntime computes them together.

    Bring that operator to the NPU; its own reasons say how.
    """
    if f.neighbour:
        raise Failure(f"{f.neighbour} on the host", "an operator on the NPU")


def quantized_per_tensor(f: Facts) -> None:
    """Every 8-bit input and output must have one scale and one zero point.

    Quantise inputs and outputs per tensor; only the weights of convolutions and matrix products may be quantised per channel.
    """
    bad = [
        t
        for t in f.activations
        if t.dtype in ("int8", "uint8") and (t.quantization is None or t.quantization.scale.size != 1)
    ]
    if bad:
        hint = ""
        if all(t.is_constant for t in bad):
            hint = "Quantise these constants per tensor; only weights of convolutions and matrix products may be per channel."
        raise Failure(", ".join(map(_scales_of, bad)), "one scale for each tensor", hint)


def _scales_of(t: Tensor) -> str:
    count = t.quantization.scale.size if t.quantization else 0
    return f"{t.name}: {count} scales" if count else f"{t.name}: no scale"


def eight_bit_weights(f: Facts) -> None:
    """Weights must be quantised to int8 or uint8.

    Quantise the weights as well: to int8 with zero point 0, per tensor or per output channel.
    """
    w = f.weight
    if w is not None and (w.dtype not in ("int8", "uint8") or w.quantization is None):
        found = f"{w.dtype}: {w.name}"
        hint = ""
        if _is_other_quantization(w.dtype):
            hint = f"Quantise the weights to int8 in place of {w.dtype}, with zero point 0, per tensor or per output channel."
        raise Failure(found, "int8, uint8", hint)


def output_channels(f: Facts) -> None:
    """Weights that are quantised per channel must have a scale for each output channel, along that axis.

    Quantise the weights along the axis of their output channels, or per tensor.
    """
    w = f.weight
    if w is not None and w.quantization is not None and w.quantization.scale.size > 1:
        axis = w.quantization.axis
        if axis != f.channel_axis:
            raise Failure(f"axis {axis} of {w.name}, {list(w.shape)}", f"axis {f.channel_axis}")


def equal_zero_points(f: Facts) -> None:
    """Weights that are quantised per channel must have the same zero point in every channel.

    Quantise the weights symmetrically, with zero point 0 everywhere.
    """
    w = f.weight
    if w is not None and w.quantization is not None:
        zeros = w.quantization.zero_point
        if np.any(zeros != zeros.flat[0]):
            raise Failure(f"{w.name}: zero points from {zeros.min()} to {zeros.max()}", "one zero point")


def int32_bias(f: Facts) -> None:
    """A bias must be quantised to int32, or be real constants, one for each output channel, that onnxruntime quantises itself.

    Quantise the bias as well: to int32 with zero point 0 and, as scale, that of the input times that of the weights.
    """
    if f.bias is not None and f.bias.dtype != "int32":
        raise Failure(f"{f.bias.dtype}: {f.bias.name}", "int32")


def constant_parameters(f: Facts) -> None:
    """Weights, biases and shape parameters must be constants of the model.

    Fold what computes them into the model, with the exporter's or a simplifier's constant folding.
    """
    bad = [t.name for t in f.constants if t is not None and not t.is_constant]
    if bad:
        raise Failure(", ".join(bad), "constants")


def rank_limit(f: Facts) -> None:
    """Tensors may have at most four dimensions.

    Merge dimensions with a Reshape.
    """
    bad = [f"{t.name}: {len(t.shape)}" for t in f.activations if len(t.shape) > MAX_RANK]
    if bad:
        raise Failure(", ".join(bad), f"<= {MAX_RANK}")


def ordinary_scales(f: Facts) -> None:
    """Scales must lie between 2^-30 and 2^30, where no intermediate number of the reference runtimes overflows.

    Quantise the model again: such a tensor is empty, or its calibration went wrong.
    """
    bad = [t.name for t in f.activations if t.quantization and not ordinary(t.quantization.scale)]
    if bad:
        raise Failure(", ".join(bad), "2^-30 to 2^30")


def ordinary(scale: np.ndarray) -> bool:
    """Whether all scales are numbers between 2^-30 and 2^30."""
    return bool(np.all((scale >= 2.0**-30) & (scale <= 2.0**30)))


def broadcast_limit(f: Facts) -> None:
    """Two tensors may broadcast over at most four groups of neighbouring dimensions.

    Expand one of the tensors before the operator, or transpose so that what repeats lies together.
    """
    *inputs, output = [t.shape for t in f.activations]
    groups = len(merged(output, *inputs)[0])
    if groups > MAX_RANK:
        raise Failure(f"{groups} groups", f"<= {MAX_RANK}")


# -- the vendor's limits ------------------------------------------------------------------------------------------


def group_limit(f: Facts) -> None:
    """A convolution may have at most 128 groups, a depthwise one any number.

    Use fewer, wider groups or a depthwise convolution.
    """
    if f.groups > MAX_GROUPS:
        raise Failure(f.groups, f"<= {MAX_GROUPS}")


def dilation_limit(f: Facts) -> None:
    """A convolution's dilation may be at most 12.

    Use a smaller dilation.
    """
    if any(d > MAX_DILATION for d in f.dilations):
        raise Failure(list(f.dilations), f"<= {MAX_DILATION}")


def two_dimensional(f: Facts) -> None:
    """Convolution, pooling and their like work over one or two spatial dimensions.

    Reshape to a two-dimensional form, or take the third dimension apart.
    """
    if f.spatial_rank not in (1, 2):
        raise Failure(f"{f.spatial_rank} spatial dimensions", "1 or 2")


def dimension_groups(f: Facts) -> None:
    """Reductions and matrix products work over at most four groups of neighbouring dimensions that are treated alike.

    Transpose, so that what is reduced, kept or repeated lies together.
    """
    if f.dimension_groups > MAX_RANK:
        raise Failure(f"{f.dimension_groups} groups", f"<= {MAX_RANK}")


def reduction_limit(f: Facts) -> None:
    """At most 4 Mi elements may be reduced to one, or normalised together.

    Reduce in two steps, with the second over the results of the first.
    """
    if f.reduced > MAX_REDUCED:
        raise Failure(f.reduced, f"<= {MAX_REDUCED}")


def euclidean_norm(f: Facts) -> None:
    """LpNormalization is taken for the Euclidean norm, p = 2.

    Use p = 2.
    """
    if f.norm != 2:
        raise Failure(f"p = {f.norm}", "p = 2")


def normalization_batch(f: Facts) -> None:
    """LpNormalization may have a batch of at most 2.

    Compile with a smaller batch.
    """
    if f.batch > MAX_NORMALIZATION_BATCH and f.release != "0.6.3":  # that release states no limit
        raise Failure(f"batch {f.batch}", f"<= {MAX_NORMALIZATION_BATCH}")


def softmax_batch(f: Facts) -> None:
    """Softmax may have a batch of at most 2.

    Compile with a smaller batch.
    """
    if f.batch > MAX_SOFTMAX_BATCH and f.release != "0.6.3":  # that release states no limit
        raise Failure(f"batch {f.batch}", f"<= {MAX_SOFTMAX_BATCH}")


def concat_axes(f: Facts) -> None:
    """Concat joins along height or channels: axis 2 or 1 of [N, C, H, W] in ONNX, axis 1 or 3 of [N, H, W, C] in TFLite.

    Transpose the tensors around it. Those of three dimensions count as [N, C, H], in TFLite [N, H, C], those of two as [N, C].
    """
    _cut(f, "HC" if f.release != "0.6.3" else "H")


def slice_axes(f: Facts) -> None:
    """Slice takes parts of height or channels: axis 2 or 1 of [N, C, H, W] in ONNX, axis 1 or 3 of [N, H, W, C] in TFLite.

    Transpose the tensor around it, or use Split, which has no such limit. Tensors of three dimensions count as [N, C, H], in TFLite
    [N, H, C], those of two as [N, C].
    """
    _cut(f, "HC" if f.release != "0.6.3" else "H")


def block_mode(f: Facts) -> None:
    """DepthToSpace and SpaceToDepth are taken in mode CRD, since release 0.7 also in DCR, which is SpaceToDepth's own in ONNX.

    Compile for a later release (compatibility 0.10), or use mode CRD.
    """
    if f.mode != "CRD" and f.release == "0.6.3":
        raise Failure(f.mode, "CRD")


def pad_axes(f: Facts) -> None:
    """Pad widens channels, width or height, not the batch, which is axis 0 of a tensor of two to four dimensions.

    Pad another dimension, or compile with another batch.
    """
    _cut(f, "CWH")


def _cut(f: Facts, allowed: str) -> None:
    bad = [d for d in f.dimensions if d not in allowed]
    if bad:
        raise Failure(", ".join(bad), ", ".join(allowed))


def after_convolution(f: Facts) -> None:
    """BatchNormalization is taken directly after Conv, with constant parameters and no quantisation between the two.

    Fold it into the weights before the model is quantised, as most quantisers do, or leave out the quantisation between them.
    """
    raise Failure("one by itself", "Conv, BatchNormalization, QuantizeLinear")


# -- forms and arithmetic -----------------------------------------------------------------------------------------


def copy_dimensions(f: Facts) -> None:
    """A move of values works on at most six dimensions; those that a Transpose keeps together count as one.

    Merge dimensions with a Reshape.
    """
    most = f.moved or max((len(t.shape) for t in f.activations), default=0)
    if most > MAX_COPY_RANK:
        raise Failure(most, f"<= {MAX_COPY_RANK}")


def copy_commands(f: Facts) -> None:
    """A move of values takes at most 256 commands for one dimension, and 4096 in all; going backwards takes one for each index.

    Leave the order of the values as it is, or repeat them fewer times.
    """
    if max(map(len, f.runs), default=0) > MAX_RUNS:
        raise Failure(f"more than {MAX_RUNS}", f"<= {MAX_RUNS}")
    if (count := math.prod(map(len, f.runs))) > MAX_COPIES:
        raise Failure(f"{count} in all", f"<= {MAX_COPIES} in all")


def reference_arithmetic(f: Facts) -> None:
    """The NPU's arithmetic must give the reference runtime's own numbers.

    Quantise the model again with the format's own tools, which avoid it, or give the operator other scales.
    """
    # real numbers have no arithmetic here yet: eight-bit-activations says what to do about them
    if f.reference and all(t.dtype in ("int8", "uint8") for t in f.activations):
        raise Failure(f.reference + _scales(f), "the arithmetic of an NPU command")


def _scales(f: Facts) -> str:
    """The scales and zero points that a reason is about, in parentheses."""
    if "scale" not in f.reference and "zero point" not in f.reference:
        return ""
    values = []
    for t in dict.fromkeys(f.activations):
        q = t.quantization
        if q is not None and q.scale.size == q.zero_point.size == 1:
            values.append(f"{t.name}: {q.scale.item():.6g}, {q.zero_point.item()}")
    return f" (scale and zero point of {'; '.join(values)})" if values else ""


def supported_attributes(f: Facts) -> None:
    """Only some forms of the operator are accelerated, not this one.

    Use another form of the operator.
    """
    if f.attribute:
        raise Failure(f.attribute, "a form without that")


EVERY: tuple[Rule, ...] = (
    operator_table,
    has_elements,
    fits_command,
    dense_tensors,
    of_one_run,
    operator_set,
    one_quantization,
    block_size,
    vendor_release,
)

UNARY: tuple[Rule, ...] = (
    eight_bit_activations,
    quantized_per_tensor,
    ordinary_scales,
    constant_parameters,
    reference_arithmetic,
    supported_attributes,
)
BINARY: tuple[Rule, ...] = (*UNARY, broadcast_limit)
QUANTIZE: tuple[Rule, ...] = (*UNARY, beside_host)
INTEGER: tuple[Rule, ...] = (eight_bit_activations, quantized_per_tensor, constant_parameters, rank_limit)
WEIGHTS: tuple[Rule, ...] = (eight_bit_weights, output_channels, equal_zero_points, int32_bias)
CONV: tuple[Rule, ...] = (
    *INTEGER,
    *WEIGHTS,
    group_limit,
    dilation_limit,
    two_dimensional,
    reference_arithmetic,
    supported_attributes,
)
POOL: tuple[Rule, ...] = (*INTEGER, two_dimensional, reference_arithmetic, supported_attributes)
MATMUL: tuple[Rule, ...] = (*UNARY, *WEIGHTS, dimension_groups)
REDUCE: tuple[Rule, ...] = (*UNARY, dimension_groups, reduction_limit)
LAYER_NORM: tuple[Rule, ...] = (*UNARY, reduction_limit)
SOFTMAX: tuple[Rule, ...] = (*UNARY, softmax_batch, reduction_limit)
LP_NORMALIZATION: tuple[Rule, ...] = (*UNARY, euclidean_norm, normalization_batch, reduction_limit)
# the vendor states no limit of groups or dilation
CONV_TRANSPOSE: tuple[Rule, ...] = (*POOL, *WEIGHTS)
NORMALIZATION: tuple[Rule, ...] = (eight_bit_activations, after_convolution)
RESHAPE: tuple[Rule, ...] = (eight_bit_activations, reference_arithmetic, supported_attributes)
MOVE: tuple[Rule, ...] = (
    eight_bit_activations,
    constant_parameters,
    copy_dimensions,
    copy_commands,
    reference_arithmetic,
    supported_attributes,
)
CONCAT: tuple[Rule, ...] = (
    eight_bit_activations,
    rank_limit,
    concat_axes,
    reference_arithmetic,
    supported_attributes,
)
SLICE: tuple[Rule, ...] = (*MOVE, rank_limit, slice_axes)
BLOCKS: tuple[Rule, ...] = (*MOVE, block_mode)
PAD: tuple[Rule, ...] = (*MOVE, rank_limit, pad_axes)
ELEMENTWISE: tuple[Rule, ...] = (*INTEGER, reference_arithmetic, supported_attributes)

# sets that docs/operators.md calls by a name
GROUPS = {"unary": UNARY, "move": MOVE, "integer": INTEGER, "weights": WEIGHTS}

__all__ = ["Facts", "requires"]
