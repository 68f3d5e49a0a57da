"""Checks what onnx's shape inference leaves unchecked and later stages of the compiler trust."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.errors import InvalidModel, ShapesDisagree


class Contradiction(Exception):
    """Why an operator's inputs and attributes do not fit together: a clause that follows its name."""


# Inputs that onnxruntime's own operators need: onnx has no definitions of them.
_REQUIRED = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), (0, 1, 3, 4, 6)),
    **dict.fromkeys(
        (
            "QLinearAveragePool",
            "QLinearGlobalAveragePool",
            "QLinearLeakyRelu",
            "QLinearSigmoid",
            "QLinearSoftmax",
        ),
        (0, 1, 3),
    ),
    "QGemm": (0, 1, 3, 4),
    "QLinearConcat": (0, 1, 2, 3),
}


def check(op: Operator) -> None:
    """Compares an operator's inputs and attributes with each other.

    Raises:
        InvalidModel: they contradict each other.
    """
    for i in _REQUIRED.get(op.op_type, ()):
        if i >= len(op.inputs) or op.inputs[i] is None:
            raise InvalidModel(f'operator "{op.name}" ({op.op_type}) lacks its input {i}')
    rule = _RULES.get(op.op_type)
    if rule is None:
        return
    try:
        rule(op)
    except Contradiction as e:
        raise ShapesDisagree(f'operator "{op.name}" ({op.op_type}) {e}') from None


def _convolution(weights: int, bias: int | None) -> Callable[[Operator], None]:
    """A convolution with its weights [M, C / group, *kernel] and its bias [M] at these inputs."""

    def rule(op: Operator) -> None:
        x, w = op.inputs[0].shape, op.inputs[weights].shape
        group = op.attributes.get("group", 1)
        if len(x) != len(w) or len(x) < 3:
            raise Contradiction(f"has an input of shape {list(x)}, but weights of shape {list(w)}")
        if group < 1 or x[1] != w[1] * group or w[0] % group:
            raise Contradiction(
                f"has {x[1]} input channels in {group} groups, but weights of shape {list(w)}"
            )
        if tuple(op.attributes.get("kernel_shape", w[2:])) != w[2:]:
            raise Contradiction(
                f"has kernel_shape {op.attributes['kernel_shape']}, but weights of shape {list(w)}"
            )
        if op.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"):
            raise Contradiction(f'has the unknown auto_pad "{op.attributes["auto_pad"]}"')
        b = op.inputs[bias] if bias is not None and bias < len(op.inputs) else None
        if b is not None and b.shape != (w[0],):
            raise Contradiction(f"has {w[0]} output channels, but a bias of shape {list(b.shape)}")
        if 0 in op.outputs[0].shape and 0 not in x:
            raise Contradiction(f"has a window larger than its input of shape {list(x)}")
        if op.op_type == "QLinearConv":
            for scale in op.inputs[4:6]:
                _per_channel(scale, w[0])

    return rule


def _transposed_convolution(op: Operator) -> None:
    """Weights [C, M / group, *kernel], a bias [M]."""
    x, w, b = (op.inputs[i].shape if i < len(op.inputs) and op.inputs[i] else None for i in range(3))
    group = op.attributes.get("group", 1)
    if len(x) != len(w) or len(x) < 3 or group < 1 or x[1] != w[0] or x[1] % group:
        raise Contradiction(
            f"has an input of shape {list(x)} in {group} groups, but weights of shape {list(w)}"
        )
    if tuple(op.attributes.get("kernel_shape") or w[2:]) != w[2:]:
        raise Contradiction(
            f"has kernel_shape {op.attributes['kernel_shape']}, but weights of shape {list(w)}"
        )
    if b is not None and b != (w[1] * group,):
        raise Contradiction(f"has {w[1] * group} output channels, but a bias of shape {list(b)}")


def _per_channel(scale: Tensor | None, channels: int) -> None:
    if scale is not None and scale.shape not in ((), (1,), (channels,)):
        raise Contradiction(f'has {channels} channels, but "{scale.name}" of shape {list(scale.shape)}')


def _reshape(op: Operator) -> None:
    if op.inputs[0].size != op.outputs[0].size:
        raise Contradiction(f"makes {list(op.outputs[0].shape)} of {list(op.inputs[0].shape)}")


def _quantize(op: Operator) -> None:
    x, scale = op.inputs[0].shape, op.inputs[1]
    if op.attributes.get("block_size", 0) or scale.shape in ((), (1,)):
        return
    axis = op.attributes.get("axis", 1)
    if not -len(x) <= axis < len(x):
        raise Contradiction(f"has axis {axis} for a tensor of shape {list(x)}")
    for parameter in op.inputs[1:3]:
        _per_channel(parameter, x[axis])


def _pool(op: Operator) -> None:
    if op.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"):
        raise Contradiction(f'has the unknown auto_pad "{op.attributes["auto_pad"]}"')
    if 0 in op.outputs[0].shape and 0 not in op.inputs[0].shape:
        raise Contradiction(f"has a window larger than its input of shape {list(op.inputs[0].shape)}")


def _transpose(op: Operator) -> None:
    x, perm = op.inputs[0].shape, op.attributes.get("perm")
    if perm is not None and sorted(perm) != list(range(len(x))):
        raise Contradiction(f"has the permutation {list(perm)} for a tensor of shape {list(x)}")


def _slice(op: Operator) -> None:
    """The attributes of old operator sets; inputs are checked by the inference of shapes."""
    x, a = op.inputs[0].shape, op.attributes
    if "starts" not in a:
        return
    axes = a.get("axes", range(len(a["starts"])))
    if not len(a["starts"]) == len(a["ends"]) == len(axes) or not all(-len(x) <= i < len(x) for i in axes):
        raise Contradiction(f"has starts, ends and axes that do not fit a tensor of shape {list(x)}")


def _pad(op: Operator) -> None:
    value = op.inputs[2] if len(op.inputs) > 2 else None
    if value is not None and value.size != 1:
        raise Contradiction(f"pads with a tensor of shape {list(value.shape)} in place of one value")


def _split(op: Operator) -> None:
    if op.attributes.get("num_outputs", len(op.outputs)) != len(op.outputs):
        raise Contradiction(f"has num_outputs {op.attributes['num_outputs']}, but {len(op.outputs)} outputs")


def _blocks(op: Operator) -> None:
    _, c, h, w = op.inputs[0].shape
    block = op.attributes["blocksize"]
    if op.attributes.get("mode", "DCR") not in ("DCR", "CRD"):
        raise Contradiction(f'has the unknown mode "{op.attributes["mode"]}"')
    if (op.op_type == "SpaceToDepth" and (h % block or w % block)) or (
        op.op_type == "DepthToSpace" and c % block**2
    ):
        raise Contradiction(f"has blocks of {block} by {block} for a tensor of shape {[*op.inputs[0].shape]}")


_RULES: dict[str, Callable[[Operator], None]] = {
    "AveragePool": _pool,
    "Conv": _convolution(1, 2),
    "ConvInteger": _convolution(1, None),
    "ConvTranspose": _transposed_convolution,
    "DepthToSpace": _blocks,
    "DequantizeLinear": _quantize,
    "FusedConv": _convolution(1, 2),
    "MaxPool": _pool,
    "Pad": _pad,
    "QLinearAveragePool": _pool,
    "QLinearConv": _convolution(3, 8),
    "QuantizeLinear": _quantize,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Split": _split,
    "Transpose": _transpose,
}
