"""The instruction set: one table that yields encoder, decoder, verifier, disassembler, simulator dispatch and docs/enf.md.

Commands work on tiles: each operand is a region of byte-addressed memory with up to six dimensions and byte strides.
The vendor's instruction set is not public; this one is the project's own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from furiosa.enf import dtypes


class Space:
    """The memories an operand may lie in."""

    SRAM = 0  # on chip, shared by the processing elements of the target
    DRAM = 1  # working memory on the card: inputs, outputs, tensors that cross between clusters, spilled tensors
    CONST = 2  # the constants section of the file, on the card and read only
    NAMES = ("sram", "dram", "const")


class Engine:
    """The engines; each runs its commands in order, and the engines run side by side."""

    LOAD = 0  # DMA, DRAM to SRAM
    STORE = 1  # DMA, SRAM to DRAM
    PE0 = 2
    PE1 = 3
    NAMES = ("load", "store", "pe0", "pe1")
    COUNT = 4


class Rounding:
    """Which reference runtime's arithmetic a command follows, where the two differ."""

    XNNPACK = 0  # LiteRT's default kernels
    ONNXRUNTIME = 1
    TFLITE = 2  # LiteRT's builtin kernels, where XNNPACK has none
    TFLITE_UINT8 = 3  # the same for a tensor that is uint8 in the model and int8 here
    QDQ = 4  # the float32 operators of ONNX one by one: dequantize, compute, quantize
    NAMES = ("xnnpack", "onnxruntime", "tflite", "tflite_uint8", "qdq")


class Region:
    """A tile of memory: ``shape`` elements of ``dtype`` from byte ``address`` on, ``strides`` in bytes (>= 0)."""

    __slots__ = ("space", "dtype", "address", "shape", "strides")

    def __init__(self, space: int, dtype: str, address: int, shape: tuple[int, ...], strides: tuple[int, ...]):
        self.space = space
        self.dtype = dtype
        self.address = address
        self.shape = shape
        self.strides = strides

    @classmethod
    def dense(cls, space: int, dtype: str, address: int, shape: tuple[int, ...]) -> Region:
        return cls(space, dtype, address, shape, dense_strides(shape, dtypes.ITEMSIZE[dtype]))

    @property
    def extent(self) -> int:
        """Bytes from the first to the last byte touched."""
        n = dtypes.ITEMSIZE[self.dtype]
        for d, s in zip(self.shape, self.strides):
            n += (d - 1) * s
        return n

    @property
    def nbytes(self) -> int:
        """Bytes of the elements, holes between them not counted."""
        n = dtypes.ITEMSIZE[self.dtype]
        for d in self.shape:
            n *= d
        return n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Region) and all(getattr(self, s) == getattr(other, s) for s in self.__slots__)

    def __repr__(self) -> str:
        dims = "x".join(map(str, self.shape))
        text = f"{Space.NAMES[self.space]}[0x{self.address:x}]:{self.dtype}[{dims}]"
        if self.strides != dense_strides(self.shape, dtypes.ITEMSIZE[self.dtype]):
            text += "/" + ",".join(map(str, self.strides))
        return text


