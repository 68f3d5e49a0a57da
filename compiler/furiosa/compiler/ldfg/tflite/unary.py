"""Functions of one value, which are tables; QUANTIZE and DEQUANTIZE.

Each follows the kernel that LiteRT takes for it: XNNPACK's table, the builtin kernel's table, or fixed point.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic, functions, rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.tflite import fixed_point
from furiosa.compiler.ldfg.tflite.common import bounds, ordinary_scales
from furiosa.enf.isa import Rounding

MAX_TABLES = 4096  # tables of one operator: 1 MiB of SRAM
BLOCK = 16  # elements that the builtin QUANTIZE converts at a time

Values = np.ndarray


def _inputs(low: Lowering, x: Tensor) -> Values:
    """int64 [256]: the values -128 to 127 of the int8 form, less the zero point."""
    return np.arange(-128, 128) - low.quantization(x)[1]


def _lookup(low: Lowering, x: Tensor, y: Tensor, values: Values, lo: int = -128, hi: int = 127) -> None:
    """Emits the lookup; ``values`` [256] or [C, 256] are those of y's int8 form, not yet clamped."""
    entries = arithmetic.tables(np.clip(values, lo, hi).reshape(-1, 256))
    low.emit_to("npu.table_lookup", [low.plain(x), low.constant(f"{y.name}/table", entries)], low.result(y))


def _quantized(*tensors: Tensor) -> bool:
    return all(t.quantization is not None for t in tensors)


def _too_far(*ratios: float) -> str:
    """Whether LiteRT's 32-bit numbers overflow."""
    return "scales so far apart that LiteRT's numbers overflow" if max(map(abs, ratios)) >= 2**14 else ""


def _kernels(x: Tensor, only_int8: bool) -> str:
    return "LiteRT has this kernel for int8 only" if only_int8 and x.dtype == "uint8" else ""


def _real(low: Lowering, x: Tensor, function: functions.Function) -> np.ndarray:
    """float32 [256]: the function of the real numbers, evaluated in double."""
    real = [function(v) for v in arithmetic.real_values(*low.quantization(x)).tolist()]
    with np.errstate(over="ignore"):
        return np.array(real, np.float64).astype(f32)


# -- tables of XNNPACK --------------------------------------------------------------------------------------------

_XNNPACK: dict[str, functions.Function] = {
    "ELU": lambda v: v if v >= 0 else math.expm1(v),
    "LOGISTIC": functions.sigmoid,
    "TANH": math.tanh,
}


@rules.requires(rules.UNARY)
def xnnpack_table(low: Lowering, op: Operator) -> None:
    """ELU, LOGISTIC, TANH: y = rint(float32(float32(f(x) * (1/sy)) + zy)), the zero point of the tensor's own type."""
    x, y = op.inputs[0], op.outputs[0]
    reference = _kernels(x, op.op_type == "ELU")
    low.check(rules.UNARY, Facts(op.op_type, [x, y], [], reference=reference))
    s_y, z_y = low.quantization(y)
    offset = 128 if y.dtype == "uint8" else 0
    scaled = _real(low, x, _XNNPACK[op.op_type]) * f32(f32(1) / s_y)
    _lookup(low, x, y, np.rint(np.clip(scaled, -1e6, 1e6) + f32(z_y + offset)) - offset)


# -- tables of the builtin kernels --------------------------------------------------------------------------------


def _gelu(v: float) -> float:
    """In float32 steps: (0.5 * x) * erfc(x * -sqrt(1/2))."""
    x = f32(v)
    return float(f32(0.5) * x * f32(math.erfc(float(x * f32(-math.sqrt(0.5))))))


def _gelu_tanh(v: float) -> float:
    """In float32 steps: (0.5 * x) * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x * x * x)))."""
    x = f32(v)
    inner = f32(math.sqrt(2 / math.pi)) * (x + f32(0.044715) * x * x * x)
    return float(f32(0.5) * x * (f32(1) + f32(math.tanh(float(inner)))))


_BUILTIN: dict[str, Callable[[Operator], functions.Function]] = {
    "EXP": lambda op: functions.exp,
    "GELU": lambda op: _gelu_tanh if op.attributes.get("approximate") else _gelu,
    "LOG": lambda op: functions.log,
}


@rules.requires(rules.UNARY)
def builtin_table(low: Lowering, op: Operator) -> None:
    """EXP, GELU, LOG: y = round(float32(f(x) * (1/sy))) + zy, halves away from 0; NaN (LOG) is the lowest value."""
    x, y = op.inputs[0], op.outputs[0]
    low.check(rules.UNARY, Facts(op.op_type, [x, y], [], reference=_kernels(x, op.op_type != "GELU")))
    s_y, z_y = low.quantization(y)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (_real(low, x, _BUILTIN[op.op_type](op)) * f32(f32(1) / s_y)).astype(np.float64)
        rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) + z_y
    _lookup(low, x, y, np.where(np.isnan(rounded), -np.inf, rounded))


# -- fixed point --------------------------------------------------------------------------------------------------


@rules.requires(rules.UNARY)
def relu(low: Lowering, op: Operator) -> None:
    """RELU and its kin with bounds, from any scale to any."""
    x, y = op.inputs[0], op.outputs[0]
    s_x, s_y = ordinary_scales(x, y)
    ratio = float(f32(s_x / s_y))
    low.check(rules.UNARY, Facts(op.op_type, [x, y], [], reference=_too_far(ratio)))
    values = fixed_point.scale(_inputs(low, x), ratio) + low.quantization(y)[1]
    _lookup(low, x, y, values, *bounds(low, y, op.op_type, arithmetic.tflite_bounds))


