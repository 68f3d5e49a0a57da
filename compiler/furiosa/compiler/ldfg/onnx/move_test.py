"""Moves of values in ONNX graphs: what the vendor's limits keep off the NPU, layouts, units of several outputs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.lowering import Lowering


def _lower(
    nodes: list, shape: list[int], outputs: list[str], constants: dict, opset: int = 18, release: str = "0.10"
) -> Lowering:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, shape)],
        [helper.make_tensor_value_info(o, TensorProto.INT8, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return lower(import_model(model.SerializeToString()), release)


def _kinds(lowering: Lowering) -> list[str]:
    return [op.op_type.removeprefix("npu.") for op in lowering.operators]


def _rules(lowering: Lowering, op_type: str) -> list[str]:
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.op_type == op_type]
    return [r.rule for r in verdict.reasons]


@pytest.mark.parametrize(
    ("shape", "axis", "release", "failed"),
    [
        ([2, 3, 4, 5], 0, "0.10", ["concat-axes"]),
        ([2, 3, 4, 5], 1, "0.10", []),
        ([2, 3, 4, 5], 1, "0.6.3", ["concat-axes"]),
        ([2, 3, 4, 5], 2, "0.6.3", []),
        ([2, 3, 4, 5], -1, "0.10", ["concat-axes"]),
        ([2, 3, 4], 0, "0.10", ["concat-axes"]),
        ([2, 3, 4], 2, "0.10", []),
        ([2, 3], 1, "0.10", []),
        ([2, 3], 0, "0.10", ["concat-axes"]),
        ([6], 0, "0.10", []),
    ],
)
def test_concat_axes(shape: list[int], axis: int, release: str, failed: list[str]) -> None:
    low = _lower(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=axis)], shape, ["y"], {}, release=release
    )
    assert _rules(low, "Concat") == failed


@pytest.mark.parametrize(
    ("axis", "start", "step", "failed"),
    [
        (0, 1, 1, ["slice-axes"]),
        (1, 1, 1, []),
        (2, 0, 2, []),
        (3, 1, 1, ["slice-axes"]),
        (3, 0, 1, []),  # takes all of the width
        (2, -1, -1, []),
    ],
)
def test_slice_axes(axis: int, start: int, step: int, failed: list[str]) -> None:
    end = 2**40 if step > 0 else -(2**40)
    constants = {"a": np.array([start]), "b": np.array([end]), "c": np.array([axis]), "d": np.array([step])}
    low = _lower([helper.make_node("Slice", ["x", *"abcd"], ["y"])], [2, 3, 4, 5], ["y"], constants)
    assert _rules(low, "Slice") == failed


def test_a_long_dimension_is_not_reversed_on_the_npu() -> None:
    constants = {"a": np.array([-1]), "b": np.array([-(2**40)]), "c": np.array([1]), "d": np.array([-1])}
    node = helper.make_node("Slice", ["x", *"abcd"], ["y"])
    assert _rules(_lower([node], [1, 256], ["y"], constants), "Slice") == []
    assert _rules(_lower([node], [1, 257], ["y"], constants), "Slice") == ["copy-commands"]


@pytest.mark.parametrize(("axis", "failed"), [(0, ["pad-axes"]), (1, []), (2, []), (3, [])])
def test_pad_axes(axis: int, failed: list[str]) -> None:
    constants = {"pads": np.array([1, 0]), "value": np.int8(3), "axes": np.array([axis])}
    node = helper.make_node("Pad", ["x", "pads", "value", "axes"], ["y"])
    assert _rules(_lower([node], [2, 3, 4, 5], ["y"], constants), "Pad") == failed


@pytest.mark.parametrize("perm", [[6, 5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 6, 5]])
def test_transpose_of_many_dimensions(perm: list[int]) -> None:
    """Those that stay neighbours count as one."""
    low = _lower([helper.make_node("Transpose", ["x"], ["y"], perm=perm)], [2] * 7, ["y"], {})
    assert _rules(low, "Transpose") == (["copy-dimensions"] if perm[0] else [])


def _between_convolutions(node: object, constants: dict) -> list[str]:
    """The kinds of NPU operators of QLinearConv -> node -> QLinearConv."""
    constants = {
        **constants,
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": np.ones((4, 4, 1, 1), np.int8),
    }
    nodes = [
        helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["a"]),
        node,
        helper.make_node("QLinearConv", ["b", "s", "z", "w", "s", "z", "s", "z"], ["y"]),
    ]
    return _kinds(_lower(nodes, [1, 4, 6, 6], ["y"], constants))


def test_moves_stay_in_the_layout_of_their_neighbours() -> None:
    pads = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    padded = _between_convolutions(helper.make_node("Pad", ["a", "pads"], ["b"], mode="reflect"), pads)
    assert padded == ["transpose", "conv2d", "take", "conv2d", "transpose", "reshape"]
    ends = {"a0": np.array([1]), "a1": np.array([5]), "a2": np.array([2])}
    cut = _between_convolutions(helper.make_node("Slice", ["a", "a0", "a1", "a2"], ["b"]), ends)
    assert cut == ["transpose", "conv2d", "take", "conv2d", "transpose", "reshape"]


def test_an_unused_output_of_split_is_left_out() -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", ""], axis=1, num_outputs=2),
        helper.make_node("Identity", ["a"], ["y"]),
    ]
    assert _kinds(_lower(nodes, [1, 4, 2, 2], ["y"], {})) == ["take"]


def test_a_split_with_a_real_result_is_no_unit() -> None:
    """onnxruntime splits real numbers there, and computes in them what follows."""
    scale = {"s": np.float32(0.1), "z": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["r"]),
        helper.make_node("Split", ["r"], ["a", "b"], axis=1, num_outputs=2),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["y"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["v"]),
    ]
    low = _lower(nodes, [1, 4, 2, 2], ["y", "v"], scale)
    assert "eight-bit-activations" in _rules(low, "Split")


def _moved_reals(*nodes: object, shape: tuple[int, ...] = (1, 4, 6)) -> Lowering:
    """x -> DequantizeLinear -> r, nodes, q -> QuantizeLinear -> y."""
    constants = {"s": np.float32(0.5), "z": np.int8(3), "shape": np.array([4, -1])}
    constants |= {"i0": np.array([0]), "i1": np.array([1])}
    first = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["r"])
    last = helper.make_node("QuantizeLinear", ["q", "s", "z"], ["y"])
    return _lower([first, *nodes, last], list(shape), ["y"], constants)


def test_moves_of_real_numbers_move_the_integers() -> None:
    low = _moved_reals(
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["t", "shape"], ["u"]),
        helper.make_node("Sigmoid", ["u"], ["q"]),
    )
    assert {v.placed_on for v in low.verdicts.values()} == {"npu"}
    assert _kinds(low) == ["transpose", "reshape", "table_lookup"]


def test_a_move_on_the_host_leaves_what_follows_on_the_npu() -> None:
    """Along the batch: the host moves real numbers, made there from the integers, and they are quantised again."""
    low = _moved_reals(
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["t", "i0", "i1", "i0"], ["u"]),
        helper.make_node("Sigmoid", ["u"], ["q"]),
        shape=(2, 4, 6),
    )
    assert _rules(low, "Slice") == ["slice-axes"]
    assert _kinds(low) == ["transpose", "DequantizeLinear", "Transpose", "Slice", "quantize", "table_lookup"]


def test_real_numbers_are_made_where_they_are_read() -> None:
    """onnxruntime computes DequantizeLinear, moves, their reader and QuantizeLinear together."""
    scale = {"s": np.float32(0.5), "z": np.int8(3)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[1, 0]),
        helper.make_node("Acos", ["t"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    low = _lower(nodes, [4, 6], ["y"], scale)
    assert _kinds(low)[-4:] == ["DequantizeLinear", "Transpose", "Acos", "QuantizeLinear"]
    assert _rules(low, "Transpose") == ["beside-host"]
    low = _lower(nodes[:2], [4, 6], ["t"], scale)
    assert _kinds(low) == ["transpose", "dequantize"]
    low = _lower(nodes, [4, 6], ["r", "t", "y"], scale)  # outputs of the model that the host makes anyhow
    assert _kinds(low)[-4:] == ["DequantizeLinear", "Transpose", "Acos", "QuantizeLinear"]


def test_a_result_of_split_may_be_read_before_the_last_is_quantised() -> None:
    scale = {"s": np.float32(0.1), "t": np.float32(0.2), "z": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["r"]),
        helper.make_node("Split", ["r"], ["a", "b"], axis=1, num_outputs=2),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["p"]),
        helper.make_node("MaxPool", ["p"], ["y"], kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["b", "t", "z"], ["v"]),
    ]
    low = _lower(nodes, [1, 4, 2, 2], ["y", "v"], scale)
    assert {v.placed_on for v in low.verdicts.values()} == {"npu"}
