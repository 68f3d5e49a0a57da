"""Attributes and inputs of moves that contradict each other where onnx's inference of shapes lets them pass."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.importer import import_model

EMPTY = np.zeros(0, np.int8)
CASES = {
    "Transpose": (13, {"perm": [0, 1]}, [], "the permutation"),
    "Slice": (9, {"starts": [0], "ends": [1], "axes": [7]}, [], "do not fit"),
    "Pad": (13, {}, [np.array([0, 0, 0, 0, 0, 1, 0, 0]), EMPTY], "in place of one value"),
    "Split": (18, {"num_outputs": 3}, [], "num_outputs 3, but 1 outputs"),
    "DepthToSpace": (13, {"blocksize": 3}, [], "blocks of 3 by 3"),
    "SpaceToDepth": (13, {"blocksize": 3}, [], "blocks of 3 by 3"),
}


@pytest.mark.parametrize("kind", CASES)
def test_contradiction(kind: str) -> None:
    opset, attributes, constants, message = CASES[kind]
    names = [f"c{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *names], ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [1, 4, 4, 4])],
        [
            helper.make_tensor_value_info(
                "y", TensorProto.INT8, [1, 4, 4, 4] if kind != "Transpose" else [1, 4]
            )
        ],
        [numpy_helper.from_array(c, n) for c, n in zip(constants, names)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    with pytest.raises(InvalidModel, match=message):
        import_model(model.SerializeToString())
