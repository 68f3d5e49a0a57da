"""Lowering of ONNX operators: one function an operator, after the arithmetic of onnxruntime's quantised kernels.

Each rule of arithmetic is stated, and tested against onnxruntime, in tests/reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.ldfg import arithmetic, onnx_units, rules
from furiosa.compiler.ldfg.arithmetic import clamp, f32
from furiosa.compiler.ldfg.lowering import NCHW_TO_NHWC, NHWC_TO_NCHW, Facts, Lowering
from furiosa.compiler.ldfg.onnx_units import DEQUANTIZE, EIGHT_BIT, QUANTIZE, Unit
from furiosa.compiler.ldfg.tflite import matmul as emit_matmul
from furiosa.compiler.ldfg.verdict import Refused, Verdict
from furiosa.enf.isa import Rounding


def lower_onnx(low: Lowering) -> None:
    """Lowers the graph unit by unit."""
    odd = onnx_units.annotate(low.graph)
    all_units = onnx_units.units(low.graph, low.producer, low.consumers)
    low.unit_of = {op: unit for unit in all_units for op in unit.operators if op.op_type != DEQUANTIZE}
    for unit in all_units:
        low.current = unit.operators
        try:
            _lower(low, unit, odd)
        except Refused as refusal:
            for op in unit.operators:
                if op.op_type != DEQUANTIZE or not low.is_made(op.outputs[0]):
                    low.to_host(op, Verdict("host", refusal.reasons))
    for op in low.graph.operators:  # a unit on the NPU takes the operators around it along
        low.verdicts.setdefault(op, Verdict("npu"))


def _lower(low: Lowering, unit: Unit, odd: set[Operator]) -> None:
    from furiosa.compiler.ldfg.lower import unknown_operator

    op = unit.op
    if any(member in odd for member in unit.operators):
        low.check(
            (rules.reference_arithmetic,),
            Facts(op.op_type, [], [], reference="a tensor read with another scale"),
        )
    if op.op_type == DEQUANTIZE:
        _dequantize(low, unit)
    elif op.op_type == QUANTIZE:
        _quantize(low, unit)
    else:
        function = LOWERINGS.get(onnx_units.plain_type(op))
        if function is None or op.attributes.get("domain", "") not in ("", "com.microsoft"):
            raise Refused([unknown_operator(op.op_type, LOWERINGS)])
        function(low, unit)


# -- quantisation on its own ------------------------------------------------------------------------------------------


def _dequantize(low: Lowering, unit: Unit) -> None:
    """Emitted only where somebody needs the real numbers."""
    op = unit.op
    x, y = op.inputs[0], op.outputs[0]
    if y not in low.graph.outputs and all(_absorbs(low, user, op) for user in low.consumers.get(y, [])):
        return
    low.check(rules.INTEGER, Facts(op.op_type, [x], []))
    scale, zero_point = low.quantization(x)
    low.emit_to("npu.dequantize", [low.plain(x)], low.result(y), scale=float(scale), zero_point=zero_point)


def _absorbs(low: Lowering, user: Operator, dequantize: Operator) -> bool:
    unit = low.unit_of.get(user)
    return user.op_type == QUANTIZE or (unit is not None and dequantize in unit.operators)


def _quantize(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = op.inputs[0], op.outputs[0]
    source = low.producer.get(x)
    if source is not None and source.op_type == DEQUANTIZE and source.inputs[0].dtype in EIGHT_BIT:
        low.check(rules.ELEMENTWISE, Facts(op.op_type, [source.inputs[0], y], []))
        _table(low, source.inputs[0], y, lambda v: v)
        return
    reference = "" if x.dtype == "float32" else f"an input of type {x.dtype}"
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [y], [], reference=reference))
    scale, zero_point = low.quantization(y)
    image = low.has_image(x) and len(x.shape) == 4
    low.emit_to(
        "npu.quantize",
        [low.image(x) if image else low.plain(x)],
        low.result(y, image=image),
        scale=float(scale),
        zero_point=zero_point,
        rounding=Rounding.ONNXRUNTIME,
    )


def _table(
    low: Lowering, x: Tensor, y: Tensor, function: Callable[[float], float], unit: Unit | None = None
) -> None:
    """y = quantize(function(dequantize(x))), in float32 with the function in float64, as 256 values."""
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = _bounds(low, unit, y) if unit is not None else (-128, 127)

    def value(q: int) -> int:
        real = f32(function(float(f32(f32(q - z_x) * s_x))))
        return clamp(np.rint(f32(real / s_y)) + z_y, lo, hi)

    low.requantize(x, y, value, image=low.has_image(x) and len(x.shape) == 4)


# -- the clamp of a fused activation ----------------------------------------------------------------------------------


def _limits(op: Operator) -> tuple[float, float]:
    """The real range of a Relu or Clip."""
    if op.op_type == "Relu":
        return 0.0, math.inf
    low, high = op.attributes.get("min", -math.inf), op.attributes.get("max", math.inf)
    for i, t in enumerate(op.inputs[1:3]):
        if t is not None and t.is_constant:
            value = float(t.data.reshape(-1)[0])
            low, high = (value, high) if i == 0 else (low, value)
    return low, high


def _bounds(low: Lowering, unit: Unit, y: Tensor) -> tuple[int, int]:
    """Quantisation is monotone: to clamp the real number is to clamp its quantised value to the quantised bounds."""
    if unit.activation is None:
        return -128, 127
    scale, zero_point = low.quantization(y)

    def bound(v: float, end: int) -> int:
        return end if math.isinf(v) else clamp(np.rint(f32(f32(v) / scale)) + zero_point)

    real_low, real_high = _limits(unit.activation)
    lo, hi = bound(real_low, -128), bound(real_high, 127)
    return min(lo, hi), hi


# -- convolution and matrix products ----------------------------------------------------------------------------------


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


def _parameters(
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


def _pads(
    op: Operator, x: Tensor, y: Tensor, kernel: list[int], stride: list[int], dilation: list[int]
) -> list[int]:
    """Padding before the input, by dimension."""
    auto = op.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        out = []
        for i in range(len(kernel)):
            total = (y.shape[2 + i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - x.shape[2 + i]
            out.append((max(total, 0) + (auto == "SAME_LOWER")) // 2)
        return out
    if auto == "VALID":
        return [0] * len(kernel)
    pads = op.attributes.get("pads") or [0] * (2 * len(kernel))
    return list(pads[: len(kernel)])


def _window(op: Operator, x: Tensor, y: Tensor, kernel: list[int]) -> dict[str, int]:
    rank = len(kernel)
    stride = op.attributes.get("strides") or [1] * rank
    dilation = op.attributes.get("dilations") or [1] * rank
    pads = _pads(op, x, y, kernel, stride, dilation)
    out = {"stride_h": stride[0], "stride_w": stride[1], "pad_top": pads[0], "pad_left": pads[1]}
    return out | {"dilation_h": dilation[0], "dilation_w": dilation[1]}


def _pad_problem(op: Operator, kernel: list[int]) -> str:
    pads = op.attributes.get("pads") or []
    dilation = op.attributes.get("dilations") or [1] * len(kernel)
    if any(p < 0 for p in pads):
        return "negative padding"
    if any(p > (k - 1) * d for p, k, d in zip(pads, [*kernel, *kernel], [*dilation, *dilation])):
        return "padding as wide as the window"
    return ""


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
        attribute=_pad_problem(op, kernel),
    )
    low.check(rules.CONV, facts)
    lo, hi = _bounds(low, unit, y)
    data = low.plain(w).data
    attributes = _window(op, x, y, kernel)
    if w.shape[1] == 1 and groups > 1:
        kind, weight = "npu.depthwise_conv2d", data[:, 0].transpose(1, 2, 0)
    else:
        kind, weight = "npu.conv2d", data.transpose(0, 2, 3, 1)
        attributes["groups"] = groups
    constants, zero_points = _parameters(low, w, np.ascontiguousarray(weight), b, x, y)
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
    lo, hi = _bounds(low, unit, y)
    data = low.plain(w).data
    weight = np.ascontiguousarray(data if a.get("transB", 0) else data.T)
    channels, depth = weight.shape
    constants, zero_points = _parameters(low, w, weight.reshape(channels, 1, 1, depth), b, x, y)
    rows = x.size // depth
    plain = low.plain(x)
    emit_matmul(low, plain, rows, constants, low.result(y), **zero_points, clamp_min=lo, clamp_max=hi)


# -- elementwise --------------------------------------------------------------------------------------------------------


def _layout(low: Lowering, y: Tensor, *inputs: Tensor) -> bool:
    """Whether to compute in the channels-last form: all have four dimensions and one is at hand in that form."""
    return all(len(t.shape) == 4 for t in (y, *inputs)) and any(
        low.has_image(t) and not t.is_constant for t in inputs
    )


def add(low: Lowering, unit: Unit) -> None:
    """Add: onnxruntime's fused QLinearAdd; with an activation of its own, or Sub, the float32 operators one by one."""
    op = unit.op
    a, b = unit.inputs[:2]
    y = unit.output
    subtract = op.op_type == "Sub"
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [a, b, y], []))
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
    lo, hi = _bounds(low, unit, y)
    image = _layout(low, y, a, b)
    clipped = lo > -128 or hi < 127  # an activation that the output's range does not imply: not fused there
    more: dict[str, float] = {}
    if subtract or clipped or len({t.dtype for t in (a, b, y)}) > 1:
        rounding = Rounding.QDQ
        more = {
            "a_scale": float(s_a),
            "b_scale": float(-s_b if subtract else s_b),
            "output_scale": float(s_y),
        }
    else:
        rounding = Rounding.ONNXRUNTIME
        if a.size < b.size or (a.size == 1 and b.size != 1):  # the kernel takes the broadcast operand second
            (a, b), (s_a, s_b), (z_a, z_b) = (b, a), (s_b, s_a), (z_b, z_a)
        raw = 128 if y.dtype == "uint8" else 0
        ra, rb = f32(s_a / s_y), f32(s_b / s_y)
        bias = f32(f32(z_y + raw) - _fma(ra, z_a + raw, f32(rb * f32(z_b + raw))))
        more = {"a_scale": float(ra), "b_scale": float(rb), "bias": float(bias), "raw_offset": raw}
    inputs = [low.image(t) if image else low.plain(t) for t in (a, b)]
    low.emit_to(
        "npu.add",
        inputs,
        low.result(y, image=image),
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


def mul(low: Lowering, unit: Unit) -> None:
    op = unit.op
    a, b = unit.inputs[:2]
    y = unit.output
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [a, b, y], []))
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (low.quantization(t) for t in (a, b, y))
    lo, hi = _bounds(low, unit, y)
    image = _layout(low, y, a, b)
    raw = (
        128 if y.dtype == "uint8" else 0
    )  # the kernel adds the zero point of the tensor's own type before it rounds
    low.emit_to(
        "npu.mul",
        [low.image(t) if image else low.plain(t) for t in (a, b)],
        low.result(y, image=image),
        a_zero_point=z_a,
        b_zero_point=z_b,
        clamp_min=lo,
        clamp_max=hi,
        scale=float(f32(f32(s_a * s_b) / s_y)),
        float_zero_point=z_y + raw,
        output_offset=-raw,
    )


