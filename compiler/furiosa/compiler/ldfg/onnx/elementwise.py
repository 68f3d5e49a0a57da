"""Operators of two tensors: Add, Sub, Mul, Div, Max, Min, Sum, Mean and PRelu, with constants on either side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from furiosa.compiler.dfg.broadcast import merged
from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx import units
from furiosa.compiler.ldfg.onnx.common import (
    bounds,
    is_fused,
    lookup,
    operands,
    real_constant,
    real_numbers,
    requantization,
)
from furiosa.compiler.ldfg.onnx.units import Unit
from furiosa.enf.isa import Rounding

MAX_TABLES = 4096  # tables of one operator: 1 MiB of SRAM


@rules.requires(rules.BINARY)
def add(low: Lowering, unit: Unit) -> None:
    """Add: onnxruntime's fused QLinearAdd; with an activation of its own, and Sub, Sum, Mean of two: float32 operators one by one."""
    if _by_table(low, unit):
        return
    kind, y = units.plain_type(unit.op), unit.output
    low.check(rules.BINARY, _facts(unit))
    a, b = unit.inputs
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
    lo, hi = bounds(low, unit, y)
    more: dict[str, float]
    if kind != "Add" or not is_fused(low, unit):
        rounding = Rounding.QDQ
        more = {
            "a_scale": float(s_a),
            "b_scale": float(-s_b if kind == "Sub" else s_b),
            "output_scale": float(f32(2) * s_y if kind == "Mean" else s_y),
        }
    else:
        rounding = Rounding.ONNXRUNTIME
        if _spans_of_one(a, b, y):  # the kernel takes the broadcast operand second
            (a, b), (s_a, s_b), (z_a, z_b) = (b, a), (s_b, s_a), (z_b, z_a)
        raw = 128 if y.dtype == "uint8" else 0
        ra, rb = f32(s_a / s_y), f32(s_b / s_y)
        bias = f32(f32(z_y + raw) - _fma(ra, z_a + raw, f32(rb * f32(z_b + raw))))
        more = {"a_scale": float(ra), "b_scale": float(rb), "bias": float(bias), "raw_offset": raw}
    _emit(
        low,
        unit,
        "npu.add",
        (a, b),
        a_zero_point=z_a,
        b_zero_point=z_b,
        output_zero_point=z_y,
        clamp_min=lo,
        clamp_max=hi,
        rounding=rounding,
        **more,
    )


def _fma(a: np.float32, b: int, c: np.float32) -> np.float32:
    """a * b + c rounded once to float32; exact in float64 for an 8-bit b."""
    return f32(float(a) * b + float(c))


def _spans_of_one(a: Tensor, b: Tensor, y: Tensor) -> bool:
    """Whether each innermost run of b's elements meets a single element of a."""
    _, (of_a, of_b) = merged(y.shape, a.shape, b.shape)
    return bool(of_a) and of_a[-1] == 1 and of_b[-1] != 1


@rules.requires(rules.BINARY)
def mul(low: Lowering, unit: Unit) -> None:
    """Mul: onnxruntime's fused QLinearMul, or three float32 operators."""
    if _by_table(low, unit):
        return
    low.check(rules.BINARY, _facts(unit))
    a, b, y = *unit.inputs, unit.output
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
    lo, hi = bounds(low, unit, y)
    if not is_fused(low, unit):
        scales = {"a_scale": float(s_a), "b_scale": float(s_b), "output_scale": float(s_y)}
        arithmetic_of = {"rounding": Rounding.QDQ, "output_offset": z_y, **scales}
    else:  # the kernel adds the zero point of the tensor's own type before it rounds
        raw = 128 if y.dtype == "uint8" else 0
        arithmetic_of = {
            "rounding": Rounding.ONNXRUNTIME,
            "scale": float(f32(f32(s_a * s_b) / s_y)),
            "float_zero_point": z_y + raw,
            "output_offset": -raw,
        }
    zero_points = {"a_zero_point": z_a, "b_zero_point": z_b}
    _emit(low, unit, "npu.mul", (a, b), **zero_points, clamp_min=lo, clamp_max=hi, **arithmetic_of)


@rules.requires(rules.BINARY)
def maximum(low: Lowering, unit: Unit) -> None:
    """Max and Min.  Quantisation is monotone: each operand is brought to the output's scale, and the integers compared."""
    if _by_table(low, unit):
        return
    low.check(rules.BINARY, _facts(unit))
    y = unit.output
    plain, image = operands(low, y, unit.inputs)
    forms = []
    for t, form in zip(unit.inputs, plain):
        if low.quantization(t) != low.quantization(y) or unit.activation is not None:
            entries = low.table(f"{t.name}/requantize", requantization(low, t, y, unit))
            form = low.emit("npu.table_lookup", [form, entries], t.name, form.shape, y.quantization)
        forms.append(form)
    first, *rest = forms
    if not rest:
        low.emit_to("npu.reshape", [first], low.result(y, image=image))
    kind = "npu.maximum" if units.plain_type(unit.op) == "Max" else "npu.minimum"
    for i, form in enumerate(rest):
        if i == len(rest) - 1:
            low.emit_to(kind, [first, form], low.result(y, image=image))
        else:
            shape = np.broadcast_shapes(first.shape, form.shape)
            first = low.emit(kind, [first, form], y.name, shape, y.quantization)


