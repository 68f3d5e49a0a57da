"""The instruction set: one table that yields encoder, decoder, verifier, disassembler, simulator dispatch and docs/enf.md.

Commands work on tiles: each operand is a region of byte-addressed memory with up to six dimensions and byte strides.
The vendor's instruction set is not public; this one is the project's own.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from furiosa.enf import dtypes, relations
from furiosa.enf.machine import Engine, Reduction, Region, Rounding, Space, dense_strides

__all__ = (
    "BY_NAME",
    "BY_OPCODE",
    "INSTRUCTIONS",
    "Command",
    "Engine",
    "Instruction",
    "Operand",
    "Param",
    "Reduction",
    "Region",
    "Rounding",
    "Space",
    "dense_strides",
)


FLOAT32_MAX = (2 - 2.0**-23) * 2.0**127
FLOAT32_MIN = 2.0**-126  # the smallest number of full precision; its reciprocal is finite


class Operand(NamedTuple):
    """One operand slot of an instruction; ``access`` is "r" or "w"."""

    name: str
    access: str
    rank: int
    dtypes: tuple[str, ...]
    doc: str
    spaces: tuple[int, ...] = (Space.SRAM,)


class Param(NamedTuple):
    """One scalar field of an instruction; ``code`` is its struct code.

    A value must lie from ``low`` to ``high``, where those are given, and be one of ``choices``, where there are some; a
    floating-point number must be finite in any case.
    """

    name: str
    code: str
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[int, ...] = ()


class Instruction:
    """One row of the table; ``relation`` is the rule by which operands and parameters fit together."""

    def __init__(
        self,
        name: str,
        opcode: int,
        engines: tuple[int, ...],
        operands: tuple[Operand, ...],
        params: tuple[Param, ...],
        doc: str,
        relation: Callable[..., str | None],
    ):
        self.name, self.opcode, self.engines = name, opcode, engines
        self.operands, self.params, self.doc, self.relation = operands, params, doc, relation
        self.param_names = tuple(p.name for p in params)
        self._limits = tuple((p.name, *_limits(p)) for p in params if p.code == "f" or p.low is not None)
        self._choices = tuple((p.name, p.choices) for p in params if p.choices)
        layout = "<" + HEADER_CODES + "".join("BBHQ" + "I" * (2 * o.rank) for o in operands)
        self.struct = struct.Struct(layout + "".join(p.code for p in params))

    def check(self, *operands: Region, **params: float) -> str | None:
        """A sentence where operands (none of them empty) and parameters do not fit together, else None."""
        return self.misfit(operands, params)

    def cannot_carry(self, params: dict[str, Any]) -> str | None:
        """What of some of the parameters is out of range, by the table or by the width of its field, else None."""
        for p in self.params:
            if p.name in params:
                low, high = _limits(p)
                if p.code in _WIDTHS:
                    low, high = max(low, _WIDTHS[p.code][0]), min(high, _WIDTHS[p.code][1])
                if not low <= params[p.name] <= high:  # false for a NaN
                    return f"{p.name} {params[p.name]}"
        return None

    def misfit(self, operands: tuple[Region, ...], params: dict[str, float]) -> str | None:
        """The same as ``check``."""
        for name, low, high in self._limits:
            if not low <= params[name] <= high:  # false for a NaN
                return f"{name} is out of range: {params[name]}"
        for name, choices in self._choices:
            if params[name] not in choices:
                return f"{name} is none of {', '.join(map(str, choices))}: {params[name]}"
        return self.relation(params, *operands)

    def __repr__(self) -> str:
        return self.name


_WIDTHS = {
    "B": (0, 255),
    "H": (0, 65535),
    "h": (-32768, 32767),
    "I": (0, (1 << 32) - 1),
    "i": (-(1 << 31), (1 << 31) - 1),
}


def _limits(p: Param) -> tuple[float, float]:
    """The range of a parameter; the one of its code where the table gives none."""
    low, high = (-FLOAT32_MAX, FLOAT32_MAX) if p.code == "f" else (-math.inf, math.inf)
    return low if p.low is None else p.low, high if p.high is None else p.high


# opcode, engine, reserved (0), then for each engine how many of its commands must have ended before this one starts
HEADER_CODES = "BBH" + "I" * Engine.COUNT


class Command:
    """One instruction with its operands; ``waits[e]`` commands of engine ``e`` must have ended before it starts."""

    __slots__ = ("engine", "instruction", "operands", "params", "waits")

    def __init__(
        self,
        instruction: Instruction,
        engine: int,
        waits: tuple[int, ...],
        operands: tuple[Region, ...],
        params: tuple[int | float, ...],
    ):
        self.instruction = instruction
        self.engine = engine
        self.waits = waits
        self.operands = operands
        self.params = params

    @property
    def arguments(self) -> dict[str, int | float]:
        """The parameters by name."""
        return dict(zip(self.instruction.param_names, self.params))


_I8 = ("int8",)
_BYTES = ("int8", "uint8")
_ANY = tuple(name for name, _, _ in dtypes.DTYPES)
_PE = (Engine.PE,)
_OFF_CHIP = (Space.DRAM, Space.CONST)

_INT8 = (-128, 127)
_POSITIVE = (FLOAT32_MIN, FLOAT32_MAX)
# 0 where the arithmetic that is chosen does not use the scale; sums of 8-bit values times a scale are finite
_SCALE = (0, 2.0**100)
_SIGNED_SCALE = (-(2.0**100), 2.0**100)
_POSITIVE_SCALE = (FLOAT32_MIN, 2.0**100)

_WINDOW_PARAMS = (
    Param("stride_h", "H", "rows from one output to the next", 1),
    Param("stride_w", "H", "columns from one output to the next", 1),
    Param("pad_top", "H", "rows of padding above the input tile; what lies beyond its end is padding too"),
    Param(
        "pad_left", "H", "columns of padding left of the input tile; what lies beyond its end is padding too"
    ),
)
_CLAMP = (
    Param("clamp_min", "h", "smallest output value", *_INT8),
    Param("clamp_max", "h", "largest output value", *_INT8),
)
_REQUANT_PARAMS = (
    Param("input_zero_point", "h", "zero point of the input, also the value of padding", *_INT8),
    Param("output_zero_point", "h", "zero point of the output", *_INT8),
    *_CLAMP,
)
_CONV_PARAMS = (
    *_WINDOW_PARAMS,
    Param("dilation_h", "H", "rows between kernel taps", 1),
    Param("dilation_w", "H", "columns between kernel taps", 1),
)
_SLICES = (
    Param("split_pixels", "H", "the output pixels are split into so many parts, each on its own slices", 1),
    Param("split_channels", "H", "the output channels are split into so many parts", 1),
)
_BINARY_PARAMS = (
    Param("a_zero_point", "h", "zero point of a", *_INT8),
    Param("b_zero_point", "h", "zero point of b", *_INT8),
    *_CLAMP,
)
_CONV_OPERANDS = (
    Operand("bias", "r", 1, ("int32",), "one bias an output channel"),
    Operand("scale", "r", 1, ("float32",), "m[c] = float32(float32(s_in * s_w[c]) / s_out)"),
    Operand("output", "w", 4, _I8, "[N, OH, OW, OC]"),
)


_REDUCTIONS = tuple((str(i), n, doc) for i, (n, doc) in enumerate(zip(Reduction.NAMES, Reduction.DOCS)))


def _rounding(*choices: int) -> Param:
    doc = "whose arithmetic: " + ", ".join(f"{i} {Rounding.NAMES[i]}" for i in choices)
    return Param("rounding", "B", doc, choices=choices)


INSTRUCTIONS: tuple[Instruction, ...] = (
    Instruction(
        "LOAD",
        0x01,
        (Engine.LOAD,),
        (
            Operand("source", "r", 4, _ANY, "the tile in DRAM or among the constants", _OFF_CHIP),
            Operand("destination", "w", 4, _ANY, "the same elements in SRAM"),
        ),
        (),
        "Copies a tile from DRAM to SRAM.",
        relations.copy,
    ),
    Instruction(
        "STORE",
        0x02,
        (Engine.STORE,),
        (
            Operand("source", "r", 4, _ANY, "the tile in SRAM"),
            Operand("destination", "w", 4, _ANY, "the same elements in DRAM", (Space.DRAM,)),
        ),
        (),
        "Copies a tile from SRAM to DRAM.",
        relations.copy,
    ),
    Instruction(
        "COPY",
        0x03,
        _PE,
        (
            Operand("source", "r", 6, _ANY, "the tile to read"),
            Operand("destination", "w", 6, _ANY, "the same elements elsewhere"),
        ),
        (),
        "Copies a tile within SRAM; strides make it a transpose, a slice, or a part of a concatenation or padding.",
        relations.copy,
    ),
    Instruction(
        "FILL",
        0x04,
        _PE,
        (Operand("output", "w", 4, _BYTES, "the tile to fill"),),
        (Param("value", "B", "the byte written to every element"),),
        "Sets every element of a tile to one value (padding).",
        relations.no_relation,
    ),
    Instruction(
        "CONV2D",
        0x10,
        _PE,
        (
            Operand("input", "r", 4, _I8, "[N, H, W, C]"),
            Operand("weight", "r", 4, _I8, "[OC, KH, KW, C / groups]"),
            *_CONV_OPERANDS,
        ),
        (
            *_CONV_PARAMS,
            Param("groups", "I", "channel groups", 1),
            *_REQUANT_PARAMS,
            Param("weight_zero_point", "h", "zero point of the weights", *_INT8),
            *_SLICES,
        ),
        "Convolution; a fully connected layer is one with H = W = KH = KW = 1.  acc = sum((x - zx) * (w - zw)) + bias in int32; "
        "y = clamp(rint(float32(acc) * scale[c]) + zy), rint rounding half to even.",
        relations.convolution,
    ),
    Instruction(
        "DEPTHWISE_CONV2D",
        0x11,
        _PE,
        (
            Operand("input", "r", 4, _I8, "[N, H, W, C]"),
            Operand("weight", "r", 3, _I8, "[KH, KW, OC], OC a multiple of C"),
            *_CONV_OPERANDS,
        ),
        (
            *_CONV_PARAMS,
            *_REQUANT_PARAMS,
            Param("weight_zero_point", "h", "zero point of the weights", *_INT8),
            *_SLICES,
        ),
        "Depthwise convolution: output channel c reads input channel c / (OC / C); arithmetic as CONV2D.",
        relations.depthwise,
    ),
    Instruction(
        "MATMUL",
        0x14,
        _PE,
        (
            Operand("a", "r", 4, _I8, "[B0, B1, M, K]; strides of 0 broadcast"),
            Operand("b", "r", 4, _I8, "[B0, B1, K, N]; strides of 0 broadcast"),
            Operand("bias", "r", 4, ("int32",), "[B0, B1, M, N]; strides of 0 broadcast"),
            Operand("scale", "r", 1, ("float32",), "m[n] = float32(float32(s_a * s_b[n]) / s_y)"),
            Operand("output", "w", 4, _I8, "[B0, B1, M, N]"),
        ),
        (
            Param("a_zero_point", "h", "zero point of a", *_INT8),
            Param("b_zero_point", "h", "zero point of b", *_INT8),
            Param("output_zero_point", "h", "zero point of the output", *_INT8),
            *_CLAMP,
            _rounding(Rounding.XNNPACK, Rounding.TFLITE),
            Param("multiplier", "i", "tflite: s_a * s_b / s_y is multiplier * 2^(shift - 31)", 0),
            Param("shift", "h", "tflite: the exponent", -31, 0),
            Param(
                "half_up",
                "B",
                "tflite: 1 where the second rounding has ties upwards, not away from zero",
                0,
                1,
            ),
            *_SLICES,
        ),
        "Matrix products of two tensors of which neither need be a constant; arithmetic as CONV2D, of which this is rounding "
        "xnnpack.  tflite: the sum times multiplier / 2^31, ties upwards; then / 2^-shift, rounded again.",
        relations.matmul,
    ),
    Instruction(
        "MAX_POOL2D",
        0x18,
        _PE,
        (Operand("input", "r", 4, _I8, "[N, H, W, C]"), Operand("output", "w", 4, _I8, "[N, OH, OW, C]")),
        (
            *_CONV_PARAMS,
            Param("kernel_h", "H", "rows of the window", 1),
            Param("kernel_w", "H", "columns of the window", 1),
            *_CLAMP,
            *_SLICES,
        ),
        "Maximum over a window; padding never wins.",
        relations.max_pool,
    ),
    Instruction(
        "AVERAGE_POOL2D",
        0x19,
        _PE,
        (Operand("input", "r", 4, _I8, "[N, H, W, C]"), Operand("output", "w", 4, _I8, "[N, OH, OW, C]")),
        (
            *_WINDOW_PARAMS,
            Param("kernel_h", "H", "rows of the window", 1),
            Param("kernel_w", "H", "columns of the window", 1),
            *_CLAMP,
            Param("input_zero_point", "h", "onnxruntime: zero point of the input", *_INT8),
            Param("input_scale", "f", "onnxruntime: scale of the input", *_SCALE),
            Param("output_scale", "f", "onnxruntime: scale of the output", *_SCALE),
            Param("float_zero_point", "h", "onnxruntime: added in float32, before rounding", -128, 255),
            Param("output_offset", "h", "onnxruntime: added after rounding", *_INT8),
            Param("count_padding", "B", "1 where padding counts in the divisor", 0, 1),
            _rounding(Rounding.ONNXRUNTIME, Rounding.TFLITE, Rounding.TFLITE_UINT8),
            *_SLICES,
        ),
        "Mean over a window of n values.  tflite: y = clamp(sum(x) / n), rounding half away from zero; tflite_uint8: half up.  "
        "onnxruntime: y = clamp(rint(float32(float32(v / n) / sy) + float_zero_point) + output_offset), "
        "v = sum of float32((x - zx)*sx) in row-major order of the window, in float32.",
        relations.average_pool,
    ),
    Instruction(
        "REDUCE",
        0x1A,
        _PE,
        (
            Operand("input", "r", 4, _I8, "any four dimensions"),
            Operand("output", "w", 4, _I8, "the same, with 1 in place of each dimension that is reduced"),
        ),
        (
            Param(
                "reduction",
                "B",
                "what n values become, d being x - zx: " + ", ".join(map(" ".join, _REDUCTIONS)),
                choices=tuple(range(len(Reduction.NAMES))),
            ),
            Param("input_zero_point", "h", "zx, taken off each value", *_INT8),
            Param("scale", "f", "factor", *_POSITIVE),
            Param("divisor", "f", "first divisor, as the number of values in a mean", *_POSITIVE),
            Param("output_scale", "f", "second divisor", *_POSITIVE),
            Param("bias", "f", "added last, before rounding"),
            Param("output_offset", "h", "added after rounding", *_INT8),
            *_CLAMP,
        ),
        "Reduction over any dimensions: r in exact integers, then v = float32(r), its square root for l2; "
        "y = clamp(rint(v * scale / divisor / output_scale + bias) + output_offset), each step in float32.",
        relations.reduce,
    ),
    Instruction(
        "SUM",
        0x1C,
        _PE,
        (
            Operand("input", "r", 3, _I8, "[n, rows, columns]"),
            Operand("scale", "r", 1, ("float32",), "s[i], one for each of the n inputs"),
            Operand("zero_point", "r", 1, ("int32",), "z[i], one for each of the n inputs"),
            Operand("output", "w", 2, _I8, "[rows, columns]"),
        ),
        (
            Param("divisor", "f", "1, or n for a mean", *_POSITIVE),
            Param("output_scale", "f", "scale of the output", *_POSITIVE),
            Param("output_zero_point", "h", "zero point of the output", *_INT8),
            *_CLAMP,
        ),
        "Sum or mean of n tensors with a scale each: v = sum of float32((x[i] - z[i]) * s[i]), in order, in float32; "
        "y = clamp(rint(float32(float32(v / divisor) / output_scale)) + output_zero_point).",
        relations.sum_of_tensors,
    ),
    Instruction(
        "RESIZE",
        0x1B,
        _PE,
        (
            Operand("input", "r", 4, _I8, "[N, H, W, C]"),
            Operand("rows", "r", 2, ("int32",), "[taps, OH]: the input rows that each output row sees"),
            Operand("row_weights", "r", 2, ("float32",), "[taps, OH]: their weights"),
            Operand("columns", "r", 2, ("int32",), "[taps, OW]: the input columns of each output column"),
            Operand("column_weights", "r", 2, ("float32",), "[taps, OW]: their weights"),
            Operand("output", "w", 4, _I8, "[N, OH, OW, C]"),
        ),
        (
            Param("row_offset", "I", "the number of the input tile's first row"),
            Param("input_zero_point", "h", "qdq: zero point of the input", *_INT8),
            Param("output_zero_point", "h", "qdq: zero point of the output", *_INT8),
            Param("input_scale", "f", "qdq: scale of the input", *_SCALE),
            Param("output_scale", "f", "qdq: scale of the output", *_SCALE),
            *_CLAMP,
            _rounding(Rounding.XNNPACK, Rounding.QDQ),
            *_SLICES,
        ),
        "Weighted sum of the input rows and columns that tables name: one tap resizes to the nearest value, two linearly.  A row or "
        "column outside the input tile reads its edge.  xnnpack: y = clamp(floor((v + 2^21) / 2^22)), "
        "v = sum(x * row_weight * column_weight), integer weights of 11 bits.  qdq: y = clamp(rint(v / sy) + zy), "
        "v = sum of ((x - zx)*sx) * (row_weight * column_weight) in row-major order of the taps, every step in float32.",
        relations.resize,
    ),
    Instruction(
        "ADD",
        0x20,
        _PE,
        (
            Operand("a", "r", 4, _I8, "the first addend; strides of 0 broadcast"),
            Operand("b", "r", 4, _I8, "the second addend; strides of 0 broadcast"),
            Operand("output", "w", 4, _I8, "the sum"),
        ),
        (
            *_BINARY_PARAMS,
            _rounding(Rounding.XNNPACK, Rounding.ONNXRUNTIME, Rounding.TFLITE, Rounding.QDQ),
            Param("output_zero_point", "h", "zero point of the output", *_INT8),
            Param("a_multiplier", "i", "xnnpack: A = rint(sa / sy * 2^shift); tflite: A, of 31 bits"),
            Param(
                "b_multiplier",
                "i",
                "xnnpack: B = rint(sb / sy * 2^shift), negative for a subtraction; tflite: B, of 31 bits",
            ),
            Param("shift", "B", "xnnpack: bits of the fixed-point multipliers; tflite: of Y's shift", 0, 31),
            Param("a_shift", "B", "tflite: bits of A's shift", 0, 31),
            Param("b_shift", "B", "tflite: bits of B's shift", 0, 31),
            Param("output_multiplier", "i", "tflite: Y, of 31 bits"),
            Param("subtract", "B", "tflite: 1 to subtract", 0, 1),
            Param("a_scale", "f", "onnxruntime: sa / sy; qdq: sa", *_SCALE),
            Param(
                "b_scale", "f", "onnxruntime: sb / sy; qdq: sb; negative for a subtraction", *_SIGNED_SCALE
            ),
            Param("output_scale", "f", "qdq: sy", *_SCALE),
            Param(
                "bias",
                "f",
                "onnxruntime: what the three zero points come to, for values of the model's own type",
            ),
            Param("raw_offset", "h", "onnxruntime: 128 where the model's own type is uint8, else 0", 0, 128),
        ),
        "Sum.  xnnpack: y = clamp(((a*A + b*B - A*za - B*zb + 2^(shift-1)) >> shift) + zy).  "
        "tflite: y = clamp(M(M((a - za) * 2^20, A, a_shift) +- M((b - zb) * 2^20, B, b_shift), Y, shift) + zy), "
        "M(v, m, s) = ((v*m + 2^30) >> 31) / 2^s, rounding halves away from zero.  "
        "onnxruntime: y = clamp(rint(fma(a + raw, sa, fma(b + raw, sb, bias))) - raw).  "
        "qdq: y = clamp(rint(float32(float32((a - za)*sa) + float32((b - zb)*sb)) / sy) + zy).",
        relations.add,
    ),
    Instruction(
        "MUL",
        0x21,
        _PE,
        (
            Operand("a", "r", 4, _I8, "the first factor; strides of 0 broadcast"),
            Operand("b", "r", 4, _I8, "the second factor; strides of 0 broadcast"),
            Operand("output", "w", 4, _I8, "the product"),
        ),
        (
            *_BINARY_PARAMS,
            _rounding(Rounding.XNNPACK, Rounding.ONNXRUNTIME, Rounding.QDQ),
            Param("scale", "f", "xnnpack, onnxruntime: float32(float32(sa * sb) / sy)", 0, FLOAT32_MAX),
            Param("float_zero_point", "h", "onnxruntime: added in float32, before rounding", -128, 255),
            Param("output_offset", "h", "added after rounding", *_INT8),
            Param("a_scale", "f", "qdq: sa", *_SCALE),
            Param("b_scale", "f", "qdq: sb", *_SCALE),
            Param("output_scale", "f", "qdq: sy", *_SCALE),
        ),
        "Product.  xnnpack: y = clamp(rint(float32((a - za)*(b - zb)) * scale) + output_offset).  "
        "onnxruntime: y = clamp(rint(float32(float32((a - za)*(b - zb)) * scale) + float_zero_point) + output_offset).  "
        "qdq: y = clamp(rint(float32(float32((a - za)*sa) * float32((b - zb)*sb)) / sy) + output_offset).",
        relations.multiply,
    ),
    Instruction(
        "DIV",
        0x24,
        _PE,
        (
            Operand("a", "r", 4, _I8, "the dividend; strides of 0 broadcast"),
            Operand("b", "r", 4, _I8, "the divisor; strides of 0 broadcast"),
            Operand("output", "w", 4, _I8, "the quotient"),
        ),
        (
            *_BINARY_PARAMS,
            Param("a_scale", "f", "sa", *_POSITIVE_SCALE),
            Param("b_scale", "f", "sb", *_POSITIVE_SCALE),
            Param("output_scale", "f", "sy", *_POSITIVE_SCALE),
            Param("output_zero_point", "h", "zero point of the output", *_INT8),
        ),
        "Quotient.  y = clamp(rint(float32(float32((a - za)*sa) / float32((b - zb)*sb)) / sy) + zy), each step in float32; what is "
        "divided by 0 is the largest or lowest value, 0 / 0 the lowest.",
        relations.divide,
    ),
    *(
        Instruction(
            name,
            opcode,
            _PE,
            (
                Operand("a", "r", 4, _I8, "the first operand; strides of 0 broadcast"),
                Operand("b", "r", 4, _I8, "the second operand; strides of 0 broadcast"),
                Operand("output", "w", 4, _I8, f"the {which} of the two"),
            ),
            (),
            f"The {which} of two values of one scale and zero point.",
            relations.same_shape,
        )
        for name, opcode, which in (("MAXIMUM", 0x22, "greater"), ("MINIMUM", 0x23, "smaller"))
    ),
    Instruction(
        "TABLE_LOOKUP",
        0x28,
        _PE,
        (
            Operand("input", "r", 4, _BYTES, "the values to look up"),
            Operand(
                "table",
                "r",
                2,
                ("uint8",),
                "[1, 256], or [C, 256] with one table for each place along the input's last dimension; "
                "output bytes, indexed by the input's byte as an unsigned number",
            ),
            Operand("output", "w", 4, _BYTES, "table[input]"),
        ),
        (),
        "Any function of one 8-bit value: Sigmoid, Relu, Clip, requantisation, uint8 to int8; or one function a channel: PRelu.",
        relations.lookup,
    ),
    Instruction(
        "SOFTMAX",
        0x29,
        _PE,
        (
            Operand("input", "r", 3, _I8, "[outer, classes, inner]"),
            Operand("table", "r", 1, ("float32",), "exp by distance from the maximum of the classes"),
            Operand("output", "w", 3, _I8, "[outer, classes, inner]"),
        ),
        (
            Param("output_offset", "h", "added after rounding", *_INT8),
            Param(
                "factor",
                "f",
                "tflite: the output's scale; onnxruntime: floor(1 / the output's scale)",
                *_POSITIVE,
            ),
            _rounding(Rounding.ONNXRUNTIME, Rounding.TFLITE),
        ),
        "Softmax over the middle dimension.  tflite: e = table[max - x], summed in order in float32; "
        "y = clamp(floor(e * float32(1 / float32(sum * factor)) + 0.5) + output_offset).  "
        "onnxruntime: y = clamp(rint(e * factor / sum) + output_offset) in float64.",
        relations.table,
    ),
    Instruction(
        "L2_NORMALIZE",
        0x2C,
        _PE,
        (
            Operand("input", "r", 3, _I8, "[outer, depth, inner]"),
            Operand("output", "w", 3, _I8, "[outer, depth, inner]"),
        ),
        (
            Param("input_zero_point", "h", "zx", *_INT8),
            Param("output_scale", "f", "qdq: scale of the output", *_SCALE),
            Param("output_zero_point", "h", "zero point of the output", *_INT8),
            *_CLAMP,
            _rounding(Rounding.TFLITE, Rounding.TFLITE_UINT8, Rounding.QDQ),
        ),
        "Division by the Euclidean norm over the middle dimension; d = x - zx, r = sum(d * d) in exact integers.  "
        "qdq: y = clamp(rint(d / sqrt(r) / output_scale) + zy), each step in float32, 0 where r is.  "
        "tflite: y = clamp(fixed(d * 128 / sqrt(r)) + zy), in the fixed point of the builtin kernels, with their inverse square "
        "root; tflite_uint8: fixed(128 * d / sqrt(r)).",
        relations.normalize,
    ),
    Instruction(
        "LAYER_NORM",
        0x2D,
        _PE,
        (
            Operand("input", "r", 2, _I8, "[rows, depth]"),
            Operand("weight", "r", 1, ("float32",), "one factor for each place of a row"),
            Operand("bias", "r", 1, ("float32",), "added after it"),
            Operand("output", "w", 2, _I8, "[rows, depth]"),
        ),
        (
            Param("input_zero_point", "h", "zx", *_INT8),
            Param("input_scale", "f", "sx", FLOAT32_MIN, 2.0**30),  # squares stay finite
            Param("subtract_mean", "B", "1; 0 to divide by the root mean square, with m = 0", 0, 1),
            Param("epsilon", "f", "added to the variance", *_POSITIVE),
            Param("output_scale", "f", "sy", *_POSITIVE),
            Param("output_zero_point", "h", "zero point of the output", *_INT8),
            *_CLAMP,
        ),
        "Normalisation of each row, as onnxruntime's kernel for x86 processors with AVX2 has it.  x = float32((q - zx) * sx); "
        "m = float32(sum(x) / depth) in float64; d = x - m; "
        "v = sum of d * d: eight sums side by side, each by fused multiply-adds, joined by halves; then, in order, of the places that are left "
        "the first four, if there are four, each square rounded before it is added, and the others by fused multiply-adds; "
        "r = 1 / sqrt(v / depth + epsilon); y = clamp(rint(fma(d * r, weight, bias) / sy) + zy), a NaN the lowest value.  All but "
        "the mean in float32.",
        relations.layer_norm,
    ),
    *(
        Instruction(
            name,
            opcode,
            _PE,
            (
                Operand("input", "r", 2, _I8, "[rows, depth], depth a multiple of 4"),
                *more,
                Operand("output", "w", 2, _I8, result),
            ),
            (
                Param("input_zero_point", "h", "zx", *_INT8),
                Param("input_scale", "f", "sx", FLOAT32_MIN, 2.0**30),  # squares stay finite
                Param("output_scale", "f", "sy", *_POSITIVE),
                Param("output_zero_point", "h", "zero point of the output", *_INT8),
                *_CLAMP,
            ),
            f"{doc}, as onnxruntime's float32 operators have it one by one.  x = (q - zx) * sx; m = S(x) / depth; d = x - m; "
            f"y = clamp(rint({formula} / sy) + zy), a NaN the lowest value.  S adds in eight lanes, place i in lane i mod 8; "
            "then lanes 4 to 7 to lanes 0 to 3, to those the last four places where depth is no multiple of 8, "
            "and gives (lane 0 + lane 2) + (lane 1 + lane 3).",
            relation,
        )
        for name, opcode, more, result, doc, formula, relation in (
            (
                "VARIANCE",
                0x2E,
                (),
                "[rows, 1]",
                "Variance of each row",
                "S(d * d) / depth",
                relations.variance,
            ),
            (
                "STANDARDIZE",
                0x2F,
                (
                    Operand("divisor", "r", 2, _I8, "[rows, 1]"),
                    Operand(
                        "table", "r", 1, ("float32",), "the divisors that its values -128 to 127 stand for"
                    ),
                ),
                "[rows, depth]",
                "Each row less its mean, divided by a number that the table has for the row's divisor",
                "d / table[divisor + 128]",
                relations.standardize,
            ),
        )
    ),
    Instruction(
        "QUANTIZE",
        0x30,
        _PE,
        (
            Operand("input", "r", 4, ("float32",), "real values"),
            Operand("output", "w", 4, _I8, "int8 values"),
        ),
        (
            Param("scale", "f", "scale of the output", *_POSITIVE),
            Param("zero_point", "h", "zero point of the output", *_INT8),
            _rounding(Rounding.XNNPACK, Rounding.ONNXRUNTIME),
        ),
        "Float32 to int8.  onnxruntime: clamp(rint(x / scale) + zero_point).  xnnpack: clamp(rint(x * (1 / scale)) + zero_point).",
        relations.unary,
    ),
    Instruction(
        "DEQUANTIZE",
        0x31,
        _PE,
        (
            Operand("input", "r", 4, _I8, "int8 values"),
            Operand("output", "w", 4, ("float32",), "real values"),
        ),
        (
            Param("scale", "f", "scale of the input", *_POSITIVE),
            Param("zero_point", "h", "zero point of the input", *_INT8),
        ),
        "Int8 to float32: (x - zero_point) * scale.",
        relations.unary,
    ),
)

BY_NAME: dict[str, Instruction] = {i.name: i for i in INSTRUCTIONS}
BY_OPCODE: dict[int, Instruction] = {i.opcode: i for i in INSTRUCTIONS}
