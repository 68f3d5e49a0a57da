"""Conv, Gemm and MatMul by a constant."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.matmul import matmul
from furiosa.compiler.ldfg.onnx.common import (
    bounds,
    pair,
    window,
    window_problem,
)
from furiosa.compiler.ldfg.onnx.units import EIGHT_BIT, Unit


def _weight_problem(x: Tensor, w: Tensor | None, b: Tensor | None) -> str:
    """Why onnxruntime would not compute with these in integers; empty where it does."""
    if w is None or w.quantization is None or w.dtype not in EIGHT_BIT:
        return "weights that are not 8-bit"
    if w.dtype == "uint8" and x.dtype == "int8":
        return "uint8 weights on int8 data"
    if w.quantization.scale.size > 1 and np.any(
        w.quantization.zero_point != w.quantization.zero_point.flat[0]
    ):
        return "weights with several zero points"
    if b is not None and b.dtype != "int32":
        return "a bias that is not int32"
    return ""


def parameters(
    low: Lowering, w: Tensor, weight: np.ndarray, b: Tensor | None, x: Tensor, y: Tensor
) -> tuple[list, dict]:
    """Weight (already in the NPU's order, int8), bias and scale as constants, and the zero points that go with them."""
    channels = y.shape[1] if len(y.shape) == 4 else y.shape[-1]
    s_in, z_in = low.quantization(x)
    s_out, z_out = low.quantization(y)
    bias = b.data.reshape(-1).astype(np.int32) if b is not None else np.zeros(channels, np.int32)
    if bias.size == 1 and channels > 1:
        bias = np.full(channels, bias[0], np.int32)
    scale = arithmetic.conv_scale(s_in, w.quantization.scale, s_out, channels)
    z_w = int(w.quantization.zero_point.reshape(-1)[0]) - 128 * (w.dtype == "uint8")
    constants = [
        low.constant(w.name, weight, w.quantization),
        low.constant(f"{y.name}/bias", bias),
        low.constant(f"{y.name}/scale", scale),
    ]
    return constants, {"input_zero_point": z_in, "output_zero_point": z_out, "weight_zero_point": z_w}


@rules.requires(rules.CONV)
def conv(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, w = unit.inputs[:2]
    b = unit.inputs[2] if len(unit.inputs) > 2 else None
    y = unit.output
    groups = op.attributes.get("group", 1)
    kernel = list(w.shape[2:])
    facts = Facts(
        op.op_type,
        [x, y],
        [w, b],
        groups=1 if w.shape[1] == 1 else groups,
        dilations=tuple(op.attributes.get("dilations") or ()),
        spatial_rank=len(kernel),
        reference=_weight_problem(x, w, b),
        attribute=window_problem(op, x, y, kernel),
    )
    low.check(rules.CONV, facts)
    lo, hi = bounds(low, unit, y)
    data = low.plain(w).data
    x, y = low.spatial(x), low.spatial_result(y)
    data = data.reshape(*data.shape[:2], *pair(kernel))
    attributes = window(op, x, y, data.shape[2:])
    if w.shape[1] == 1 and groups > 1:
        kind, weight = "npu.depthwise_conv2d", data[:, 0].transpose(1, 2, 0)
    else:
        kind, weight = "npu.conv2d", data.transpose(0, 2, 3, 1)
        attributes["groups"] = groups
    constants, zero_points = parameters(low, w, np.ascontiguousarray(weight), b, x, y)
    image = low.image(x)
    low.emit_to(
        kind,
        [image, *constants],
        low.result(y, image=True),
        **attributes,
        **zero_points,
        clamp_min=lo,
        clamp_max=hi,
    )


@rules.requires(rules.CONV)
def gemm(low: Lowering, unit: Unit) -> None:
    """Gemm and MatMul by a constant, as a 1x1 convolution over [1, 1, rows, depth]."""
    op = unit.op
    x, w = unit.inputs[:2]
    b = unit.inputs[2] if len(unit.inputs) > 2 else None
    y = unit.output
    a = op.attributes
    problem = ""
    if a.get("transA", 0) or a.get("alpha", 1.0) != 1.0 or (b is not None and a.get("beta", 1.0) != 1.0):
        problem = "transA, alpha or beta"
    elif len(w.shape) != 2 or len(x.shape) < 2:
        problem = "a matrix product whose second factor is not a matrix"
    elif b is not None and b.size not in (1, y.shape[-1]):
        problem = "a bias that is not one number a column"
    facts = Facts(op.op_type, [x, y], [w, b], reference=_weight_problem(x, w, b), attribute=problem)
    low.check(rules.CONV, facts)
    lo, hi = bounds(low, unit, y)
    data = low.plain(w).data
    weight = np.ascontiguousarray(data if a.get("transB", 0) else data.T)
    channels, depth = weight.shape
    constants, zero_points = parameters(low, w, weight.reshape(channels, 1, 1, depth), b, x, y)
    rows = x.size // depth
    plain = low.plain(x)
    matmul(low, plain, rows, constants, low.result(y), **zero_points, clamp_min=lo, clamp_max=hi)