@rules.requires(rules.BINARY)
def div(low: Lowering, unit: Unit) -> None:
    """Div: three float32 operators; by a constant, or of one, a table."""
    if _by_table(low, unit):
        return
    low.check(rules.BINARY, _facts(unit))
    a, b, y = *unit.inputs, unit.output
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
    lo, hi = bounds(low, unit, y)
    scales = {"a_scale": float(s_a), "b_scale": float(s_b), "output_scale": float(s_y)}
    zero_points = {"a_zero_point": z_a, "b_zero_point": z_b, "output_zero_point": z_y}
    _emit(low, unit, "npu.div", (a, b), **zero_points, clamp_min=lo, clamp_max=hi, **scales)


@rules.requires(rules.BINARY)
def by_constant(low: Lowering, unit: Unit) -> None:
    """PRelu: by a constant it is a table."""
    if not _by_table(low, unit):
        low.check(rules.BINARY, _facts(unit, constants=unit.inputs[1:], attribute=_not_a_table(unit)))


def _not_a_table(unit: Unit) -> str:
    which = "a constant numerator" if real_constant(unit.inputs[0]) is not None else "a constant"
    return f"{which} of shape {list(unit.inputs[1].shape)}"


def _facts(unit: Unit, constants: list[Tensor | None] | None = None, attribute: str = "") -> Facts:
    activations = [t for t in (*unit.inputs, unit.output) if t not in (constants or [])]
    return Facts(
        unit.op.op_type, activations, constants or [], reference=real_numbers(unit), attribute=attribute
    )


def _emit(low: Lowering, unit: Unit, kind: str, inputs: tuple[Tensor, Tensor], **attributes: float) -> None:
    y = unit.output
    forms, image = operands(low, y, inputs)
    low.emit_to(kind, forms, low.result(y, image=image), **attributes)


# -- one tensor and one constant: a table, or a table a channel ----------------------------------------------------

Numbers = Callable[[np.ndarray, np.ndarray], np.ndarray]

# in float32 as onnxruntime's float operators; these NumPy operations are exact everywhere
NUMBERS: dict[str, Numbers] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Mean": lambda a, b: (a + b) / f32(2),
    "Min": np.minimum,
    "Mul": np.multiply,
    "PRelu": lambda x, slope: np.where(x >= 0, x, x * slope),
    "Sub": np.subtract,
    "Sum": np.add,
}
_ALWAYS = ("Div", "PRelu")  # others have a command for a quantised constant


def _by_table(low: Lowering, unit: Unit) -> bool:
    """Lowers an operator of a tensor and a constant of one value, or one a channel; False where it is none."""
    kind, y = units.plain_type(unit.op), unit.output
    if len(unit.inputs) != 2:
        return False
    constants = [real_constant(t) if t.dtype == "float32" or kind in _ALWAYS else None for t in unit.inputs]
    if (constants[0] is None) == (constants[1] is None) or (kind == "PRelu" and constants[1] is None):
        return False
    place = 0 if constants[0] is not None else 1
    x, constant = unit.inputs[1 - place], constants[place]
    form = _channels(low, x, constant, y)
    if form is None:
        return False
    columns, image = form
    low.check(rules.BINARY, _facts(unit, constants=[unit.inputs[place]]))
    real = arithmetic.real_values(*low.quantization(x))[None]
    with np.errstate(all="ignore"):
        result = NUMBERS[kind](columns, real) if place == 0 else NUMBERS[kind](real, columns)
    lookup(low, x, y, result.astype(f32), unit, image=image)
    return True


def _channels(low: Lowering, x: Tensor, constant: np.ndarray, y: Tensor) -> tuple[np.ndarray, bool] | None:
    """(the constant as [1, 1] or [C, 1], whether C is the last dimension of the channels-last form); None for neither."""
    if x.shape != y.shape:
        return None
    rank = len(y.shape)
    image = low.has_image(x) and rank == 4
    if constant.size == 1:
        return constant.reshape(1, 1), image
    if constant.size > MAX_TABLES:
        return None
    shape = (1,) * (rank - constant.ndim) + constant.shape
    axes = [i for i, d in enumerate(shape) if d != 1]
    if len(axes) != 1:
        return None
    if axes[0] == rank - 1:
        return constant.reshape(-1, 1), False
    return (constant.reshape(-1, 1), True) if axes[0] == 1 and rank == 4 else None
