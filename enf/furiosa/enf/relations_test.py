"""Each instruction with operands and parameters that fit, and with each thing that does not."""

from __future__ import annotations

import math
import re

import pytest

from furiosa.enf.isa import BY_NAME, FLOAT32_MAX, FLOAT32_MIN, INSTRUCTIONS, Command
from furiosa.enf.machine import Region, Rounding
from furiosa.enf.relations import MAX_PADDED, MAX_PATCHES
from furiosa.enf.testing.programs import COMPUTING, command, const, lookup, sram, typical


def valid(name: str) -> Command:
    if name in COMPUTING:
        return typical(name).commands[-1]
    return next(c for c in lookup().commands if c.instruction.name == name)


def check(c: Command, shapes: dict[str, tuple[int, ...]] | None = None, **params: float) -> str | None:
    """What the table says to a command with some shapes and parameters changed."""
    operands = []
    for spec, r in zip(c.instruction.operands, c.operands):
        shape = (shapes or {}).get(spec.name, r.shape)
        operands.append(Region.dense(r.space, r.dtype, r.address, shape))
    return c.instruction.check(*operands, **(c.arguments | params))


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=str)
def test_typical_commands_fit(instruction):
    assert check(valid(instruction.name)) is None


def _range_cases():
    for i in INSTRUCTIONS:
        for p in i.params:
            if p.code == "f":
                for bad in (math.nan, math.inf, -math.inf):
                    yield i.name, p.name, bad, False
            if p.low is not None:
                step = abs(p.low) * 1e-6 + 1e-45 if p.code == "f" else 1
                yield i.name, p.name, p.low - step, False
            if p.high is not None and p.high < FLOAT32_MAX:
                step = p.high * 1e-6 if p.code == "f" else 1
                yield i.name, p.name, p.high + step, False
            for bad in set(range(6)) - set(p.choices) if p.choices else ():
                yield i.name, p.name, bad, False
            for good in p.choices:
                yield i.name, p.name, good, True


@pytest.mark.parametrize(("name", "param", "value", "fits"), list(_range_cases()))
def test_ranges(name, param, value, fits):
    extra = {}
    if fits and name in ("AVERAGE_POOL2D", "ADD", "MUL", "RESIZE"):
        extra = {"input_scale": 1.0, "output_scale": 1.0, "shift": 20}
        extra = {k: v for k, v in extra.items() if k in BY_NAME[name].param_names}
    problem = check(valid(name), **extra, **{param: value})
    if fits:
        assert problem is None
    else:
        assert re.match(f"{param} is (out of range|none of)", problem)


def test_float32_limits():
    scale = {"scale": FLOAT32_MIN}
    assert check(valid("QUANTIZE"), **scale) is None
    assert math.isfinite(1 / FLOAT32_MIN) and 1 / FLOAT32_MIN < FLOAT32_MAX


