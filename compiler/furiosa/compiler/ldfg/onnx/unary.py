"""Functions of one value, which are tables."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from furiosa.compiler.ldfg import functions, rules
from furiosa.compiler.ldfg.functions import Function
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx import units
from furiosa.compiler.ldfg.onnx.common import limits, real_constant, real_numbers, table
from furiosa.compiler.ldfg.onnx.units import EIGHT_BIT, Unit


def _gelu(unit: Unit) -> Function:
    tanh = unit.op.attributes.get("approximate", "none") in ("tanh", b"tanh")
    return functions.gelu_tanh if tanh else functions.gelu


# from a unit to its function; onnxruntime computes it in float32 between DequantizeLinear and QuantizeLinear, and its
# own quantised kernels (LeakyRelu, Sigmoid) are tables of the same values
FUNCTIONS: dict[str, Callable[[Unit], Function]] = {
    "Clip": lambda u: functions.clip(*limits(u.op, u.inputs)),
    "Elu": lambda u: functions.elu(u.op.attributes.get("alpha", 1.0)),
    "Erf": lambda u: math.erf,
    "Exp": lambda u: functions.exp,
    "Gelu": _gelu,
    "HardSigmoid": lambda u: functions.hard_sigmoid(
        u.op.attributes.get("alpha", 0.2), u.op.attributes.get("beta", 0.5)
    ),
    "HardSwish": lambda u: functions.hard_swish,
    "LeakyRelu": lambda u: functions.leaky_relu(u.op.attributes.get("alpha", 0.01)),
    "Log": lambda u: functions.log,
    "Pow": lambda u: functions.power(float(real_constant(u.inputs[1]).reshape(-1)[0])),
    "Relu": lambda u: functions.clip(*limits(u.op)),
    "Sigmoid": lambda u: functions.sigmoid,
    "Softplus": lambda u: functions.softplus,
    "Sqrt": lambda u: functions.sqrt,
    "Tanh": lambda u: math.tanh,
}


@rules.requires(rules.UNARY)
def unary(low: Lowering, unit: Unit) -> None:
    """Any function of one value: a table."""
    x, y = unit.inputs[0], unit.output
    kind = units.plain_type(unit.op)
    if kind == "Clip" and unit.op.inputs[0].dtype in EIGHT_BIT:
        _clip_integers(low, unit)
        return
    problem = ""
    if kind == "Pow" and unit.inputs[1].is_constant:
        exponent = real_constant(unit.inputs[1])
        if exponent is None or exponent.size != 1:
            problem = f"{unit.inputs[1].size} exponents of type {unit.inputs[1].dtype}"
    facts = Facts(kind, [x, y], unit.inputs[1:], reference=real_numbers(unit), attribute=problem)
    low.check(rules.UNARY, facts)
    table(low, x, y, FUNCTIONS[kind](unit), unit)


def _clip_integers(low: Lowering, unit: Unit) -> None:
    """Clip of quantised values, with which exporters narrow their range: -127 to 127, 7 bits, 4 bits."""
    x, y = unit.inputs[0], unit.output
    low.check(rules.UNARY, Facts(unit.op.op_type, [x, y], unit.inputs[1:]))
    ends = np.iinfo(x.dtype)
    given = [*unit.inputs[1:], None, None][:2]
    least, most = (
        end if t is None else int(t.data.reshape(-1)[0]) for t, end in zip(given, (ends.min, ends.max))
    )
    shift = 128 if x.dtype == "uint8" else 0
    entries = low.table(f"{y.name}/clip", lambda q: min(max(q, least - shift), most - shift))
    image = low.has_image(x) and len(x.shape) == 4
    form = low.image(x) if image else low.plain(x)
    low.emit_to("npu.table_lookup", [form, entries], low.result(y, image=image))