def dense_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Byte strides of a dense row-major array."""
    out = []
    for d in reversed(shape):
        out.append(itemsize)
        itemsize *= d
    return tuple(reversed(out))


class Operand(NamedTuple):
    """One operand slot of an instruction; ``access`` is "r" or "w"."""

    name: str
    access: str
    rank: int
    dtypes: tuple[str, ...]
    doc: str
    spaces: tuple[int, ...] = (Space.SRAM,)


class Param(NamedTuple):
    """One scalar field of an instruction; ``code`` is its struct code."""

    name: str
    code: str
    doc: str


class Instruction:
    """One row of the table.

    ``check`` gets the operands and the parameters by name and returns a sentence where they do not fit together, else None.
    """

    def __init__(
        self,
        name: str,
        opcode: int,
        engines: tuple[int, ...],
        operands: tuple[Operand, ...],
        params: tuple[Param, ...],
        doc: str,
        check: Callable[..., str | None],
    ):
        self.name, self.opcode, self.engines = name, opcode, engines
        self.operands, self.params, self.doc, self.check = operands, params, doc, check
        self.param_names = tuple(p.name for p in params)
        layout = "<" + HEADER_CODES + "".join("BBHQ" + "I" * (2 * o.rank) for o in operands)
        self.struct = struct.Struct(layout + "".join(p.code for p in params))

    def __repr__(self) -> str:
        return self.name


# opcode, engine, reserved (0), then for each engine how many of its commands must have ended before this one starts
HEADER_CODES = "BBH" + "I" * Engine.COUNT


class Command:
    """One instruction with its operands; ``waits[e]`` commands of engine ``e`` must have ended before it starts."""

    __slots__ = ("instruction", "engine", "waits", "operands", "params")

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
_PES = (Engine.PE0, Engine.PE1)
_OFF_CHIP = (Space.DRAM, Space.CONST)


def _same_shape(a: Region, b: Region) -> str | None:
    return None if a.shape == b.shape else f"shapes differ: {a.shape} and {b.shape}"


def _check_copy(source: Region, destination: Region) -> str | None:
    if source.dtype != destination.dtype:
        return f"element types differ: {source.dtype} and {destination.dtype}"
    return _same_shape(source, destination)


def _check_none(**_: object) -> str | None:
    return None


def _window(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Input positions that ``size`` outputs of a sliding window span."""
    return (size - 1) * stride + (kernel - 1) * dilation + 1


def _check_window(x: Region, y: Region, kernel: tuple[int, int], p: dict[str, int]) -> str | None:
    if x.shape[0] != y.shape[0]:
        return f"batches differ: {x.shape[0]} and {y.shape[0]}"
    for i, side in ((0, "h"), (1, "w")):
        stride, dilation = p["stride_" + side], p.get("dilation_" + side, 1)
        if stride < 1 or dilation < 1:
            return "stride and dilation must be at least 1"
        # bounds what an implementation may allocate for the padded input
        if _window(y.shape[1 + i], kernel[i], stride, dilation) > x.shape[1 + i] + 2 * kernel[i] * dilation + stride:
            return "the output needs more than the input and its padding hold"
    if p["pad_top"] >= _window(1, kernel[0], 1, p.get("dilation_h", 1)):
        return "pad_top is not smaller than the window"
    if p["pad_left"] >= _window(1, kernel[1], 1, p.get("dilation_w", 1)):
        return "pad_left is not smaller than the window"
    return None


def _check_range(p: dict[str, int | float]) -> str | None:
    for name in ("input_zero_point", "weight_zero_point", "output_zero_point", "clamp_min", "clamp_max"):
        if not -255 <= p.get(name, 0) <= 255:
            return f"{name} is out of range"
    if p["clamp_min"] > p["clamp_max"] or p["clamp_min"] < -128 or p["clamp_max"] > 127:
        return "the clamp is empty or not within int8"
    return None


def _check_conv(input: Region, weight: Region, bias: Region, scale: Region, output: Region, **p: int) -> str | None:
    channels, kh, kw, per_group = weight.shape
    if p["groups"] < 1 or per_group * p["groups"] != input.shape[3] or channels % p["groups"]:
        return "groups do not divide the channels"
    if output.shape[3] != channels or bias.shape != (channels,) or scale.shape != (channels,):
        return "output channels differ between weight, bias, scale and output"
    return _check_range(p) or _check_window(input, output, (kh, kw), p)


def _check_depthwise(input: Region, weight: Region, bias: Region, scale: Region, output: Region, **p: int) -> str | None:
    kh, kw, channels = weight.shape
    if channels % input.shape[3]:
        return "output channels are no multiple of the input's"
    if output.shape[3] != channels or bias.shape != (channels,) or scale.shape != (channels,):
        return "output channels differ between weight, bias, scale and output"
    return _check_range(p) or _check_window(input, output, (kh, kw), p)


def _check_pool(input: Region, output: Region, **p: int) -> str | None:
    if input.shape[3] != output.shape[3]:
        return "channels differ"
    if not (1 <= p["kernel_h"] <= 1 << 16 and 1 <= p["kernel_w"] <= 1 << 16):
        return "the kernel is empty or too large"
    return _check_range(p) or _check_window(input, output, (p["kernel_h"], p["kernel_w"]), p)


