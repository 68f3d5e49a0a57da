"""Transpositions in a row: fused where one COPY does the same, left where somebody reads between or it cannot be."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.ldfg.compose import compose
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.lowering import Lowering


def _kinds(low: Lowering) -> list[str]:
    return [op.op_type.removeprefix("npu.") for op in low.operators]


def _run(low: Lowering, x: np.ndarray) -> np.ndarray:
    """What the moves do, in NumPy."""
    values = {low.graph.inputs[0]: x}
    for op in low.operators:
        v, y = values[op.inputs[0]], op.outputs[0]
        v = v.transpose(op.attributes["perm"]) if op.op_type == "npu.transpose" else v.reshape(y.shape)
        assert v.shape == y.shape
        values[y] = v
    return values[low.graph.outputs[0]]


def _lowering(shape: tuple[int, ...], steps: list[tuple[int, ...] | tuple[str, tuple[int, ...]]]) -> Lowering:
    """A chain of ("transpose", perm) and ("reshape", shape)."""
    x = t = Tensor("x", shape, "int8")
    low = Lowering(Graph("tflite", "", [x], [], []))
    for i, (kind, how) in enumerate(steps):
        if kind == "transpose":
            made = tuple(t.shape[p] for p in how)
            t = low.emit("npu.transpose", [t], f"t{i}", made, None, perm=how)
        else:
            t = low.emit("npu.reshape", [t], f"t{i}", how, None)
    low.graph.outputs.append(t)
    return low


def test_a_shuffle_of_channels_between_layouts_is_one_move() -> None:
    """NHWC -> NCHW -> [N, groups, C / groups, H, W] -> swapped -> NCHW -> NHWC."""
    low = _lowering(
        (1, 6, 5, 8),
        [
            ("transpose", (0, 3, 1, 2)),
            ("reshape", (1, 2, 4, 6, 5)),
            ("transpose", (0, 2, 1, 3, 4)),
            ("reshape", (1, 8, 6, 5)),
            ("transpose", (0, 2, 3, 1)),
        ],
    )
    x = np.arange(240).reshape(1, 6, 5, 8)
    expected = _run(low, x)
    compose(low)
    assert _kinds(low).count("transpose") == 1
    np.testing.assert_array_equal(_run(low, x), expected)


def test_a_layout_and_back_is_nothing() -> None:
    low = _lowering((1, 6, 5, 8), [("transpose", (0, 3, 1, 2)), ("transpose", (0, 2, 3, 1))])
    compose(low)
    assert _kinds(low) == ["reshape"]


def test_a_step_that_somebody_else_reads_stays() -> None:
    low = _lowering((1, 6, 5, 8), [("transpose", (0, 3, 1, 2)), ("transpose", (0, 2, 3, 1))])
    low.graph.outputs.append(low.operators[0].outputs[0])
    compose(low)
    assert _kinds(low) == ["transpose", "transpose"]


def test_a_reshape_across_dimensions_stays() -> None:
    """[2, 3] transposed is cut into rows of 2 that no stride describes."""
    low = _lowering((3, 4), [("transpose", (1, 0)), ("reshape", (3, 4)), ("transpose", (1, 0))])
    compose(low)
    assert _kinds(low) == ["transpose", "reshape", "transpose"]


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(st.data())
def test_any_chain_moves_the_same(data: st.DataObject) -> None:
    shape = at = tuple(data.draw(st.lists(st.sampled_from((1, 2, 3, 4, 6)), min_size=1, max_size=4)))
    steps = []
    for _ in range(data.draw(st.integers(2, 6))):
        if data.draw(st.booleans()):
            perm = tuple(data.draw(st.permutations(range(len(at)))))
            steps.append(("transpose", perm))
            at = tuple(at[p] for p in perm)
        else:
            left, dims = math.prod(at), []
            while left > 1:
                dims.append(data.draw(st.sampled_from([d for d in range(2, left + 1) if left % d == 0])))
                left //= dims[-1]
            at = tuple(dims) or (1,)
            steps.append(("reshape", at))
    low = _lowering(shape, steps)
    x = np.arange(math.prod(shape)).reshape(shape)
    expected, before = _run(low, x), _kinds(low).count("transpose")
    compose(low)
    np.testing.assert_array_equal(_run(low, x), expected)
    assert _kinds(low).count("transpose") <= before
    assert all(op in low.origins for op in low.operators)


def test_a_pixel_shuffle_between_convolutions() -> None:
    """As exporters write it: Reshape, Transpose, Reshape in NCHW, where the convolutions have the channels last."""
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": np.ones((8, 4, 1, 1), np.int8),
        "v": np.ones((4, 2, 1, 1), np.int8),
        "apart": np.array([1, 2, 2, 2, 6, 6]),
        "joined": np.array([1, 2, 12, 12]),
    }
    nodes = [
        helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["a"]),
        helper.make_node("Reshape", ["a", "apart"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 1, 4, 2, 5, 3]),
        helper.make_node("Reshape", ["c", "joined"], ["d"]),
        helper.make_node("QLinearConv", ["d", "s", "z", "v", "s", "z", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.INT8, [1, 4, 12, 12])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    low = lower(import_model(model.SerializeToString()))
    kinds = [k for k in _kinds(low) if k != "reshape"]
    assert kinds == ["transpose", "conv2d", "transpose", "conv2d", "transpose"]
    (shuffle,) = [op for op in low.operators if len(low.origins[op]) > 2 and op.op_type == "npu.transpose"]
    assert [o.op_type for o in low.origins[shuffle]] == ["Reshape", "Transpose", "Reshape", "QLinearConv"]


def test_an_operator_between_is_none_of_the_chain() -> None:
    low = _lowering((2, 3), [("transpose", (1, 0))])
    t = low.graph.outputs.pop()
    y = low.emit("npu.table_lookup", [t, low.table("t", lambda q: q)], "y", t.shape, None)
    z = low.emit("npu.transpose", [y], "z", (2, 3), None, perm=(1, 0))
    low.graph.outputs.append(z)
    compose(low)
    assert _kinds(low) == ["transpose", "table_lookup", "transpose"]
    assert isinstance(low.operators[0], Operator)
