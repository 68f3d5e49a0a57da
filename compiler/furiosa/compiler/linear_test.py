"""Compile time grows linearly: the steps of the interpreter are counted, no time is measured.

From models of n, 2n and 4n operators follows how many of the steps grow with the square of n.  At 20,000 operators those have to be less
than half of the others: one step for each pair of operators is far more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.report.report import report
from furiosa.enf import container, reader

LARGE = 20_000
SIZE = 32


class _Graph:
    """A QDQ model of int8 tensors [1, 4, 4, 4], all of one scale."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape or (1, 4, 4, 4)
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {"s": np.float32(0.1), "z": np.int8(0)}

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str | list[str]:
        made = [f"t{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, **attributes))
        return made[0] if outputs == 1 else made

    def quantized(self, name: str) -> str:
        q = self.add("QuantizeLinear", name, "s", "z")
        return self.add("DequantizeLinear", q, "s", "z")

    def weights(self, *shape: int) -> str:
        name = f"w{len(self.constants)}"
        self.constants[name] = np.full(shape, len(self.constants) % 100, np.int8)
        return self.add("DequantizeLinear", name, "s", "z")

    def model(self, *outputs: str) -> bytes:
        values = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "g", [x], values, stored)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def chain_of_convolutions(n: int) -> bytes:
    g = _Graph()
    at = g.quantized("x")
    for _ in range(n):
        at = g.quantized(g.add("Relu", g.add("Conv", at, g.weights(4, 4, 3, 3), pads=[1, 1, 1, 1])))
    return g.model(at)


def chain_of_qoperators(n: int) -> bytes:
    g = _Graph()
    at = g.add("QuantizeLinear", "x", "s", "z")
    for _ in range(n):
        at = g.add("QLinearAdd", at, "s", "z", at, "s", "z", "s", "z", domain="com.microsoft")
    return g.model(g.add("DequantizeLinear", at, "s", "z"))


def one_tensor_read_by_all(n: int) -> bytes:
    """And all results joined: they live at the same time."""
    g = _Graph()
    at = g.quantized("x")
    parts = [g.quantized(g.add("Relu", at)) for _ in range(n)]
    return g.model(g.quantized(g.add("Concat", *parts, axis=1)))


def results_that_live_long(n: int) -> bytes:
    """The last made is read first."""
    g = _Graph()
    at = g.quantized("x")
    parts = [g.quantized(g.add("Relu", at)) for _ in range(n // 2)]
    at = parts.pop()
    while parts:
        at = g.quantized(g.add("Add", at, parts.pop()))
    return g.model(at)


def many_outputs(n: int) -> bytes:
    g = _Graph()
    at = g.quantized("x")
    return g.model(*(g.quantized(g.add("Relu", at)) for _ in range(n)))


def joined_and_narrowed(n: int) -> bytes:
    g = _Graph()
    first = at = g.quantized("x")
    for _ in range(n // 2):
        joined = g.quantized(g.add("Concat", at, first, axis=1))
        at = g.quantized(g.add("Conv", joined, g.weights(4, 8, 1, 1)))
    return g.model(at)


def more_than_fits(n: int) -> bytes:
    """Tensors of which SRAM holds one: every one goes to DRAM."""
    g = _Graph(1, 4, 1600, 1600)
    at = g.quantized("x")
    for _ in range(n):
        at = g.quantized(g.add("Conv", at, g.weights(4, 4, 1, 1)))
    return g.model(at)


def chain_on_the_host(n: int) -> bytes:
    g = _Graph()
    at = "x"
    for i in range(n):
        at = g.add(("Sin", "Abs", "Neg")[i % 3], at)
    return g.model(at)


def npu_and_host_by_turns(n: int) -> bytes:
    g = _Graph()
    at = "x"
    for _ in range(n // 2):
        at = g.quantized(g.add("Sinh", at))
        at = g.quantized(g.add("Add", at, at))
    return g.model(at)


def host_results_that_wait(n: int) -> bytes:
    """Operators that could run from the start, each read by a later cluster of the host."""
    g = _Graph()
    waiting = [g.add("Sin", "x") for _ in range(n // 3)]
    at = "x"
    for t in waiting:
        at = g.quantized(g.add("Mul", at, t))
        at = g.quantized(g.add("Add", at, at))
    return g.model(at)


def moves_of_real_numbers(n: int) -> bytes:
    """With readers on the host that take the moves along."""
    g = _Graph()
    at, made = g.quantized("x"), "x"
    for _ in range(n // 3):
        at = g.add("Transpose", at, perm=[0, 1, 3, 2])
        made = g.quantized(g.add("Mul", made, at))
        made = g.add("Sinh", g.quantized(g.add("Add", made, made)))
    return g.model(made)


def reshapes_by_computed_shapes(n: int) -> bytes:
    g = _Graph()
    at = "x"
    for _ in range(n // 2):
        at = g.add("Reshape", at, g.add("Shape", at))
    return g.model(g.add("Relu", at))


def tflite_chain(n: int) -> bytes:
    m = ModelBuilder()
    at = x = m.tensor("x", [1, 4, 4, 4], scale=0.1)
    for i in range(n):
        y = m.tensor(f"t{i}", [1, 4, 4, 4], scale=0.1)
        m.operator("ADD", [at, at], [y], options("AddOptions"))
        at = y
    return m.build([x], [at])


def tflite_by_turns(n: int) -> bytes:
    m = ModelBuilder()
    at = x = m.tensor("x", [1, 4, 4, 4], scale=0.1)
    for i in range(n):
        y = m.tensor(f"t{i}", [1, 4, 4, 4], scale=0.1)
        m.operator("ABS" if i % 2 else "RELU", [at], [y])
        at = y
    return m.build([x], [at])


def _steps(function: Callable[[], object]) -> int:
    """Lines that the interpreter runs: each turn of a loop or a comprehension is one at least."""
    count = 0

    def line(frame: FrameType, event: str, argument: object) -> Callable:
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def _everything(data: bytes) -> None:
    """Compiles, writes, reports, reads and verifies."""
    compilation = Compilation(data, Options()).run()
    enf = container.to_bytes(compilation.enf)
    report(compilation, "m", len(enf))
    reader.load(enf)


FAMILIES = [
    *(
        chain_of_convolutions,
        chain_of_qoperators,
        one_tensor_read_by_all,
        results_that_live_long,
        many_outputs,
    ),
    *(joined_and_narrowed, more_than_fits, chain_on_the_host, npu_and_host_by_turns, host_results_that_wait),
    *(moves_of_real_numbers, reshapes_by_computed_shapes, tflite_chain, tflite_by_turns),
]


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at pair by pair as long as it is little is always too much here."""
    monkeypatch.setattr("furiosa.compiler.lir.allocate._MOST_PAIRS", 0)
    monkeypatch.setattr("furiosa.compiler.ldfg.onnx.moved_reals._LONGEST", 2)
    monkeypatch.setattr("furiosa.compiler.lir.prefetch.WINDOW", 4)
    monkeypatch.setattr("furiosa.enf.hazards.MAX_ACCESSES", 4)


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("family", FAMILIES)
def test_linear(family: Callable[[int], bytes]) -> None:
    models = [family(SIZE << i) for i in range(3)]
    _everything(models[0])  # what is done once
    one, two, four = (_steps(lambda data=data: _everything(data)) for data in models)
    square = (four - 3 * two + 2 * one) / (6 * SIZE * SIZE)
    more = (four - two) / (2 * SIZE)
    assert square * LARGE < more / 2, (
        f"{(one, two, four)} steps: {more:.0f} for one more operator, and {square:.3f} n^2"
    )
