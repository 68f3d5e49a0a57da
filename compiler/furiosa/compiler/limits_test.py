"""What a small file could unfold to is refused in a sentence, or goes to the host; never made."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from furiosa.compiler import limits
from furiosa.compiler.errors import InvalidModel, OutOfDram
from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.compiler.frontend.tflite.testing import ModelBuilder
from furiosa.compiler.pipeline import Compilation, Options


def _compile(data: bytes) -> Compilation:
    return Compilation(data, Options()).run()


def _quantized(body: str, *constants: object, shape: str = "1, 4, 4, 4", out: str = "?, ?, ?, ?") -> bytes:
    text = f"q0 = QuantizeLinear(x, s, z)  {body}"
    return model(
        f"g (float[{shape}] x) => (float[{out}] y) {{ {text} }}",
        tensor("s", 0.1, "float32"),
        tensor("z", 0, "int8"),
        *constants,
        opset=19,
    )


def _chain(count: int, step: str) -> str:
    """``step`` so many times, from d{i} to r{i}, and the quantisation around it."""
    nodes = [
        f"d{i} = DequantizeLinear(q{i}, s, z)  {step.format(i=i)}  q{i + 1} = QuantizeLinear(r{i}, s, z)"
        for i in range(count)
    ]
    return "  ".join([*nodes, f"y = DequantizeLinear(q{count}, s, z)"])


def test_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_OPERATORS", 10)
    nodes = "  ".join(f"t{i + 1} = Neg(t{i})" for i in range(11))
    with pytest.raises(InvalidModel, match="has 11 operators.*limit is 10: split the model"):
        _compile(model(f"g (float[4] t0) => (float[4] t11) {{ {nodes} }}"))
    m = ModelBuilder()
    names = [m.tensor(f"t{i}", [4], "float32") for i in range(12)]
    for x, y in itertools.pairwise(names):
        m.operator("NEG", [x], [y])
    with pytest.raises(InvalidModel, match="has 11 operators"):
        _compile(m.build([names[0]], [names[-1]]))


def test_operators_of_the_npu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_LOWERED", 10)
    with pytest.raises(
        InvalidModel, match="the NPU would run 22 operators; the limit is 10: split the model"
    ):
        _compile(_quantized(_chain(20, "r{i} = Add(d{i}, d{i})")))


def test_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _quantized(_chain(20, "r{i} = Add(d{i}, d{i})"))
    count = len(_compile(data).lir.commands)
    monkeypatch.setattr(limits, "MOST_COMMANDS", count)
    _compile(data)
    monkeypatch.setattr(limits, "MOST_COMMANDS", count - 1)
    with pytest.raises(InvalidModel, match=f"would have {count} commands or more; the limit is {count - 1}"):
        _compile(data)


@pytest.mark.parametrize("times", [8, 9, 60])
def test_a_move_of_very_many_commands_is_for_the_host(times: int) -> None:
    """Each repetition of two elements is a command, along four dimensions."""
    body = "t = Tile(q0, n)  y = DequantizeLinear(t, s, z)"
    data = _quantized(body, tensor("n", [times] * 4, "int64"), shape="2, 2, 2, 2")
    compilation = Compilation(data, Options()).run("ldfg")
    (verdict,) = [v for op, v in compilation.ldfg.verdicts.items() if op.op_type == "Tile"]
    assert [r.rule for r in verdict.reasons] == ([] if times**4 <= 4096 else ["copy-commands"])


def test_a_constant_that_many_operators_read_is_in_memory_once() -> None:
    body = "w = DequantizeLinear(k, s, z)  " + _chain(40, "r{i} = Conv(d{i}, w)")
    weights = np.random.default_rng(0).integers(-9, 9, (256, 256, 1, 1)).astype(np.int8)
    compilation = Compilation(_quantized(body, tensor("k", weights), shape="1, 256, 2, 2"), Options()).run(
        "ldfg"
    )
    convolutions = [op for op in compilation.ldfg.operators if op.op_type == "npu.conv2d"]
    assert len(convolutions) == 40 and len({id(op.inputs[1].data) for op in convolutions}) == 1


def test_constants_that_are_made_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table for each channel and operator: 256 bytes of two numbers."""
    monkeypatch.setattr(limits, "BEYOND", 1 << 20)
    body = "  ".join(
        f"d{i} = DequantizeLinear(q{i}, s{i}, z)  r{i} = PRelu(d{i}, p)  q{i + 1} = QuantizeLinear(r{i}, s{i + 1}, z)"
        for i in range(8)
    )
    scales = [tensor(f"s{i}", 0.1 + i / 100, "float32") for i in range(9)]
    slopes = tensor("p", np.linspace(0, 1, 1024).reshape(1024, 1, 1), "float32")
    data = model(
        f"g (float[1, 1024, 2, 2] x) => (int8[1, 1024, 2, 2] q8) {{ q0 = QuantizeLinear(x, s0, z)  {body} }}",
        tensor("z", 0, "int8"),
        *scales,
        slopes,
    )
    with pytest.raises(limits.TooLarge, match="the constants of the NPU's operators would take 1310"):
        _compile(data)


def test_a_constant_in_each_part_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BEYOND", 0)
    step = "u{i} = Add(d{i}, c)  h{i} = Sinh(u{i})  a{i} = QuantizeLinear(h{i}, s, z)  b{i} = DequantizeLinear(a{i}, s, z)  r{i} = Add(b{i}, b{i})"
    constant = tensor("c", np.ones((1, 4, 64, 64)), "float32")

    def clusters(count: int) -> bytes:
        return _quantized(_chain(count, step), constant, shape="1, 4, 64, 64")

    _compile(clusters(3))
    with pytest.raises(limits.TooLarge, match="the models of the host's parts, each with all that it reads"):
        _compile(clusters(12))


def test_tensors_in_dram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("furiosa.enf.hazards.MAX_LIVE", 10)
    outputs = "  ".join(f"y{i} = Relu(x)" for i in range(10))
    names = ", ".join(f"float[4] y{i}" for i in range(10))
    with pytest.raises(OutOfDram, match="more than 10 tensors in DRAM"):
        _compile(model(f"g (float[4] x) => ({names}) {{ {outputs} }}"))
