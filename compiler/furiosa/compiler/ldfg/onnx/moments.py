"""LayerNormalization as exporters wrote it before it was an operator, and as onnxruntime quantises that.

    mean = ReduceMean(x), d = Sub(x, mean), v = ReduceMean(Pow(d, 2)), Div(d, Sqrt(Add(v, epsilon)))

Between DequantizeLinear of x and QuantizeLinear of the quotient only v, and what becomes of it, is quantised: d never is.  So the two ends
belong together, with the operators on v between them: one unit of several steps.
"""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic, rules
from furiosa.compiler.ldfg.arithmetic import f32
from furiosa.compiler.ldfg.lowering import Facts, Lowering
from furiosa.compiler.ldfg.moves import reshaped
from furiosa.compiler.ldfg.onnx import chains
from furiosa.compiler.ldfg.onnx.common import real_constant
from furiosa.compiler.ldfg.onnx.units import DEQUANTIZE, EIGHT_BIT, QUANTIZE, Unit

_MOST = 8  # units, and operators on real numbers, between the variance and the divisor


class _Graph:
    """What is asked of the graph: who makes a tensor, and whether only given operators read it."""

    def __init__(
        self,
        producer: dict[Tensor, Operator],
        consumers: dict[Tensor, list[Operator]],
        results: set[Tensor],
    ) -> None:
        self.producer, self.consumers, self.results = producer, consumers, results

    def maker(self, t: Tensor | None, *op_types: str) -> Operator | None:
        op = self.producer.get(t)
        return op if op is not None and op.op_type in op_types and not op.attributes.get("domain") else None

    def integers(self, t: Tensor | None) -> tuple[Tensor, Operator] | None:
        """The quantised tensor of one scale behind a real one, and the DequantizeLinear."""
        op = self.maker(t, DEQUANTIZE)
        if op is None:
            return None
        q = op.inputs[0]
        fits = q.dtype in EIGHT_BIT and q.quantization is not None and q.quantization.scale.size == 1
        return (q, op) if fits and not q.is_constant else None


def find(
    quantize: Operator,
    producer: dict[Tensor, Operator],
    consumers: dict[Tensor, list[Operator]],
    results: set[Tensor],
    absorbed: dict[Operator, Unit],
) -> Unit | None:
    """The unit that ends with a QuantizeLinear of the quotient; ``absorbed`` are the units found so far, by their operators."""
    g = _Graph(producer, consumers, results)
    div = g.maker(quantize.inputs[0], "Div")
    sub = g.maker(div.inputs[0], "Sub") if div is not None else None
    if sub is None:
        return None
    x, mean = g.integers(sub.inputs[0]), g.maker(sub.inputs[1], "ReduceMean")
    mean_of = g.integers(mean.inputs[0]) if mean is not None else None
    if x is None or mean_of is None or mean_of[0] is not x[0]:
        return None
    divisor = _divisor(div.inputs[1], g, absorbed)
    if divisor is None:
        return None
    s, between, function = divisor
    variance = _variance(between[0].inputs[0] if between else s, sub.outputs[0], g)
    if variance is None or _axes(mean) is None or _axes(mean) != _axes(variance[1]):
        return None
    square, mean_square, quantized = variance
    v = quantized.outputs[0]
    first = [x[1], mean_of[1], mean, sub, square, mean_square, quantized]
    last = [*function, div, quantize]
    members = list(dict.fromkeys([*first, *(op for unit in between for op in unit.operators), *last]))
    steps = [
        Unit(mean_square, [x[0]], v, first, dequantizes=[x[1]], function=variance_of_rows),
        *between,
        Unit(
            div,
            [x[0], s],
            quantize.outputs[0],
            last,
            dequantizes=[x[1]],
            chain=function,
            function=standardized,
        ),
    ]
    inside = set(members)
    for op in members:
        if op in (x[1], mean_of[1], quantize) or (op.op_type == DEQUANTIZE and op.inputs[0].is_constant):
            continue  # others may read these
        if any(t in results or not inside.issuperset(consumers.get(t, [])) for t in op.outputs):
            return None
    return Unit(div, [x[0]], quantize.outputs[0], members, dequantizes=[x[1]], steps=steps)