@rules.requires(rules.UNARY)
def hard_swish(low: Lowering, op: Operator) -> None:
    """In 16-bit fixed point; LiteRT refuses an output finer than a 128th of the input."""
    x, y = op.inputs[0], op.outputs[0]
    values = fixed_point.hard_swish(_inputs(low, x), *ordinary_scales(x, y)) if _quantized(x, y) else None
    reference = "" if values is not None or not _quantized(x, y) else "scales that LiteRT refuses"
    low.check(rules.UNARY, Facts(op.op_type, [x, y], [], reference=reference))
    _lookup(low, x, y, values + low.quantization(y)[1])


def _in_xnnpack(ratio: np.float32) -> bool:
    return 2**-8 <= abs(ratio) <= 2**7


def _xnnpack_scale(values: Values, ratio: np.float32) -> Values:
    """values * ratio with a multiplier of 8 fractional bits."""
    return (values * int(np.rint(f32(256) * ratio)) + 128) >> 8


@rules.requires(rules.UNARY)
def leaky_relu(low: Lowering, op: Operator) -> None:
    """By XNNPACK where both slopes lie in its range, else by the builtin kernel."""
    x, y = op.inputs[0], op.outputs[0]
    s_x, s_y = ordinary_scales(x, y)
    alpha = f32(op.attributes["alpha"])
    with np.errstate(over="ignore"):
        up = f32(s_x / s_y)
        down = f32(up * alpha)
    problem = "" if np.isfinite(alpha) else f"alpha {alpha}"
    reference = _too_far(float(up), float(down))
    low.check(rules.UNARY, Facts(op.op_type, [x, y], [], reference=reference, attribute=problem))
    a, z_y = _inputs(low, x), low.quantization(y)[1]
    if _in_xnnpack(up) and _in_xnnpack(down) and down > f32(-127.99609):
        parts = _xnnpack_scale(a, up), _xnnpack_scale(a, down)
    else:
        parts = (
            fixed_point.scale(a, float(up)),
            fixed_point.scale(a, float(f32(f32(s_x * alpha) / s_y))),
        )
    _lookup(low, x, y, np.where(a >= 0, *parts) + z_y)


@rules.requires(rules.UNARY)
def prelu(low: Lowering, op: Operator) -> None:
    """With a constant slope, one value or one for each channel: a table, or a table a channel."""
    x, slope, y = op.inputs[0], op.inputs[1], op.outputs[0]
    channels = slope.size in (1, x.shape[-1] if x.shape and slope.shape[-1:] == x.shape[-1:] else 1)
    problem = ""
    if x.shape != y.shape or not channels or slope.size > MAX_TABLES:
        problem = f"a slope of shape {list(slope.shape)}"
    s_x, s_a, s_y = ordinary_scales(x, slope, y)
    ratios = float(f32(s_x / s_y)), float(f32(f32(s_x * s_a) / s_y))
    facts = Facts(op.op_type, [x, slope, y], [slope], reference=_too_far(*ratios), attribute=problem)
    low.check(rules.UNARY, facts)
    a, z_y = _inputs(low, x), low.quantization(y)[1]
    alpha = low.plain(slope).data.reshape(-1, 1).astype(np.int64) - low.quantization(slope)[1]
    up, down = fixed_point.scale(a, ratios[0]), fixed_point.scale(a * alpha, ratios[1])
    _lookup(low, x, y, np.where(a >= 0, up, down) + z_y)


# -- conversions --------------------------------------------------------------------------------------------------


@rules.requires(rules.UNARY)
def quantize(low: Lowering, op: Operator) -> None:
    """From float32 by the reciprocal of the scale; between 8-bit types by XNNPACK's fixed point or the builtin kernel's."""
    x, y = op.inputs[0], op.outputs[0]
    if x.dtype == "float32":
        low.check(rules.UNARY, Facts(op.op_type, [y], []))
        scale, zero_point = low.quantization(y)
        low.emit_to(
            "npu.quantize",
            [low.plain(x)],
            low.result(y),
            scale=float(scale),
            zero_point=zero_point,
            rounding=Rounding.XNNPACK,
        )
        return
    values, reference = None, ""
    if _quantized(x, y):
        values = _requantized(low, x, y)
        reference = "" if values is not None else "scales for which LiteRT rounds the last elements otherwise"
    low.check(rules.UNARY, Facts(op.op_type, [x, y], [], reference=reference))
    _lookup(low, x, y, values)


def _requantized(low: Lowering, x: Tensor, y: Tensor) -> Values | None:
    """None where the builtin kernel, which rounds in blocks in another way than at the end, gives a mixture."""
    (s_x, s_y), z_y = ordinary_scales(x, y), low.quantization(y)[1]
    a, ratio = _inputs(low, x), f32(s_x / s_y)
    if x.dtype == y.dtype and _in_xnnpack(ratio):
        return _xnnpack_scale(a, ratio) + z_y
    real = float(s_x) / float(s_y)
    if _too_far(real):
        return None
    blocks, rest = (np.clip(fixed_point.scale(a, real, half_up=u) + z_y, -128, 127) for u in (True, False))
    if x.size < BLOCK:
        return rest
    return blocks if x.size % BLOCK == 0 or np.array_equal(blocks, rest) else None


@rules.requires(rules.UNARY)
def dequantize(low: Lowering, op: Operator) -> None:
    x, y = op.inputs[0], op.outputs[0]
    reference = "" if y.dtype == "float32" else f"an output of type {y.dtype}"
    low.check(rules.UNARY, Facts(op.op_type, [x], [], reference=reference))
    scale, zero_point = low.quantization(x)
    low.emit_to("npu.dequantize", [low.plain(x)], low.result(y), scale=float(scale), zero_point=zero_point)
