"""The dumps of a small model, and how odd values are spelled."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xxhash
from onnx import helper

from furiosa.compiler.dfg.graph import Quantization, Tensor
from furiosa.compiler.dump.dump import dump
from furiosa.compiler.dump.text import Names, constant, quote, tensor, value
from furiosa.compiler.pipeline import Compilation, Options


@pytest.fixture(scope="module")
def compilation(quantized_model: bytes) -> Compilation:
    return Compilation(quantized_model, Options()).run("lir")


def lines(compilation: Compilation, ir: str) -> list[str]:
    out = list(dump(compilation, ir))
    assert all(line == line.rstrip() and "\n" not in line for line in out)
    assert not any(re.search(r"0x[0-9a-f]{9,}| object at ", line) for line in out), (
        "an address of this process"
    )
    return out


def test_dfg(compilation):
    text = lines(compilation, "dfg")
    assert text[:3] == ['dfg of onnx model "small"', "inputs", '  %0 float32[1,3,8,8] "x"']
    assert '  #4 Conv (%2, %3, %4) -> (%5) {auto_pad: "NOTSET", group: 1, pads: [1, 1, 1, 1]} "conv"' in text
    assert '      %5 float32[1,4,8,8] "conv_f"' in text
    assert text[-2] == '  $6 float32[] "bias_scale" = 0.00390625'


def test_ldfg(compilation):
    text = lines(compilation, "ldfg")
    assert '  #4 Conv "conv": npu' in text
    at = text.index('  #7 Sinh "sinh": host')
    assert text[at + 1].startswith('      operator-table: found "Sinh", allowed "')
    (conv,) = [line for line in text if " npu.conv2d (" in line]
    assert re.match(r"  #[\d,#]*#4[,#\d]* npu\.conv2d \(%\d+, \$0, \$1, \$2\) -> ", conv)


def test_cdfg(compilation):
    text = lines(compilation, "cdfg")
    clusters = [line for line in text if line.startswith("cluster ")]
    assert clusters == ["cluster 0 npu (%0) -> (%1)", "cluster 1 host (%1) -> (%6)"]


def test_gir(compilation):
    text = lines(compilation, "gir")
    segment = next(iter(compilation.gir.values()))
    assert sum(bool(re.match(r"  \d+ #\d+ (load|store|pe): [A-Z]", line)) for line in text) == len(
        segment.works
    )
    (conv,) = [line for line in text if " CONV2D " in line]
    assert " weight=sram3[0x0]:int8[4x3x3x3] " in conv and "stride_h=1" in conv
    assert any(re.match(r"  sram0 768 bytes, 0 to \d", line) for line in text)


def test_lir(compilation):
    text = lines(compilation, "lir")
    commands = text[text.index("commands") + 1 :]
    assert len(commands) == len(compilation.lir.commands)
    assert [int(line.split()[0]) for line in commands] == list(range(len(commands)))
    assert " pe after load 2: QUANTIZE " in commands[2] and "sram[0x" in commands[2]
    assert any(line.startswith("  host 2 operators, a model of ") and '"sinh"' in line for line in text)


def test_no_such_ir(compilation):
    with pytest.raises(ValueError, match="enf"):
        dump(compilation, "enf")


def test_names_are_given_in_the_order_of_use():
    a, b = Tensor("same", (), "int8"), Tensor("same", (), "int8")
    c = Tensor("c", (), "int8", data=np.int8(3).reshape(()))
    names = Names()
    assert names.list([b, c, None, a, b]) == "(%0, $0, _, %1, %0)"
    assert names.constants == [c]


@pytest.mark.parametrize(
    ("v", "text"),
    [
        ({"b": 1, "a": [1.5, "x\n"]}, '{a: [1.5, "x\\n"], b: 1}'),
        (np.float32(0.1), "0.1"),
        (np.zeros((2, 2), np.int8), "int8[2,2] [0, 0, 0, 0]"),
        (
            np.arange(9, dtype=np.uint8),
            f"uint8[9] <9 values, xxh3 {xxhash.xxh3_64_hexdigest(bytes(range(9)))}>",
        ),
        (b"abc", "<3 bytes, xxh3 78af5f94892f3950>"),
        (None, "None"),
        (True, "True"),
        (object(), "<object>"),
    ],
)
def test_values(v, text):
    assert value(v, Names()) == text


def test_a_subgraph_is_a_digest_of_its_message():
    graph = helper.make_graph([], "g", [], [])
    assert re.fullmatch(r"<GraphProto, 3 bytes, xxh3 [0-9a-f]{16}>", value(graph, Names()))


def test_tensors():
    per_channel = Quantization(np.float32([0.5, 0.25]), np.int32([0, 0]), axis=1)
    assert (
        tensor(Tensor('a"\\', (1, 2), "int8", per_channel))
        == 'int8[1,2] scale [0.5, 0.25] zero [0, 0] axis 1 "a\\"\\\\"'
    )
    strings = np.array(["a", "b\n"], dtype=object)
    assert constant(Tensor("s", (2,), "string", data=strings)) == 'string[2] "s" = ["a", "b\\n"]'
    many = np.array(["a"] * 20, dtype=object)
    assert "<20 values, xxh3 " in constant(Tensor("s", (20,), "string", data=many))
    empty = Tensor("e", (0, 4), "float32", data=np.zeros((0, 4), np.float32))
    assert constant(empty) == 'float32[0,4] "e" = []'
    not_contiguous = np.arange(32, dtype=np.int8).reshape(4, 8).T
    same = np.ascontiguousarray(not_contiguous)
    assert constant(Tensor("t", (8, 4), "int8", data=not_contiguous)) == constant(
        Tensor("t", (8, 4), "int8", data=same)
    )


def test_quote_is_one_line():
    assert quote("a\nb\u2028\x7f") == '"a\\nb\\u2028\\x7f"'
