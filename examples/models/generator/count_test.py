"""Tests of the counter on networks that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from generator.count import Counts, count


def _model(node, constants, input_shape, output_shape):
    """A model of one node with the input "x" and the output "y"."""
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def test_grouped_convolution():
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    model = _model(node, {"w": [8, 3, 3, 3], "b": [8]}, [1, 6, 10, 10], [1, 8, 5, 5])
    assert count(model) == Counts(8 * 5 * 5 * 3 * 9, 8 * 27 + 8, 4 * 8 * 27)


@pytest.mark.parametrize("transposed, shape", [(1, [5, 7]), (0, [7, 5])])
def test_gemm(transposed, shape):
    model = _model(
        helper.make_node("Gemm", ["x", "w"], ["y"], transB=transposed), {"w": shape}, [1, 7], [1, 5]
    )
    assert count(model) == Counts(35, 35, 140)


def test_batch_normalization_has_two_trained_vectors():
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
    model = _model(node, {name: [4] for name in "sbmv"}, [1, 4, 2, 2], [1, 4, 2, 2])
    assert count(model) == Counts(0, 8, 0)


def test_a_weight_must_be_a_constant():
    model = _model(helper.make_node("Conv", ["x", "x"], ["y"], name="c"), {}, [1, 1, 3, 3], [1, 1, 1, 1])
    with pytest.raises(ValueError, match=r"node c \(Conv\): x is not a constant"):
        count(model)


def test_a_shape_must_be_static():
    model = _model(
        helper.make_node("Conv", ["x", "w"], ["y"], name="c"), {"w": [1, 1, 1, 1]}, ["n", 1, 3, 3], None
    )
    with pytest.raises(ValueError, match=r"node c \(Conv\): the shape of its output is not known"):
        count(model)