def unary(low: Lowering, unit: Unit) -> None:
    """Any function of one value: a table."""
    op = unit.op
    x, y = unit.inputs[0], unit.output
    low.check(rules.ELEMENTWISE, Facts(op.op_type, [x, y], []))
    kind = onnx_units.plain_type(op)
    if kind in ("Relu", "Clip"):
        lo, hi = _limits(op)
        _table(low, x, y, lambda v: min(max(v, lo), hi), unit)
    elif kind == "Sigmoid":
        _table(low, x, y, lambda v: 1.0 / (1.0 + math.exp(-v)) if v > -700 else 0.0, unit)
    elif kind == "Tanh":
        _table(low, x, y, math.tanh, unit)
    else:  # LeakyRelu
        alpha = f32(op.attributes.get("alpha", 0.01))
        _table(low, x, y, lambda v: v if v >= 0 else float(f32(f32(v) * alpha)), unit)


def softmax(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = unit.inputs[0], unit.output
    rank = len(x.shape)
    axis = op.attributes.get("axis", -1) % rank
    opset = op.attributes.get("opset", low.graph.source.opsets.get("", 13))
    last = axis == rank - 1 if opset >= 13 else all(d == 1 for d in x.shape[axis + 1 :])
    problem = "" if last else f"axis {axis} of {rank} dimensions"
    low.check(
        rules.SOFTMAX, Facts(op.op_type, [x, y], [], batch=x.shape[0] if rank > 1 else 1, attribute=problem)
    )
    classes = math.prod(x.shape[axis:])
    s_x, (s_y, z_y) = low.quantization(x)[0], low.quantization(y)
    largest = f32(f32(np.finfo(np.float32).max) / f32(classes))
    shift = max(0.0, float(f32(f32(math.log(float(largest))) - f32(5)))) / float(s_x)
    exponentials = np.array([math.exp((shift - d) * float(s_x)) for d in range(256)]).astype(np.float32)
    rows = x.size // classes
    shaped = low.emit("npu.reshape", [low.plain(x)], x.name, (rows, classes), x.quantization)
    out = low.emit(
        "npu.softmax",
        [shaped, low.constant(f"{y.name}/table", exponentials)],
        y.name,
        shaped.shape,
        y.quantization,
        output_offset=z_y,
        factor=float(math.floor(f32(f32(1) / s_y))),
        rounding=Rounding.ONNXRUNTIME,
    )
    low.emit_to("npu.reshape", [out], low.result(y))


# -- pooling ------------------------------------------------------------------------------------------------------------


def max_pool(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = unit.inputs[0], unit.output
    kernel = op.attributes["kernel_shape"]
    problem = _pad_problem(op, kernel)
    if len(op.outputs) > 1:
        problem = "the indices output"
    elif op.attributes.get("storage_order", 0) or any(d != 1 for d in op.attributes.get("dilations") or [1]):
        problem = "dilations or storage_order"
    low.check(rules.POOL, Facts(op.op_type, [x, y], [], spatial_rank=len(kernel), attribute=problem))
    attributes = _window(op, x, y, kernel)
    same = low.quantization(x) == low.quantization(y) and x.dtype == y.dtype
    lo, hi = _bounds(low, unit, y) if same else (-128, 127)
    image = low.image(x)
    shape = tuple(y.shape[i] for i in NCHW_TO_NHWC)
    target = low.result(y, image=True) if same else Tensor(y.name, shape, "int8", x.quantization)
    low.emit_to(
        "npu.max_pool2d",
        [image],
        target,
        **_without_dilation(attributes),
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        clamp_min=lo,
        clamp_max=hi,
    )
    if not same:  # rounding is monotone: the maximum of quantised values is the quantised maximum
        lookup = low.table(y.name, _requantization(low, x, y, unit))
        low.emit_to("npu.table_lookup", [target, lookup], low.result(y, image=True))


def _requantization(low: Lowering, x: Tensor, y: Tensor, unit: Unit) -> Callable[[int], int]:
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = _bounds(low, unit, y)
    return lambda q: clamp(np.rint(f32(f32(f32(q - z_x) * s_x) / s_y)) + z_y, lo, hi)


def _without_dilation(attributes: dict[str, int]) -> dict[str, int]:
    return {k: v for k, v in attributes.items() if not k.startswith("dilation")}


def average_pool(low: Lowering, unit: Unit) -> None:
    op = unit.op
    x, y = unit.inputs[0], unit.output
    kernel = op.attributes["kernel_shape"]
    problem = _pad_problem(op, kernel)
    if any(d != 1 for d in op.attributes.get("dilations") or [1]):
        problem = "dilations"
    low.check(rules.POOL, Facts(op.op_type, [x, y], [], spatial_rank=len(kernel), attribute=problem))
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = _bounds(low, unit, y)
    raw = 128 if y.dtype == "uint8" else 0
    low.emit_to(
        "npu.average_pool2d",
        [low.image(x)],
        low.result(y, image=True),
        **_without_dilation(_window(op, x, y, kernel)),
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        clamp_min=lo,
        clamp_max=hi,
        input_zero_point=z_x,
        input_scale=float(s_x),
        output_scale=float(s_y),
        float_zero_point=z_y + raw,
        output_offset=-raw,
        count_padding=int(op.attributes.get("count_include_pad", 0)),
        rounding=Rounding.ONNXRUNTIME,
    )


def global_average_pool(low: Lowering, unit: Unit) -> None:
    """GlobalAveragePool, and ReduceMean over H and W by the same rule."""
    op = unit.op
    x, y = unit.inputs[0], unit.output
    axes: tuple[int, ...] = (1, 2)
    if op.op_type == "ReduceMean":
        given = op.attributes.get("axes") or (unit.inputs[1].data.reshape(-1) if len(unit.inputs) > 1 else ())
        axes = (
            tuple(sorted({2: 1, 3: 2}.get(int(a) % len(x.shape), 0) for a in given))
            if len(x.shape) == 4
            else ()
        )
    low.check(rules.MEAN, Facts(op.op_type, [x, y], [], axes=axes, spatial_rank=len(x.shape) - 2))
    (s_x, z_x), (s_y, z_y) = low.quantization(x), low.quantization(y)
    lo, hi = _bounds(low, unit, y)
    n, c, h, w = x.shape
    pooled = low.emit(
        "npu.reduce_mean",
        [low.image(x)],
        y.name,
        (n, 1, 1, c),
        y.quantization,
        sum_offset=-h * w * z_x,
        scale=float(f32(s_x / f32(s_y * f32(h * w)))),
        bias=0.0,
        output_offset=z_y,
        clamp_min=lo,
        clamp_max=hi,
    )
    low.emit_to("npu.reshape", [pooled], low.result(y))


# -- moving values ------------------------------------------------------------------------------------------------------


def _same(low: Lowering, unit: Unit, x: Tensor, y: Tensor) -> str:
    """A moved value keeps its quantisation; empty where it does."""
    if x.quantization is None or y.quantization is None:
        return "" if x.quantization is y.quantization else "no quantisation"
    same = low.quantization(x) == low.quantization(y) and x.dtype == y.dtype and unit.activation is None
    return "" if same else "input and output with different scales"


def _check_move(low: Lowering, unit: Unit, *constants: Tensor | None) -> tuple[Tensor, Tensor]:
    x, y = unit.inputs[0], unit.output
    low.check(
        (
            rules.eight_bit_activations,
            rules.constant_parameters,
            rules.rank_limit,
            rules.reference_arithmetic,
        ),
        Facts(unit.op.op_type, [x, y], list(constants), reference=_same(low, unit, x, y)),
    )
    return x, y


def reshape(low: Lowering, unit: Unit) -> None:
    x, y = unit.inputs[0], unit.output
    low.check(
        (rules.eight_bit_activations, rules.reference_arithmetic),
        Facts(unit.op.op_type, [x, y], [], reference=_same(low, unit, x, y)),
    )
    low.emit_to("npu.reshape", [low.plain(x)], low.result(y))


def transpose(low: Lowering, unit: Unit) -> None:
    x, y = _check_move(low, unit)
    perm = tuple(unit.op.attributes.get("perm") or reversed(range(len(x.shape))))
    if perm == NCHW_TO_NHWC and low.has_image(x):
        low.emit_to("npu.reshape", [low.image(x)], low.result(y))
    elif perm == NHWC_TO_NCHW:
        low.emit_to("npu.reshape", [low.plain(x)], low.result(y, image=True))
    else:
        low.emit_to("npu.transpose", [low.plain(x)], low.result(y), perm=perm)


def concat(low: Lowering, unit: Unit) -> None:
    inputs = [t for t in unit.inputs if t is not None]
    y = unit.output
    low.check(rules.ELEMENTWISE, Facts(unit.op.op_type, [*inputs, y], []))
    image = _layout(low, y, *inputs)
    axis = unit.op.attributes["axis"] % len(y.shape)
    parts = []
    for t in inputs:
        form = low.image(t) if image else low.plain(t)
        if _same(low, unit, t, y):
            lookup = low.table(f"{t.name}/requantize", _requantization(low, t, y, unit))
            form = low.emit("npu.table_lookup", [form, lookup], t.name, form.shape, y.quantization)
        parts.append(form)
    low.emit_to("npu.concat", parts, low.result(y, image=image), axis=NHWC_AXIS[axis] if image else axis)


NHWC_AXIS = (0, 3, 1, 2)  # where an axis of NCHW stands in NHWC


def pad(low: Lowering, unit: Unit) -> None:
    op = unit.op
    constants = [t for t in unit.inputs[1:] if t is not None]
    x, y = _check_move(low, unit, *constants)
    rank = len(x.shape)
    pads = op.attributes.get("pads")
    if pads is None:
        pads = [int(p) for p in unit.inputs[1].data.reshape(-1)]
    axes = unit.inputs[3] if len(unit.inputs) > 3 else None
    mode = op.attributes.get("mode", "constant")
    problem = (
        ""
        if mode == "constant" and axes is None and min(pads, default=0) >= 0
        else f"mode {mode}, axes or negative pads"
    )
    value = unit.inputs[2] if len(unit.inputs) > 2 else None
    real = float(op.attributes.get("value", 0.0))
    scale, zero_point = low.quantization(x)
    fill = clamp(np.rint(f32(f32(real) / scale)) + zero_point)
    if value is not None:
        if value.dtype in EIGHT_BIT:
            fill = int(low.plain(value).data.reshape(-1)[0])
        else:
            fill = clamp(np.rint(f32(f32(value.data.reshape(-1)[0]) / scale)) + zero_point)
    low.check((rules.supported_attributes,), Facts(op.op_type, [], [], attribute=problem))
    image = _layout(low, y, x)
    before = tuple(pads[:rank])
    if image:
        before = tuple(before[i] for i in NCHW_TO_NHWC)
    source = low.image(x) if image else low.plain(x)
    low.emit_to("npu.pad", [source], low.result(y, image=image), before=before, value=fill)


LOWERINGS: dict[str, Callable[[Lowering, Unit], None]] = {
    "Add": add,
    "AveragePool": average_pool,
    "Clip": unary,
    "Concat": concat,
    "Conv": conv,
    "Flatten": reshape,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "LeakyRelu": unary,
    "MatMul": gemm,
    "MaxPool": max_pool,
    "Mul": mul,
    "Pad": pad,
    "ReduceMean": global_average_pool,
    "Relu": unary,
    "Reshape": reshape,
    "Sigmoid": unary,
    "Softmax": softmax,
    "Squeeze": reshape,
    "Sub": add,
    "Tanh": unary,
    "Transpose": transpose,
    "Unsqueeze": reshape,
}