ONE = (1, 2, 3, 4)
OTHER = (1, 2, 3, 5)
RELATIONS = [
    ("LOAD", {"destination": (1, 1, 1, 63)}, {}, "shapes differ"),
    ("STORE", {"destination": (1, 1, 64, 1)}, {}, "shapes differ"),
    ("COPY", {"destination": (1, 1, 2, 3, 5, 4)}, {}, "shapes differ"),
    ("CONV2D", {"input": (2, 5, 6, 8)}, {}, "batches differ"),
    ("CONV2D", {"input": (1, 5, 6, 7)}, {}, "groups do not divide"),
    ("CONV2D", {}, {"groups": 3}, "groups do not divide"),
    ("CONV2D", {}, {"groups": 2**32 - 1}, "groups do not divide"),
    ("CONV2D", {"input": (1, 5, 6, 12)}, {"groups": 3}, "groups do not divide"),
    ("CONV2D", {"bias": (5,)}, {}, "output channels differ"),
    ("CONV2D", {"scale": (1,)}, {}, "output channels differ"),
    ("CONV2D", {"output": (1, 3, 4, 2)}, {}, "output channels differ"),
    ("CONV2D", {}, {"clamp_min": 5, "clamp_max": 4}, "clamp is empty"),
    ("CONV2D", {}, {"pad_top": 3}, "wholly outside"),
    ("CONV2D", {}, {"pad_left": 65535}, "wholly outside"),
    ("CONV2D", {"output": (1, 6, 4, 4)}, {}, "wholly outside"),
    ("CONV2D", {"output": (1, 3, 2**32 - 1, 4)}, {}, "wholly outside"),
    ("CONV2D", {}, {"stride_h": 65535}, "wholly outside"),
    ("DEPTHWISE_CONV2D", {"input": (1, 5, 6, 3)}, {}, "no multiple"),
    ("DEPTHWISE_CONV2D", {"bias": (2,)}, {}, "output channels differ"),
    ("DEPTHWISE_CONV2D", {"scale": (8,)}, {}, "output channels differ"),
    ("DEPTHWISE_CONV2D", {"output": (1, 3, 4, 2)}, {}, "output channels differ"),
    ("DEPTHWISE_CONV2D", {"output": (2, 3, 4, 4)}, {}, "batches differ"),
    ("DEPTHWISE_CONV2D", {}, {"pad_left": 3}, "wholly outside"),
    ("DEPTHWISE_CONV2D", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("MAX_POOL2D", {"output": (1, 2, 2, 4)}, {}, "channels differ"),
    ("MAX_POOL2D", {"output": (2, 2, 2, 3)}, {}, "batches differ"),
    ("MAX_POOL2D", {"output": (1, 3, 2, 3)}, {}, "wholly outside"),
    ("MAX_POOL2D", {}, {"pad_top": 2}, "wholly outside"),
    ("MAX_POOL2D", {}, {"clamp_min": 127, "clamp_max": -128}, "clamp is empty"),
    ("AVERAGE_POOL2D", {"output": (1, 2, 2, 4)}, {}, "channels differ"),
    ("AVERAGE_POOL2D", {}, {"pad_left": 2}, "wholly outside"),
    ("AVERAGE_POOL2D", {}, {"rounding": Rounding.ONNXRUNTIME, "input_scale": 0}, "a scale is 0"),
    ("AVERAGE_POOL2D", {}, {"rounding": Rounding.ONNXRUNTIME, "output_scale": 0}, "a scale is 0"),
    ("REDUCE", {"output": (2, 1, 1, 4)}, {}, "is no reduction of"),
    ("REDUCE", {"output": (2, 2, 1, 3)}, {}, "is no reduction of"),
    ("REDUCE", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("SUM", {"output": (5, 4)}, {}, "do not fit"),
    ("SUM", {"scale": (2,)}, {}, "do not fit"),
    ("SUM", {"zero_point": (4,)}, {}, "do not fit"),
    ("SUM", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("MATMUL", {"a": (1, 2, 3, 5)}, {}, "no product"),
    ("MATMUL", {"a": (1, 1, 3, 4)}, {}, "no product"),
    ("MATMUL", {"b": (1, 2, 4, 6)}, {}, "no product"),
    ("MATMUL", {"output": (1, 2, 5, 3)}, {}, "no product"),
    ("MATMUL", {"bias": (1, 1, 1, 5)}, {}, "bias or scale"),
    ("MATMUL", {"scale": (1,)}, {}, "bias or scale"),
    ("MATMUL", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("RESIZE", {"output": (2, 8, 6, 3)}, {}, "batch or channels differ"),
    ("RESIZE", {"output": (1, 8, 6, 2)}, {}, "batch or channels differ"),
    ("RESIZE", {"rows": (2, 7)}, {}, "tables of rows"),
    ("RESIZE", {"columns": (1, 6)}, {}, "tables of columns"),
    ("RESIZE", {"rows": (5, 8), "row_weights": (5, 8)}, {}, "at most 4 taps"),
    ("RESIZE", {"output": (1, 8, 7, 3)}, {}, "tables of columns"),
    ("RESIZE", {}, {"rounding": Rounding.QDQ, "input_scale": 0}, "a scale is 0"),
    ("RESIZE", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("ADD", {"a": OTHER}, {}, "shapes differ"),
    ("ADD", {"b": OTHER}, {}, "shapes differ"),
    ("ADD", {"output": OTHER}, {}, "shapes differ"),
    ("ADD", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("ADD", {}, {"rounding": Rounding.XNNPACK, "shift": 0}, "the shift is 0"),
    ("ADD", {}, {"rounding": Rounding.QDQ, "output_scale": 0}, "a scale is 0"),
    ("MUL", {"a": OTHER}, {}, "shapes differ"),
    ("MUL", {"b": OTHER}, {}, "shapes differ"),
    ("MUL", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("MUL", {}, {"rounding": Rounding.QDQ, "output_scale": 0}, "a scale is 0"),
    ("MAXIMUM", {"a": OTHER}, {}, "shapes differ"),
    ("MINIMUM", {"b": OTHER}, {}, "shapes differ"),
    ("TABLE_LOOKUP", {"table": (1, 255)}, {}, "256 entries"),
    ("TABLE_LOOKUP", {"table": (3, 256)}, {}, "3 tables for 4 channels"),
    ("TABLE_LOOKUP", {"output": OTHER}, {}, "shapes differ"),
    ("SOFTMAX", {"table": (257,)}, {}, "256 entries"),
    ("SOFTMAX", {"output": (10, 2, 1)}, {}, "shapes differ"),
    ("DIV", {"b": (1, 2, 4, 3)}, {}, "shapes differ"),
    ("DIV", {}, {"b_scale": 0}, "b_scale is out of range"),
    ("LAYER_NORM", {"output": (20, 3)}, {}, "shapes differ"),
    ("LAYER_NORM", {"weight": (3,)}, {}, r"weights \[3\] and biases \[20\] are not those of rows of 20"),
    ("LAYER_NORM", {"bias": (19,)}, {}, "are not those of rows of 20"),
    ("LAYER_NORM", {"input": (1, 1 << 21)}, {}, "a row has 2097152 elements"),
    ("LAYER_NORM", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("LAYER_NORM", {}, {"epsilon": 0}, "epsilon is out of range"),
    ("LAYER_NORM", {}, {"input_scale": 2.0**40}, "input_scale is out of range"),
    ("VARIANCE", {"output": (2, 1)}, {}, r"\[2, 1\] is not one output for each of 3 rows"),
    ("VARIANCE", {"input": (3, 18)}, {}, "rows of 18 elements, no multiple of 4"),
    ("VARIANCE", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("VARIANCE", {}, {"input_scale": 2.0**40}, "input_scale is out of range"),
    ("STANDARDIZE", {"divisor": (3, 20)}, {}, "is not one divisor for each of 3 rows"),
    ("STANDARDIZE", {"table": (255,)}, {}, "the table has not 256 entries"),
    ("STANDARDIZE", {"input": (3, 22), "output": (3, 22)}, {}, "rows of 22 elements"),
    ("STANDARDIZE", {"output": (20, 3)}, {}, "shapes differ"),
    ("L2_NORMALIZE", {"output": (10, 2, 3)}, {}, "shapes differ"),
    ("L2_NORMALIZE", {}, {"clamp_min": 1, "clamp_max": 0}, "clamp is empty"),
    ("L2_NORMALIZE", {}, {"rounding": Rounding.QDQ, "output_scale": 0}, "a scale is 0"),
    ("QUANTIZE", {"output": OTHER}, {}, "shapes differ"),
    ("DEQUANTIZE", {"output": OTHER}, {}, "shapes differ"),
]


@pytest.mark.parametrize(("name", "shapes", "params", "words"), RELATIONS)
def test_relations(name, shapes, params, words):
    assert re.search(words, check(valid(name), shapes, **params))


def test_every_instruction_with_a_relation_has_a_case():
    assert {name for name, *_ in RELATIONS} == {i.name for i in INSTRUCTIONS} - {"FILL"}


def test_one_table_a_channel():
    assert check(valid("TABLE_LOOKUP"), {"table": (4, 256)}) is None


def test_copies_keep_the_element_type():
    for name in ("LOAD", "STORE", "COPY"):
        a, b = valid(name).operands
        other = Region.dense(b.space, "float16", b.address, b.shape)
        assert BY_NAME[name].check(a, other) == f"element types differ: {a.dtype} and float16"


def test_the_last_window_may_hang_over_but_must_touch():
    """x x x x | kernel 3, stride 2: windows at 0 and 2 are inside, one at 3 touches, one at 4 does not."""
    pool = valid("MAX_POOL2D")
    for outputs, stride, fits in ((2, 2, True), (2, 3, True), (2, 4, False), (3, 2, False), (4, 1, True)):
        shapes = {"output": (1, outputs, 1, 3), "input": (1, 4, 4, 3)}
        problem = check(pool, shapes, kernel_h=3, kernel_w=3, stride_h=stride)
        assert (problem is None) == fits


def test_what_padding_may_take():
    """A small input that dilation would blow up: the bound is on the elements of the padded input."""
    conv = valid("CONV2D")

    def problem(dilation: int) -> str | None:
        return check(
            conv, {"output": (1, 1, 1, 4)}, dilation_h=dilation, dilation_w=dilation, pad_top=2, pad_left=2
        )

    side = math.isqrt(MAX_PADDED // 8)
    assert problem((side - 1) // 2) is None
    assert re.match("the input with its padding has", problem(side // 2 + 1))


def test_what_channels_that_repeat_may_take():
    x, w = sram(0, 1, 4096, 4096, 1), sram(0, 1, 1, 8)
    assert "with its padding" in _depthwise(x, w, MAX_PADDED // (4096 * 4096) * 2)
    assert _depthwise(x, w, MAX_PADDED // (4096 * 4096)) is None


def _depthwise(x: Region, w: Region, channels: int) -> str | None:
    row = BY_NAME["DEPTHWISE_CONV2D"]
    w = sram(0, 1, 1, channels)
    each = [sram(0, channels, dtype=dtype) for dtype in ("int32", "float32")]
    y = sram(0, 1, 4096, 4096, channels)
    return row.check(x, w, *each, y, **command("DEPTHWISE_CONV2D", 2, x, w, *each, y).arguments)


def test_what_the_windows_of_a_row_may_take():
    """A kernel as large as the input, over an input as wide: the matrix of patches would be its square."""
    width = 1 << 13
    x, w, y = sram(0, 1, 1, width, 4), sram(0, 1, 1, width, 4), sram(0, 1, 1, width, 1)
    each = [sram(0, 1, dtype=dtype) for dtype in ("int32", "float32")]
    c = command("CONV2D", 2, x, w, *each, y, pad_left=width // 2, groups=1)
    assert width * width * 4 == MAX_PATCHES
    assert c.instruction.check(*c.operands, **c.arguments) is None
    wide = sram(0, 1, 1, width + 1, 1)
    assert "windows of a row" in c.instruction.check(*c.operands[:-1], wide, **c.arguments)


def test_constants_are_only_loaded():
    readers = [i.name for i in INSTRUCTIONS for o in i.operands if const(0, 1).space in o.spaces]
    assert readers == ["LOAD"]
