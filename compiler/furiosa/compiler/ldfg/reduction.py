"""What both formats' reductions and normalisations share: dimensions merged to what the commands take."""

from __future__ import annotations

import math
from collections.abc import Collection

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.enf.isa import Reduction

# parameters of REDUCE where nothing else is said: y = clamp(rint(r))
_DEFAULTS = {
    "reduction": Reduction.SUM,
    "input_zero_point": 0,
    "scale": 1.0,
    "divisor": 1.0,
    "output_scale": 1.0,
    "bias": 0.0,
    "output_offset": 0,
    "clamp_min": -128,
    "clamp_max": 127,
}


def runs(shape: tuple[int, ...], axes: Collection[int]) -> list[tuple[int, bool]]:
    """(elements, whether reduced) of each run of neighbouring dimensions that are all reduced or all kept."""
    out: list[tuple[int, bool]] = []
    for i, d in enumerate(shape):
        if d == 1:
            continue
        if out and out[-1][1] == (i in axes):
            d *= out.pop()[0]
        out.append((d, i in axes))
    return out


def reduce(low: Lowering, x: Tensor, axes: Collection[int], y: Tensor, **attributes: float) -> None:
    """Emits a REDUCE of the form ``x`` over ``axes``, of at most four runs; ``y`` holds what is kept, in x's order, in any shape."""
    parts = runs(x.shape, axes)
    lead = (1,) * (4 - len(parts))
    source = (*lead, *(d for d, _ in parts))
    target = (*lead, *(1 if reduced else d for d, reduced in parts))
    shaped = low.emit("npu.reshape", [x], x.name, source, x.quantization)
    reduced = low.emit("npu.reduce", [shaped], y.name, target, y.quantization, **{**_DEFAULTS, **attributes})
    low.emit_to("npu.reshape", [reduced], y)


def along(
    low: Lowering,
    op_type: str,
    x: Tensor,
    axes: tuple[int, int],
    constants: list[Tensor],
    y: Tensor,
    **attributes: float,
) -> None:
    """Emits a command over [outer, depth, inner], depth being the dimensions of ``x`` from axes[0] to before axes[1]."""
    first, end = axes
    shape = tuple(math.prod(part) for part in (x.shape[:first], x.shape[first:end], x.shape[end:]))
    shaped = low.emit("npu.reshape", [x], x.name, shape, x.quantization)
    out = low.emit(op_type, [shaped, *constants], y.name, shape, y.quantization, **attributes)
    low.emit_to("npu.reshape", [out], y)


def reduced_elements(shape: tuple[int, ...], axes: Collection[int]) -> int:
    """How many elements become one."""
    return math.prod(shape[a] for a in axes)
