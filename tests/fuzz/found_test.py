"""Files that fuzzing found, as small as they get: each is refused in a sentence, or runs where it can."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.pipeline import Compilation, Options, compile_model
from tests.reference import onnx_op, tflite_op


def placed(model: bytes) -> dict[str, tuple[str, set[str]]]:
    """For each operator type where it runs and which rules fail; the whole way must go."""
    compiled = Compilation(model, Options()).run()
    return {
        op.op_type: (v.placed_on, {r.rule for r in v.reasons}) for op, v in compiled.ldfg.verdicts.items()
    }


HOST = ("host", {"fits-command"})


@pytest.mark.parametrize("zero_point", [128, -129, 1 << 30])
def test_a_zero_point_that_is_none_of_the_type(zero_point: int) -> None:
    x = tflite_op.Operand((1, 4), "int8", 0.5, 0)
    y = tflite_op.Operand((1, 4), "int8", 0.5, zero_point)
    model = tflite_op.build("ADD", [x, x], y, tflite_op.options("AddOptions"), 2)
    assert placed(model) == {"ADD": HOST}
    real = tflite_op.Operand((1, 4), "float32")
    assert placed(tflite_op.build("QUANTIZE", [real], y, version=1)) == {"QUANTIZE": HOST}
    assert placed(tflite_op.build("DEQUANTIZE", [y], real, version=2)) == {"DEQUANTIZE": HOST}


@pytest.mark.parametrize("scale", [1e-45, 7e-39])
def test_a_scale_that_has_no_reciprocal(scale: float) -> None:
    """The tensor is an output too: nothing of the given-up placement may be left."""
    x, y = onnx_op.Operand((1, 4), "float32"), onnx_op.Operand((1, 4), "uint8", scale, 3)
    model = onnx_op.build_qdq("Relu", [x], y)
    assert placed(model)["QuantizeLinear"][0] == "host"
    operand = tflite_op.Operand((1, 4), "int8", scale, 3)
    model = tflite_op.build("DEQUANTIZE", [operand], tflite_op.Operand((1, 4), "float32"), version=2)
    assert placed(model) == {"DEQUANTIZE": HOST}


@pytest.mark.parametrize("scale", [np.float32(-0.5), np.float32(0), np.float32(np.nan), np.float32(np.inf)])
def test_a_scale_that_is_none(scale: np.float32) -> None:
    operand = onnx_op.Operand((1, 4), "int8", scale, 3)
    assert {where for where, _ in placed(onnx_op.build_qdq("Relu", [operand], operand)).values()} == {"host"}


def test_a_stride_of_more_than_16_bits() -> None:
    x = tflite_op.Operand((1, 4, 4, 1), "int8", 0.5, 0)
    y = tflite_op.Operand((1, 1, 1, 1), "int8", 0.5, 0)
    option = tflite_op.options(
        "Pool2DOptions", padding=1, strideH=1 << 20, strideW=1, filterHeight=4, filterWidth=4
    )
    model = tflite_op.build("MAX_POOL_2D", [x], y, option, 2)
    assert placed(model) == {"MAX_POOL_2D": HOST}


def test_dequantisation_to_integers() -> None:
    x, y = tflite_op.Operand((1, 4), "int8", 0.5, 0), tflite_op.Operand((1, 4), "int8")
    model = tflite_op.build("DEQUANTIZE", [x], y, version=2)
    assert placed(model) == {"DEQUANTIZE": ("host", {"reference-arithmetic"})}


def test_required_inputs_that_are_left_out() -> None:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy"]
    scale = numpy_helper.from_array(np.float32(0.5), "s")
    for node in (
        helper.make_node("Add", ["x", ""], ["y"]),
        helper.make_node("QuantizeLinear", ["x", "", "s"], ["y"]),
    ):
        graph = helper.make_graph([node], "g", values[:1], values[1:], [scale])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        with pytest.raises(InvalidModel, match="lacks its input"):
            compile_model(model.SerializeToString())


def test_a_scale_of_integers() -> None:
    """A QuantizeLinear whose scale is int8: no runtime takes it, but the compiler leaves that to the runtime."""
    x = onnx_op.Operand((1, 4), "int8", 0.5, 3)
    model = onnx.ModelProto.FromString(onnx_op.build_qdq("Relu", [x], x))
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            node.input[1] = "y_zero_point"
    try:
        verdicts = placed(model.SerializeToString())
    except InvalidModel:
        return
    assert verdicts["QuantizeLinear"][0] == "host"


@pytest.mark.parametrize("op_type", ["EXPAND_DIMS", "SQUEEZE"])
def test_dimensions_that_make_elements(op_type: str) -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], scale=0.5), b.tensor("y", [1, 1, 8], scale=0.5)
    if op_type == "EXPAND_DIMS":
        b.operator(op_type, [x, b.tensor("axis", [], "int32", 0)], [y])
    else:
        b.operator(op_type, [x], [y], options("SqueezeOptions"))
    with pytest.raises(InvalidModel, match='its output "y" is stated as'):
        compile_model(b.build([x], [y]))
