"""Functions of one value, which are tables."""

from __future__ import annotations

import math
from collections.abc import Callable

from furiosa.compiler.ldfg import functions, rules
from furiosa.compiler.ldfg.functions import Function
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.onnx import units
from furiosa.compiler.ldfg.onnx.common import limits, real_constant, real_numbers, table
from furiosa.compiler.ldfg.onnx.units import Unit


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
    problem = ""
    if kind == "Pow" and unit.inputs[1].is_constant:
        exponent = real_constant(unit.inputs[1])
        if exponent is None or exponent.size != 1:
            problem = f"{unit.inputs[1].size} exponents of type {unit.inputs[1].dtype}"
    facts = Facts(kind, [x, y], unit.inputs[1:], reference=real_numbers(unit), attribute=problem)
    low.check(rules.UNARY, facts)
    table(low, x, y, FUNCTIONS[kind](unit), unit)
