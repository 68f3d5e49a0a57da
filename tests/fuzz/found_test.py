"""Files that fuzzing found, as small as they get: each is refused in a sentence, or runs where it can."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx.testing import model, tensor
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
    assert placed(model)["DEQUANTIZE"][0] == "host"


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


def test_positions_that_are_no_whole_numbers() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], scale=0.5), b.tensor("y", [1, 2], scale=0.5)
    bounds = [b.tensor(n, [2], "float32", [0, 2]) for n in "ab"]
    b.operator("SLICE", [x, *bounds], [y], options("SliceOptions"))
    with pytest.raises(InvalidModel, match='takes sizes, positions or axes from "a", which is float32'):
        compile_model(b.build([x], [y]))


def test_more_dimensions_than_arrays_have() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1] * 65, scale=0.5), b.tensor("y", [1] * 65, scale=0.5)
    b.operator("RELU", [x], [y])
    with pytest.raises(InvalidModel, match="has 65 dimensions"):
        compile_model(b.build([x], [y]))
    data = model("g (float[1] x) => (float[1] y) { y = Add(x, c) }", onnx.TensorProto(
        name="c", dims=[1] * 65, data_type=TensorProto.FLOAT, raw_data=bytes(4)
    ))  # fmt: skip
    with pytest.raises(InvalidModel, match="has 65 dimensions"):
        compile_model(data)


@pytest.mark.parametrize(
    "node",
    [
        'QLinearConcat<axis = "one">(s, z, x, s, z)',
        "QLinearConcat(s, z, x, s, z)",
        "QLinearConcat<axis = 1>(s, z)",
        "QLinearAdd(x, s, z, , s, z, s, z)",
        "QLinearAdd(x, s, z, x, s, z)",
    ],
)
def test_operators_of_onnxruntime_that_lack_something(node: str) -> None:
    s, z = tensor("s", 0.5, "float32"), tensor("z", 3, "uint8")
    text = f"g (uint8[1, 4] x) => (uint8[1, 4] y) {{ y = com.microsoft.{node} }}"
    with pytest.raises(InvalidModel, match="lacks|wrong type|contradict"):
        compile_model(model(text, s, z, com_microsoft=1))


def test_transposed_convolutions_of_other_channels_than_their_weights() -> None:
    weights = tensor("w", np.ones((4, 4, 3, 3)), "float32")
    text = "g (float[1, 3, 6, 8] x) => (float[1, 4, 8, 10] y) { y = ConvTranspose(x, w) }"
    with pytest.raises(InvalidModel, match=r"but weights of shape \[4, 4, 3, 3\]"):
        compile_model(model(text, weights))


def test_a_transposed_convolution_whose_weights_have_no_zero() -> None:
    o = tflite_op.options("TransposeConvOptions", strideH=2, strideW=2, padding=1)
    x = tflite_op.Operand((1, 4, 6, 8), "int8", 0.5, 0)
    w = tflite_op.Operand((4, 3, 3, 8), "int8", 0.5, 1 << 15, np.ones((4, 3, 3, 8), np.int8))
    shape = tflite_op.Operand((4,), "int32", data=np.array([1, 9, 13, 4], np.int32))
    y = tflite_op.Operand((1, 9, 13, 4), "int8", 0.5, 0)
    assert placed(tflite_op.build("TRANSPOSE_CONV", [shape, w, x], y, o, 2))["TRANSPOSE_CONV"][0] == "host"


def test_more_than_one_axis_for_one_dimension() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], scale=0.5), b.tensor("y", [1, 1, 4], scale=0.5)
    b.operator("EXPAND_DIMS", [x, b.tensor("axis", [2], "int32", [0, 1])], [y])
    with pytest.raises(InvalidModel, match=r"has the axes \[0, 1\]; it takes one"):
        compile_model(b.build([x], [y]))


def test_parts_of_fewer_dimensions() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [4], scale=0.5), b.tensor("y", [5], scale=0.5)
    b.operator(
        "CONCATENATION", [x, b.tensor("c", [], data=1, scale=0.5)], [y], options("ConcatenationOptions")
    )
    with pytest.raises(InvalidModel, match=r"cannot join the shapes \[\[4\], \[\]\]"):
        compile_model(b.build([x], [y]))


def test_functions_of_one_name() -> None:
    proto = onnx.ModelProto.FromString(model("g (float[1] x) => (float[1] y) { y = Relu(x) }"))
    for _ in range(2):
        proto.functions.add()
    with pytest.raises(InvalidModel, match="the functions of the ONNX model cannot be inlined"):
        compile_model(proto.SerializeToString())
