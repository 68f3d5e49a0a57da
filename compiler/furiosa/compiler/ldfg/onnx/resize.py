"""Resize."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg import resample, rules
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx.common import bounds, mismatch, requantization
from furiosa.compiler.ldfg.onnx.units import Unit
from furiosa.compiler.ldfg.resample import Axis
from furiosa.enf.isa import Rounding

f32 = np.float32


@rules.requires(rules.ELEMENTWISE)
def resize(low: Lowering, unit: Unit) -> None:
    """Nearest: values move, with a table where the scale changes.  Linear: onnxruntime's float32 sum of four values."""
    a = unit.op.attributes
    x, y = unit.inputs[0], unit.output
    given = [t for t in unit.inputs[1:] if t is not None]
    mode = a.get("mode", "nearest")
    problem = _problem(unit, x, y)
    axes: list[Axis] = []
    if not problem and all(t.is_constant for t in given):
        scales = _scales(unit, x, y)
        for i in (2, 3):
            axis, problem = _axis(unit, x.shape[i], y.shape[i], scales[i], i, problem)
            axes.append(axis)
    low.check(rules.ELEMENTWISE, Facts(unit.op.op_type, [x, y], given, attribute=problem))
    rows, columns = axes
    if mode != "nearest":
        (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
        lo, hi = bounds(low, unit, y)
        parameters = {"input_scale": float(s_x), "output_scale": float(s_y)}
        parameters |= {"input_zero_point": z_x, "output_zero_point": z_y, "clamp_min": lo, "clamp_max": hi}
        source, target = low.image(x), low.result(y, image=True)
        resample.emit(low, source, target, rows, columns, rounding=Rounding.QDQ, **parameters)
        return
    source = low.image(x)
    if mismatch(low, unit, x, y):
        lookup = low.table(f"{y.name}/requantize", requantization(low, x, y, unit))
        source = low.emit("npu.table_lookup", [source, lookup], x.name, source.shape, y.quantization)
    resample.emit(low, source, low.result(y, image=True), rows, columns, rounding=Rounding.XNNPACK)


def _problem(unit: Unit, x: Tensor, y: Tensor) -> str:
    """Why the operator as a whole is not one that the NPU takes; empty where it is."""
    a = unit.op.attributes
    mode = a.get("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear"):
        return f"mode {mode}"
    if len(x.shape) != 4 or x.shape[:2] != y.shape[:2]:
        return "resizing of other dimensions than the last two of four"
    if a.get("antialias", 0):
        return "antialias"
    if a.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return f"keep_aspect_ratio_policy {a['keep_aspect_ratio_policy']}"
    if mode != "nearest" and not unit.dequantizes:
        return "a linear resizing of integers"
    return ""


def _values(t: Tensor | None, axes: list[int], default: np.ndarray) -> np.ndarray | None:
    """An input that states one number for each of ``axes``, filled up to all four dimensions; None where it is empty."""
    if t is None or t.data.size != len(axes):
        return None
    out = default.copy()
    out[axes] = t.data.reshape(-1)
    return out


def _scales(unit: Unit, x: Tensor, y: Tensor) -> np.ndarray:
    """float32 [4]: as stated, or what the sizes make."""
    if x.shape == y.shape:  # whatever scales are stated, onnxruntime copies
        return np.ones(4, f32)
    inputs = [*unit.inputs, None, None, None]
    axes = [int(v) % 4 for v in unit.op.attributes.get("axes") or range(4)]
    sized = np.asarray(y.shape, f32) / np.asarray(x.shape, f32)
    is_old = "coordinate_transformation_mode" not in unit.op.attributes  # Resize 10
    scales = _values(inputs[1 if is_old else 2], axes, np.ones(4, f32))
    return sized if scales is None else scales.astype(f32)


def _roi(unit: Unit, axis: int) -> tuple[float, float]:
    t = unit.inputs[1] if len(unit.inputs) > 1 else None
    axes = [int(v) % 4 for v in unit.op.attributes.get("axes") or range(4)]
    if t is None or t.data.size != 2 * len(axes) or axis not in axes:
        return 0.0, 1.0
    values, i = t.data.reshape(-1), axes.index(axis)
    return float(values[i]), float(values[i + len(axes)])


def _axis(
    unit: Unit, size: int, out: int, scale: np.float32, axis: int, problem: str
) -> tuple[Axis | None, str]:
    """The table of one axis, or why there is none."""
    a = unit.op.attributes
    old = "coordinate_transformation_mode" not in a
    mode = a.get("coordinate_transformation_mode", "asymmetric")
    if problem or not scale > 0:
        return None, problem or "a scale that is not positive"
    position = resample.onnx_positions(mode, size, out, scale, _roi(unit, axis))
    if position is None:
        return None, f"coordinate_transformation_mode {mode}"
    if mode == "tf_crop_and_resize" and (position.min() < 0 or position.max() > size - 1):
        return None, "a roi that reaches beyond the input"
    if a.get("mode", "nearest") != "nearest":
        return resample.onnx_linear(position, size), ""
    if old:  # the rule of opsets before 11
        rule: Callable[[float], int] = np.ceil if scale < 1 else np.trunc
        return resample.nearest(rule(position), size), ""
    nearest_mode = a.get("nearest_mode", "round_prefer_floor")
    if nearest_mode not in resample.NEAREST_MODES:
        return None, f"nearest_mode {nearest_mode}"
    return resample.onnx_nearest(position, size, nearest_mode), ""
