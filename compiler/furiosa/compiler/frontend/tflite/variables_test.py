"""What lives from run to run: which operators become one, that its model is LiteRT's, and what cannot be done with it."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.dfg.graph import HOST_REGION, Operator
from furiosa.compiler.dfg.macs import macs
from furiosa.compiler.errors import InvalidConfig, InvalidModel
from furiosa.compiler.frontend.importer import extract_host_model
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, operators, options, run
from furiosa.compiler.selection import Selection


class _Model(ModelBuilder):
    """float [1, 4] tensors."""

    def real(self, name: str) -> int:
        return self.tensor(name, [1, 4], "float32")

    def unary(self, kind: str, x: int, name: str) -> int:
        y = self.real(name)
        self.operator(kind, [x], [y])
        return y

    def add(self, a: int, b: int, name: str) -> int:
        y = self.real(name)
        self.operator("ADD", [a, b], [y], options("AddOptions"))
        return y

    def handle(self, variable: str) -> int:
        h = self.tensor(f"handle of {variable} {len(self.graph.tensors)}", [], "resource")
        self.operator("VAR_HANDLE", [], [h], options("VarHandleOptions", sharedName=variable))
        return h

    def read(self, handle: int, name: str) -> int:
        y = self.real(name)
        self.operator("READ_VARIABLE", [handle], [y])
        return y

    def assign(self, handle: int, x: int) -> None:
        self.operator("ASSIGN_VARIABLE", [handle, x], [])


def counters() -> bytes:
    """Two variables, v += f(x) and w += g(v), each by handles of its own to read and to assign."""
    b = _Model()
    x = b.real("x")
    begin = b.unary("EXP", x, "begin")
    v = b.add(b.read(b.handle("v"), "old v"), begin, "v")
    b.assign(b.handle("v"), v)
    between = b.unary("NEG", v, "between")
    w = b.add(b.read(b.handle("w"), "old w"), between, "w")
    b.assign(b.handle("w"), w)
    return b.build([x], [b.unary("ABS", w, "y")])


def _kinds(op: Operator) -> list[str]:
    return [m.op_type for m in op.bodies["function"].operators]


_REGION = ["VAR_HANDLE", "READ_VARIABLE", "ADD", "VAR_HANDLE", "ASSIGN_VARIABLE"]


def test_what_shares_a_variable_is_one_operator() -> None:
    graph = import_tflite(counters())
    assert [op.op_type for op in graph.operators] == ["EXP", HOST_REGION, "NEG", HOST_REGION, "ABS"]
    first, second = graph.operators[1], graph.operators[3]
    assert _kinds(first) == _kinds(second) == _REGION
    assert first.written_type == "VAR_HANDLE + READ_VARIABLE + ADD + …"
    assert [t.name for t in (*first.inputs, *first.outputs)] == ["begin", "v"]
    assert [t.name for t in (*second.inputs, *second.outputs)] == ["between", "w"]
    assert macs(first, "tflite") == 0


def test_its_model_is_that_of_its_operators() -> None:
    graph = import_tflite(counters())
    region = graph.operators[1]
    alone = extract_host_model(graph, [region], region.inputs, region.outputs)
    assert operators(alone) == _REGION


def test_what_nobody_reads_is_left_out() -> None:
    b = _Model()
    x = b.real("x")
    h = b.handle("v")
    b.assign(h, b.add(b.read(h, "old"), x, "new"))
    graph = import_tflite(b.build([x], [b.unary("EXP", x, "y")]))
    assert [op.op_type for op in graph.operators] == ["EXP"]


def test_what_runs_once_is_in_every_region_and_once_in_a_model() -> None:
    b = _Model()
    main = b.graph
    init = b.subgraph()
    init.inputs, init.outputs = [], []
    for variable in "vw":
        b.assign(b.handle(variable), b.tensor("begin", [1, 4], "float32", np.full((1, 4), 5)))
    b.graph = main
    x = b.real("x")
    b.operator("CALL_ONCE", [], [], options("CallOnceOptions", initSubgraphIndex=1))
    v, w = (b.read(b.handle(variable), f"old {variable}") for variable in "vw")
    y, z = b.add(v, x, "y"), b.add(w, x, "z")
    graph = import_tflite(b.build([x], [y, z]))
    regions = [op for op in graph.operators if op.op_type == HOST_REGION]
    assert [_kinds(op) for op in regions] == [["CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE"]] * 2
    both = extract_host_model(graph, graph.operators, graph.inputs, graph.outputs)
    assert operators(both).count("CALL_ONCE") == 1
    for value in run(both, [np.ones((1, 4), np.float32)]):
        assert value.tolist() == [[6] * 4]


def test_tables() -> None:
    """A table that the first run fills: LiteRT's own, of int64 to string."""
    b = ModelBuilder()
    main = b.graph
    init = b.subgraph()
    init.inputs, init.outputs = [], []
    table = {"tableId": 7, "keyDtype": 4, "valueDtype": 5}  # INT64 and STRING

    def handle() -> int:
        h = b.tensor("table", [1], "resource")
        b.operator("HASHTABLE", [], [h], options("HashtableOptions", **table))
        return h

    words = np.array([2, 12, 13, 14], np.int32).tobytes() + b"ab"  # how TFLite lays strings out
    keys, values = b.tensor("keys", [2], "int64", [3, 4]), b.tensor("values", [2], "string", words)
    b.operator("HASHTABLE_IMPORT", [handle(), keys, values], [], options("HashtableImportOptions"))
    b.graph = main
    b.operator("CALL_ONCE", [], [], options("CallOnceOptions", initSubgraphIndex=1))
    x, y, size = b.tensor("x", [1], "int64"), b.tensor("y", [1], "int64"), b.tensor("size", [1], "int64")
    b.operator("HASHTABLE_SIZE", [handle()], [size], options("HashtableSizeOptions"))
    b.operator("ADD", [x, size], [y], options("AddOptions"))
    model = b.build([x], [y])
    graph = import_tflite(model)
    assert [op.op_type for op in graph.operators] == [HOST_REGION, "ADD"]
    alone = extract_host_model(graph, graph.operators, graph.inputs, graph.outputs)
    one = [np.array([1], np.int64)]
    assert run(alone, one)[0].tolist() == run(model, one)[0].tolist() == [3]


def test_a_batch_shares_no_variable() -> None:
    with pytest.raises(InvalidModel, match=r"READ_VARIABLE .* is not known to keep the samples of a batch"):
        import_tflite(counters(), batch_size=2)


def test_such_a_model_is_not_cut() -> None:
    with pytest.raises(InvalidConfig, match=r"from run to run \(ASSIGN_VARIABLE\) cannot be cut"):
        import_tflite(counters(), selection=Selection(outputs=("between",)))
