"""ConvTranspose."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.graph import Quantization, Tensor
from furiosa.compiler.ldfg import rules, transposed
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx import normalization
from furiosa.compiler.ldfg.onnx.common import bounds, pair
from furiosa.compiler.ldfg.onnx.contraction import parameters, quantized_bias
from furiosa.compiler.ldfg.onnx.units import Unit


@rules.requires(rules.CONV_TRANSPOSE)
def conv_transpose(low: Lowering, unit: Unit) -> None:
    """By the rule of Conv.

    onnxruntime has no integer kernel for it: there the same sum is taken in float32, and a result may differ by one.
    """
    op = unit.op
    x, w = unit.inputs[:2]
    b = unit.inputs[2] if len(unit.inputs) > 2 else None
    y = unit.output
    a = op.attributes
    rank = len(x.shape) - 2
    groups = a.get("group", 1)
    strides, dilations, kernel = pair(a.get("strides")), pair(a.get("dilations")), pair(w.shape[2:])
    problem, pads = "", []
    if rank in (1, 2):
        sizes, outs = pair(x.shape[2:]), pair(y.shape[2:])
        problem, pads = _pads(a, sizes, outs, kernel, strides, dilations)
        if len(y.shape) != len(x.shape):
            problem = "an output whose shape is not known"
        problem = problem or transposed.count(strides)
    depthwise = w.shape[0] == groups
    reference, bias_steps = "", None
    quantized = all(t.quantization is not None for t in (x, w, y))
    channels = w.shape[1] * groups
    if quantized and w.quantization.axis in (None, 1) and (b is None or b.is_constant):
        each = normalization.steps(low, x, w)
        each = np.tile(each, groups) if each.size > 1 else each
        if b is not None and b.dtype == "float32":
            b, reference = quantized_bias(low, unit, b, each, by_reference=True)
            bias_steps = b
        else:
            bias_steps, reference = normalization.bias_in_steps(b, each, channels)
    facts = Facts(
        op.op_type,
        [x, y],
        [w, *unit.inputs[2:]],
        w,
        b if isinstance(b, Tensor) else None,
        spatial_rank=rank,
        channel_axis=1,
        reference=reference,
        attribute=problem,
    )
    low.check(rules.CONV_TRANSPOSE, facts)
    lo, hi = bounds(low, unit, y)
    x, y = low.spatial(x), low.spatial_result(y)
    weight = _ordered(low.plain(w).data.reshape(*w.shape[:2], *kernel), groups)
    per_channel = w.quantization.scale.size > 1
    scale = np.tile(w.quantization.scale, groups) if per_channel else w.quantization.scale
    quantization = Quantization(scale, w.quantization.zero_point, 0 if per_channel else None)
    if depthwise:
        weight = weight[..., 0].transpose(1, 2, 0)
    held = Tensor(w.name, w.shape, w.dtype, quantization, w.data)
    (weight_form, bias, scales), zero_points = parameters(low, held, weight, bias_steps, x, y)
    geometry = tuple(
        transposed.phases(sizes[i], outs[i], kernel[i], strides[i], dilations[i], pads[i]) for i in (0, 1)
    )
    more = {} if depthwise else {"groups": groups}
    transposed.emit(
        low,
        low.image(x),
        weight_form,
        bias,
        scales,
        low.result(y, image=True),
        geometry,
        strides,
        **zero_points,
        **more,
        clamp_min=lo,
        clamp_max=hi,
    )


def _ordered(data: np.ndarray, groups: int) -> np.ndarray:
    """[C, OC / groups, KH, KW] as [OC, KH, KW, C / groups]."""
    channels, per_group, kh, kw = data.shape
    split = data.reshape(groups, channels // groups, per_group, kh, kw).transpose(0, 2, 3, 4, 1)
    return split.reshape(groups * per_group, kh, kw, channels // groups)


def _pads(
    a: dict,
    sizes: tuple[int, int],
    outs: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> tuple[str, list[int]]:
    """Why the geometry is not one that the NPU takes (else empty), and how much is cut off before each spatial axis."""
    pads = []
    auto = a.get("auto_pad", "NOTSET")
    extra = pair(a.get("output_padding"), 0)
    stated = a.get("pads") or []
    begin = pair(stated[: len(stated) // 2], 0)
    for i in (0, 1):
        full = (sizes[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
        total = full + extra[i] - outs[i]
        if total < 0 or not 0 <= extra[i] < strides[i]:
            return f"the output size {outs[i]} for the input size {sizes[i]}", []
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            pads.append((total + (auto == "SAME_LOWER")) // 2)
        elif auto == "VALID":
            pads.append(0)
        elif a.get("output_shape"):
            pads.append((total + 1) // 2)  # as onnxruntime has it; the standard says nothing of this case
        else:
            pads.append(begin[i])
        if not 0 <= pads[i] <= total:
            return "negative padding", []
    return "", pads
