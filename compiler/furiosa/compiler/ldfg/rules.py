"""What the NPU takes: one function per rule; its docstring is the sentence that a user reads.

The limits are those of the vendor's public table of accelerated operators; rules named after the arithmetic are where the
reference runtime's own numbers would not be met.
"""

from __future__ import annotations

from dataclasses import dataclass

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg.verdict import Failure, Rule

MAX_GROUPS = 128  # vendor's table, Conv
MAX_DILATION = 12  # vendor's table, Conv
MAX_SOFTMAX_BATCH = 2  # vendor's table, Softmax
MAX_RANK = 4
QUANTIZE_HINT = "quantize the model (int8 QDQ or QOperator form for ONNX, full integer for TFLite)"


@dataclass(slots=True)
class Facts:
    """What is known of one operator; a rule reads only what it needs."""

    op_type: str
    activations: list[Tensor]
    constants: list[Tensor | None]
    groups: int = 1
    dilations: tuple[int, ...] = (1, 1)
    spatial_rank: int = 2
    axes: tuple[int, ...] = ()
    batch: int = 1
    reference: str = (
        ""  # why the reference runtime computes this operator in another way; empty where it does not
    )
    attribute: str = ""  # an attribute's value that is not supported; empty where all are


def eight_bit_activations(f: Facts) -> None:
    """The NPU computes on 8-bit integers: every activation must be int8 or uint8."""
    bad = [f"{t.name}: {t.dtype}" for t in f.activations if t.dtype not in ("int8", "uint8")]
    if bad:
        raise Failure(", ".join(bad), "int8, uint8", QUANTIZE_HINT)


def quantized_per_tensor(f: Facts) -> None:
    """Every 8-bit activation must have one scale and one zero point."""
    bad = [
        t.name
        for t in f.activations
        if t.dtype in ("int8", "uint8") and (t.quantization is None or t.quantization.scale.size != 1)
    ]
    if bad:
        raise Failure(", ".join(bad), "one scale for each tensor", QUANTIZE_HINT)


def constant_parameters(f: Facts) -> None:
    """Weights, biases and shape parameters must be constants of the model."""
    bad = [t.name for t in f.constants if t is not None and not t.is_constant]
    if bad:
        raise Failure(", ".join(bad), "constants", "fold what computes them into the model")


def group_limit(f: Facts) -> None:
    """Conv is accelerated for at most 128 groups, a depthwise convolution for any number."""
    if f.groups > MAX_GROUPS:
        raise Failure(f.groups, f"<= {MAX_GROUPS}", "use fewer, wider groups or a depthwise convolution")


def dilation_limit(f: Facts) -> None:
    """Conv is accelerated for dilations up to 12."""
    if any(d > MAX_DILATION for d in f.dilations):
        raise Failure(list(f.dilations), f"<= {MAX_DILATION}", "use a smaller dilation")


def two_dimensional(f: Facts) -> None:
    """Convolution and pooling are accelerated over two spatial dimensions."""
    if f.spatial_rank != 2:
        raise Failure(f"{f.spatial_rank} spatial dimensions", "2", "reshape to a two-dimensional form")


def rank_limit(f: Facts) -> None:
    """Tensors may have at most four dimensions."""
    bad = [f"{t.name}: {len(t.shape)}" for t in f.activations if len(t.shape) > MAX_RANK]
    if bad:
        raise Failure(", ".join(bad), f"<= {MAX_RANK}", "merge dimensions with a Reshape")


def has_elements(f: Facts) -> None:
    """Tensors must have elements."""
    bad = [f"{t.name}: {list(t.shape)}" for t in f.activations if 0 in t.shape]
    if bad:
        raise Failure(", ".join(bad), "no dimension of 0", "leave the operator out of the model")


def spatial_axes(f: Facts) -> None:
    """A mean is accelerated over height and width together."""
    if f.axes != (1, 2):
        raise Failure(f"axes {list(f.axes)} of [N, H, W, C]", "[1, 2]", "reduce over height and width")


def softmax_batch(f: Facts) -> None:
    """Softmax is accelerated for batches up to 2."""
    if f.batch > MAX_SOFTMAX_BATCH:
        raise Failure(f"batch {f.batch}", f"<= {MAX_SOFTMAX_BATCH}", "compile with a smaller batch")


def reference_arithmetic(f: Facts) -> None:
    """The NPU's arithmetic must give the reference runtime's own numbers."""
    if f.reference:
        raise Failure(f.reference, "the arithmetic of an NPU command", "requantize with other scales")


def supported_attributes(f: Facts) -> None:
    """Only these forms of the operator are accelerated."""
    if f.attribute:
        raise Failure(f.attribute, "see docs/operators", "use another form of the operator")


INTEGER: tuple[Rule, ...] = (eight_bit_activations, quantized_per_tensor, constant_parameters, rank_limit)
CONV: tuple[Rule, ...] = (
    *INTEGER,
    group_limit,
    dilation_limit,
    two_dimensional,
    reference_arithmetic,
    supported_attributes,
)
POOL: tuple[Rule, ...] = (*INTEGER, two_dimensional, reference_arithmetic, supported_attributes)
MEAN: tuple[Rule, ...] = (*INTEGER, spatial_axes, reference_arithmetic)
SOFTMAX: tuple[Rule, ...] = (*INTEGER, softmax_batch, reference_arithmetic, supported_attributes)
ELEMENTWISE: tuple[Rule, ...] = (*INTEGER, reference_arithmetic, supported_attributes)