def _check_mean(input: Region, output: Region, **p: int) -> str | None:
    if output.shape != (input.shape[0], 1, 1, input.shape[3]):
        return "the output is not [N, 1, 1, C] of the input"
    return _check_range(p)


def _check_binary(a: Region, b: Region, output: Region, **p: int) -> str | None:
    if not 0 <= p.get("shift", 0) <= 62:
        return "shift is out of range"
    return _check_range(p) or _same_shape(a, output) or _same_shape(b, output)


def _check_table(input: Region, table: Region, output: Region) -> str | None:
    if table.shape != (256,):
        return "the table has not 256 entries"
    return _same_shape(input, output)


def _check_softmax(input: Region, table: Region, output: Region, **_: int) -> str | None:
    return _check_table(input, table, output)


def _check_unary(input: Region, output: Region, **_: int) -> str | None:
    return _same_shape(input, output)


_WINDOW_PARAMS = (
    Param("stride_h", "H", "rows from one output to the next"),
    Param("stride_w", "H", "columns from one output to the next"),
    Param("pad_top", "H", "rows of padding above the input tile; what lies beyond its end is padding too"),
    Param("pad_left", "H", "columns of padding left of the input tile; what lies beyond its end is padding too"),
)
_REQUANT_PARAMS = (
    Param("input_zero_point", "h", "zero point of the input, also the value of padding"),
    Param("output_zero_point", "h", "zero point of the output"),
    Param("clamp_min", "h", "smallest output value"),
    Param("clamp_max", "h", "largest output value"),
)
_CONV_PARAMS = (
    *_WINDOW_PARAMS,
    Param("dilation_h", "H", "rows between kernel taps"),
    Param("dilation_w", "H", "columns between kernel taps"),
)
_ROUNDING = Param("rounding", "B", "whose arithmetic: 0 xnnpack, 1 onnxruntime, 2 tflite, 3 tflite_uint8, 4 qdq")
_SLICES = (
    Param("split_pixels", "H", "the output pixels are split into so many parts, each on its own slices"),
    Param("split_channels", "H", "the output channels are split into so many parts"),
)
_BINARY_PARAMS = (
    Param("a_zero_point", "h", "zero point of a"),
    Param("b_zero_point", "h", "zero point of b"),
    Param("clamp_min", "h", "smallest output value"),
    Param("clamp_max", "h", "largest output value"),
)
_CONV_OPERANDS = (
    Operand("bias", "r", 1, ("int32",), "one bias an output channel"),
    Operand("scale", "r", 1, ("float32",), "m[c] = float32(float32(s_in * s_w[c]) / s_out)"),
    Operand("output", "w", 4, _I8, "[N, OH, OW, OC]"),
)

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
        _check_copy,
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
        _check_copy,
    ),
    Instruction(
        "COPY",
        0x03,
        _PES,
        (
            Operand("source", "r", 6, _ANY, "the tile to read"),
            Operand("destination", "w", 6, _ANY, "the same elements elsewhere"),
        ),
        (),
        "Copies a tile within SRAM; strides make it a transpose, a slice, or a part of a concatenation or padding.",
        _check_copy,
    ),
    Instruction(
        "FILL",
        0x04,
        _PES,
        (Operand("output", "w", 4, _BYTES, "the tile to fill"),),
        (Param("value", "B", "the byte written to every element"),),
        "Sets every element of a tile to one value (padding).",
        _check_none,
    ),
    Instruction(
        "CONV2D",
        0x10,
        _PES,
        (
            Operand("input", "r", 4, _I8, "[N, H, W, C]"),
            Operand("weight", "r", 4, _I8, "[OC, KH, KW, C / groups]"),
            *_CONV_OPERANDS,
        ),
        (
            *_CONV_PARAMS,
            Param("groups", "I", "channel groups"),
            *_REQUANT_PARAMS,
            Param("weight_zero_point", "h", "zero point of the weights"),
            *_SLICES,
        ),
        "Convolution; a fully connected layer is one with H = W = KH = KW = 1.  acc = sum((x - zx) * (w - zw)) + bias in int32; "
        "y = clamp(rint(float32(acc) * scale[c]) + zy), rint rounding half to even.",
        _check_conv,
    ),
    Instruction(
        "DEPTHWISE_CONV2D",
        0x11,
        _PES,
        (
            Operand("input", "r", 4, _I8, "[N, H, W, C]"),
            Operand("weight", "r", 3, _I8, "[KH, KW, OC], OC a multiple of C"),
            *_CONV_OPERANDS,
        ),
        (
            *_CONV_PARAMS,
            *_REQUANT_PARAMS,
            Param("weight_zero_point", "h", "zero point of the weights"),
            *_SLICES,
        ),
        "Depthwise convolution: output channel c reads input channel c / (OC / C); arithmetic as CONV2D.",
        _check_depthwise,
    ),
    Instruction(
        "MAX_POOL2D",
        0x18,
        _PES,
        (Operand("input", "r", 4, _I8, "[N, H, W, C]"), Operand("output", "w", 4, _I8, "[N, OH, OW, C]")),
        (
            *_WINDOW_PARAMS,
            Param("kernel_h", "H", "rows of the window"),
            Param("kernel_w", "H", "columns of the window"),
            Param("clamp_min", "h", "smallest output value"),
            Param("clamp_max", "h", "largest output value"),
            *_SLICES,
        ),
        "Maximum over a window; padding never wins.",
        _check_pool,
    ),
    Instruction(
        "AVERAGE_POOL2D",
        0x19,
        _PES,
        (Operand("input", "r", 4, _I8, "[N, H, W, C]"), Operand("output", "w", 4, _I8, "[N, OH, OW, C]")),
        (
            *_WINDOW_PARAMS,
            Param("kernel_h", "H", "rows of the window"),
            Param("kernel_w", "H", "columns of the window"),
            Param("clamp_min", "h", "smallest output value"),
            Param("clamp_max", "h", "largest output value"),
            Param("input_zero_point", "h", "onnxruntime: zero point of the input"),
            Param("input_scale", "f", "onnxruntime: scale of the input"),
            Param("output_scale", "f", "onnxruntime: scale of the output"),
            Param("float_zero_point", "h", "onnxruntime: added in float32, before rounding"),
            Param("output_offset", "h", "onnxruntime: added after rounding"),
            Param("count_padding", "B", "1 where padding counts in the divisor"),
            _ROUNDING,
            *_SLICES,
        ),
        "Mean over a window of n values.  tflite: y = clamp(sum(x) / n), rounding half away from zero; tflite_uint8: half up.  "
        "onnxruntime: y = clamp(rint(float32(float32(v / n) / sy) + float_zero_point) + output_offset), "
        "v = sum of float32((x - zx)*sx) in row-major order of the window, in float32.",
        _check_pool,
    ),
    Instruction(
        "REDUCE_MEAN",
        0x1A,
        _PES,
        (Operand("input", "r", 4, _I8, "[N, H, W, C]"), Operand("output", "w", 4, _I8, "[N, 1, 1, C]")),
        (
            Param("sum_offset", "i", "added to the sum of the H * W values"),
            Param("scale", "f", "factor of the sum, in float32"),
            Param("bias", "f", "added in float32, before rounding"),
            Param("output_offset", "h", "added after rounding"),
            Param("clamp_min", "h", "smallest output value"),
            Param("clamp_max", "h", "largest output value"),
            *_SLICES,
        ),
        "Mean over H and W: y = clamp(rint(float32(float32(sum(x) + sum_offset) * scale) + bias) + output_offset).",
        _check_mean,
    ),
    Instruction(
        "ADD",
        0x20,
        _PES,
        (
            Operand("a", "r", 4, _I8, "the first addend; strides of 0 broadcast"),
            Operand("b", "r", 4, _I8, "the second addend; strides of 0 broadcast"),
            Operand("output", "w", 4, _I8, "the sum"),
        ),
        (
            *_BINARY_PARAMS,
            _ROUNDING,
            Param("output_zero_point", "h", "zero point of the output"),
            Param("a_multiplier", "i", "xnnpack: rint(sa / sy * 2^shift)"),
            Param("b_multiplier", "i", "xnnpack: rint(sb / sy * 2^shift), negative for a subtraction"),
            Param("shift", "B", "xnnpack: bits of the fixed-point multipliers"),
            Param("a_scale", "f", "onnxruntime: sa / sy; qdq: sa"),
            Param("b_scale", "f", "onnxruntime: sb / sy; qdq: sb; negative for a subtraction"),
            Param("output_scale", "f", "qdq: sy"),
            Param("bias", "f", "onnxruntime: what the three zero points come to, for values of the model's own type"),
            Param("raw_offset", "h", "onnxruntime: 128 where the model's own type is uint8, else 0"),
        ),
        "Sum.  xnnpack: y = clamp(((a*A + b*B - A*za - B*zb + 2^(shift-1)) >> shift) + zy).  "
        "onnxruntime: y = clamp(rint(fma(a + raw, sa, fma(b + raw, sb, bias))) - raw).  "
        "qdq: y = clamp(rint(float32(float32((a - za)*sa) + float32((b - zb)*sb)) / sy) + zy).",
        _check_binary,
    ),
    Instruction(
        "MUL",
        0x21,
        _PES,
        (
            Operand("a", "r", 4, _I8, "the first factor; strides of 0 broadcast"),
            Operand("b", "r", 4, _I8, "the second factor; strides of 0 broadcast"),
            Operand("output", "w", 4, _I8, "the product"),
        ),
        (
            *_BINARY_PARAMS,
            Param("scale", "f", "float32(float32(sa * sb) / sy)"),
            Param("float_zero_point", "h", "added in float32, before rounding"),
            Param("output_offset", "h", "added after rounding"),
        ),
        "Product: y = clamp(rint(float32(float32((a - za)*(b - zb)) * scale) + float_zero_point) + output_offset).",
        _check_binary,
    ),
    Instruction(
        "TABLE_LOOKUP",
        0x28,
        _PES,
        (
            Operand("input", "r", 4, _BYTES, "the values to look up"),
            Operand("table", "r", 1, ("uint8",), "256 output bytes, indexed by the input's byte as an unsigned number"),
            Operand("output", "w", 4, _BYTES, "table[input]"),
        ),
        (),
        "Any function of one 8-bit value: Sigmoid, Relu, Clip, requantisation, uint8 to int8.",
        _check_table,
    ),
    Instruction(
        "SOFTMAX",
        0x29,
        _PES,
        (
            Operand("input", "r", 2, _I8, "[rows, classes]"),
            Operand("table", "r", 1, ("float32",), "exp by distance from the row's maximum"),
            Operand("output", "w", 2, _I8, "[rows, classes]"),
        ),
        (
            Param("output_offset", "h", "added after rounding"),
            Param("factor", "f", "tflite: the output's scale; onnxruntime: floor(1 / the output's scale)"),
            _ROUNDING,
        ),
        "Softmax over the last dimension.  tflite: e = table[max - x], summed in order in float32; "
        "y = clamp(floor(e * float32(1 / float32(sum * factor)) + 0.5) + output_offset).  "
        "onnxruntime: y = clamp(rint(e * factor / sum) + output_offset) in float64.",
        _check_softmax,
    ),
    Instruction(
        "QUANTIZE",
        0x30,
        _PES,
        (Operand("input", "r", 4, ("float32",), "real values"), Operand("output", "w", 4, _I8, "int8 values")),
        (
            Param("scale", "f", "scale of the output"),
            Param("zero_point", "h", "zero point of the output"),
            _ROUNDING,
        ),
        "Float32 to int8.  onnxruntime: clamp(rint(x / scale) + zero_point).  xnnpack: clamp(rint(x * (1 / scale)) + zero_point).",
        _check_unary,
    ),
    Instruction(
        "DEQUANTIZE",
        0x31,
        _PES,
        (Operand("input", "r", 4, _I8, "int8 values"), Operand("output", "w", 4, ("float32",), "real values")),
        (Param("scale", "f", "scale of the input"), Param("zero_point", "h", "zero point of the input")),
        "Int8 to float32: (x - zero_point) * scale.",
        _check_unary,
    ),
)

BY_NAME: dict[str, Instruction] = {i.name: i for i in INSTRUCTIONS}
BY_OPCODE: dict[int, Instruction] = {i.opcode: i for i in INSTRUCTIONS}