def _divisor(
    t: Tensor | None, g: _Graph, absorbed: dict[Operator, Unit]
) -> tuple[Tensor, list[Unit], list[Operator]] | None:
    """What a row is divided by: the quantised tensor it follows from, the units that make that of the variance, and the operators, with
    their DequantizeLinear, that make real numbers of it.
    """
    function: list[Operator] = []
    while (q := g.integers(t)) is None:
        op = g.producer.get(t)
        if op is None or not chains.takes(op) or len(function) == _MOST:
            return None
        data = [i for i in op.inputs if i is not None and not i.is_constant]
        if len(data) != 1:
            return None
        function.insert(0, op)
        (t,) = data
    s, dequantize = q
    units: list[Unit] = []
    at = s
    while (op := g.producer.get(at)) is not None and op in absorbed and len(units) < _MOST:
        unit = absorbed[op]
        data = [i for i in unit.inputs if i is not None and not i.is_constant]
        if len(data) != 1 or unit.output is not at or unit.others or unit.steps:
            return None
        units.insert(0, unit)
        (at,) = data
    return s, units, [dequantize, *function]


def _variance(v: Tensor, d: Tensor, g: _Graph) -> tuple[Operator, Operator, Operator] | None:
    """The square of ``d``, the mean of it, and its QuantizeLinear."""
    quantize = g.maker(v, QUANTIZE)
    mean = g.maker(quantize.inputs[0], "ReduceMean") if quantize is not None else None
    square = g.maker(mean.inputs[0], "Pow", "Mul") if mean is not None else None
    if square is None or square.inputs[0] is not d:
        return None
    if square.op_type == "Mul":
        return (square, mean, quantize) if square.inputs[1] is d else None
    exponent = real_constant(square.inputs[1])
    if exponent is None or exponent.size != 1 or exponent.reshape(-1)[0] != 2:
        return None
    return square, mean, quantize


def _axes(mean: Operator) -> tuple[int, ...] | None:
    """The axes of a ReduceMean over the last dimensions, which it keeps; None for any other."""
    rank = len(mean.inputs[0].shape)
    given = mean.inputs[1] if len(mean.inputs) > 1 else None
    if not mean.attributes.get("keepdims", 1) or (given is not None and not given.is_constant):
        return None
    axes = mean.attributes.get("axes") if given is None else given.data.reshape(-1).tolist()
    found = tuple(sorted(a % rank for a in axes or ()))
    return found if found and found == tuple(range(rank - len(found), rank)) else None


@rules.requires(rules.LAYER_NORM)
def variance_of_rows(low: Lowering, unit: Unit) -> None:
    """The mean of the squares of a row less its mean."""
    _emit(low, unit, "npu.variance", unit.output.size, 1, [])


@rules.requires(rules.LAYER_NORM)
def standardized(low: Lowering, unit: Unit) -> None:
    """A row less its mean, divided by a function of one quantised number of the row."""
    s = unit.inputs[1]
    dequantize, *function = unit.chain
    numbers = {dequantize.outputs[0]: arithmetic.real_values(*low.quantization(s))}
    divisors = chains.evaluate(function, numbers, (function or [dequantize])[-1].outputs[0])
    table = low.constant(f"{unit.output.name}/divisors", np.ascontiguousarray(divisors, f32))
    rows = reshaped(low, low.plain(s), (s.size, 1))
    _emit(low, unit, "npu.standardize", s.size, unit.inputs[0].size // s.size, [rows, table])


def _emit(low: Lowering, unit: Unit, op_type: str, rows: int, width: int, operands: list[Tensor]) -> None:
    """Emits an operator on the rows of the unit's input, which gives ``width`` values a row."""
    x, y = unit.inputs[0], unit.output
    depth = x.size // rows
    reference = ""
    if depth % 4:
        reference = f"rows of {depth} values, no multiple of 4: onnxruntime adds up each row in another order"
    low.check(rules.LAYER_NORM, Facts(unit.op.op_type, [x, y], [], reduced=depth, reference=reference))
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    out = low.emit(
        op_type,
        [reshaped(low, low.plain(x), (rows, depth)), *operands],
        y.name,
        (rows, width),
        y.quantization,
        input_zero_point=z_x,
        input_scale=float(s_x),
        output_scale=float(s_y),
        output_zero_point=z_y,
        clamp_min=-128,
        clamp_max=127,
    )
    low.emit_to("npu.reshape", [out], low.result(y))
