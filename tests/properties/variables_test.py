"""Graphs of TFLite operators with variables that live from run to run: session after session as LiteRT answers, run after run."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, reject
from hypothesis import strategies as st

from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.runtime import session
from tests.properties.harness import bounded
from tests.properties.strategies import seeds

WIDTH = 8
RUNS = 4


class _Stream:
    """int8 tensors [1, 8] of one scale, and variables of the same kind, which begin with numbers of their own."""

    def __init__(self, seed: int, variables: int) -> None:
        self.b = ModelBuilder()
        self.rng = np.random.default_rng(seed)
        main = self.b.graph
        self.x = self.tensor()
        init = self.b.subgraph()
        for v in range(variables):
            first = self.rng.integers(-128, 128, (1, WIDTH)).astype(np.int8)
            handle = self.handle(v)
            self.b.operator("ASSIGN_VARIABLE", [handle, self.tensor(first)], [])
        init.inputs, init.outputs = [], []
        self.b.graph = main
        self.b.operator("CALL_ONCE", [], [], options("CallOnceOptions", initSubgraphIndex=1))
        self.handles: dict[int, int] = {}

    def tensor(self, data: np.ndarray | None = None, width: int = WIDTH) -> int:
        name = f"t{len(self.b.graph.tensors)}"
        return self.b.tensor(name, [1, width], "int8", data, scale=0.05, zero_point=3)

    def handle(self, variable: int) -> int:
        """A new handle of a variable."""
        handle = self.b.tensor(f"h{len(self.b.graph.tensors)}", [], "resource")
        self.b.operator("VAR_HANDLE", [], [handle], options("VarHandleOptions", sharedName=f"v{variable}"))
        return handle

    def read(self, handle: int) -> int:
        out = self.tensor()
        self.b.operator("READ_VARIABLE", [handle], [out])
        return out

    def assign(self, handle: int, value: int) -> None:
        self.b.operator("ASSIGN_VARIABLE", [handle, value], [])

    def add(self, a: int, b: int) -> int:
        out = self.tensor()
        self.b.operator("ADD", [a, b], [out], options("AddOptions"))
        return out

    def window(self, old: int, new: int, begin: int) -> int:
        """Elements ``begin`` to ``begin + 8`` of the two, one after the other."""
        both, out = self.tensor(width=2 * WIDTH), self.tensor()
        self.b.operator("CONCATENATION", [old, new], [both], options("ConcatenationOptions", axis=1))
        bounds = [
            self.b.tensor(f"c{len(self.b.graph.tensors) + i}", [2], "int32", value)
            for i, value in enumerate(([0, begin], [1, WIDTH]))
        ]
        self.b.operator("SLICE", [both, *bounds], [out], options("SliceOptions"))
        return out


@given(data=st.data(), seed=seeds(), count=st.integers(1, 3), steps=st.integers(1, 8))
@bounded(60)
def test_runs_after_runs(data: st.DataObject, seed: int, count: int, steps: int) -> None:
    g = _Stream(seed, count)
    known = [g.x]
    for _ in range(steps):
        value = data.draw(st.sampled_from(known))
        kind = data.draw(st.sampled_from(["npu", "window", "read", "assign"]))
        if kind == "npu":
            known.append(g.add(value, data.draw(st.sampled_from(known))))
            continue
        variable = data.draw(st.integers(0, count - 1))
        fresh = data.draw(st.booleans()) or variable not in g.handles
        handle = g.handles[variable] = g.handle(variable) if fresh else g.handles[variable]
        if kind == "assign":
            g.assign(handle, value)
            continue
        old = g.read(handle)
        known.append(old)
        if kind == "window":
            known.append(g.window(old, value, data.draw(st.integers(0, WIDTH))))
            g.assign(handle, known[-1])
    outputs = data.draw(st.lists(st.sampled_from(known[1:]), min_size=1, unique=True)) if known[1:] else []
    if not outputs:
        outputs = [g.add(g.x, g.x)]
    model = g.b.build([g.x], outputs)
    first, second = (Interpreter(model_content=model, num_threads=1) for _ in range(2))
    for interpreter in (first, second):
        try:
            interpreter.allocate_tensors()
        except RuntimeError:  # LiteRT's delegate cannot prepare some such graphs
            reject()
    with session.create(model) as a, session.create(model) as b:
        # the second one runs less often
        for interpreter, sess, runs in ((first, a, RUNS), (second, b, 1), (first, a, 2), (second, b, 1)):
            for _ in range(runs):
                x = g.rng.integers(-128, 128, (1, WIDTH)).astype(np.int8)
                interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
                interpreter.invoke()
                for place, answer in zip(interpreter.get_output_details(), sess.run(x), strict=True):
                    np.testing.assert_array_equal(answer.numpy(), interpreter.get_tensor(place["index"]))
