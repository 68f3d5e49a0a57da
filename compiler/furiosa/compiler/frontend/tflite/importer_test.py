"""The TFLite importer: what the dfg says of a model, and which models are refused, with which words."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.errors import CompileError, InvalidConfig, InvalidFormat, InvalidModel
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, conv_model, operators, options, run


@pytest.fixture(scope="module")
def model() -> bytes:
    return conv_model(np.random.default_rng(0))


def relu(*, dtype: str = "int8", shape: list[int] | None = None, **fields) -> bytes:
    """y = RELU(x), where ``fields`` are further fields of x."""
    b = ModelBuilder()
    shape = [1, 4] if shape is None else shape
    x = b.tensor("x", shape, dtype, **fields)
    y = b.tensor("y", shape, dtype)
    b.operator("RELU", [x], [y])
    return b.build([x], [y])


def refused(data: bytes, match: str, error: type[CompileError] = InvalidModel) -> None:
    with pytest.raises(error, match=match):
        import_tflite(data)


def test_operators_tensors_and_quantization(model: bytes) -> None:
    graph = import_tflite(model)
    assert (graph.format, [t.name for t in graph.inputs], [t.name for t in graph.outputs]) == (
        "tflite",
        ["x"],
        ["z"],
    )
    conv, reshape, dense = graph.operators
    assert [op.op_type for op in graph.operators] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert [op.source for op in graph.operators] == [0, 1, 2]
    assert conv.attributes == {
        "padding": "SAME", "stride_w": 2, "stride_h": 2, "fused_activation_function": "RELU6",
        "dilation_w_factor": 1, "dilation_h_factor": 1, "quantized_bias_type": "FLOAT32",
    }  # fmt: skip
    assert reshape.attributes == {"new_shape": [1, 64]}
    x, w, bias = conv.inputs
    assert (x.shape, x.dtype, x.is_constant) == ((1, 8, 8, 3), "int8", False)
    assert x.quantization.scale.dtype == np.float32 and x.quantization.zero_point.tolist() == [3]
    assert not x.quantization.per_channel
    assert (w.quantization.axis, w.quantization.scale.tolist()) == (
        0,
        [np.float32(s) for s in (0.01, 0.02, 0.005, 0.01)],
    )
    assert w.quantization.zero_point.dtype == np.int32
    assert (bias.dtype, bias.data.dtype, bias.data.shape) == ("int32", np.int32, (4,))
    assert conv.outputs[0] is reshape.inputs[0]
    assert dense.inputs[2] is None


def test_constants_are_read_only_views(model: bytes) -> None:
    weights = import_tflite(model).operators[0].inputs[1].data
    assert np.shares_memory(weights, np.frombuffer(model, np.uint8))
    assert not weights.flags.writeable
    expected = np.random.default_rng(0).integers(-127, 128, (4, 3, 3, 3))
    assert np.array_equal(weights, expected)


def test_missing_options_mean_defaults() -> None:
    b = ModelBuilder()
    x, y, z = (b.tensor(n, [1, 4], "float32") for n in "xyz")
    b.operator("ADD", [x, y], [z])
    graph = import_tflite(b.build([x, y], [z]))
    assert graph.operators[0].attributes["fused_activation_function"] == "NONE"


def test_variables_of_operators_that_write_them_are_left_out() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    state = b.tensor("state", [1, 4], "float32", isVariable=True)
    b.operator("SVDF", [x, state], [y], options("SVDFOptions", rank=1))
    (op,) = import_tflite(b.build([x], [y])).operators
    assert op.inputs[1] is None and op.attributes["rank"] == 1


@pytest.mark.parametrize(("dtype", "value"), [("float32", 0), ("int8", 5), ("int32", 0)])
def test_variables_that_are_only_read_hold_what_they_begin_with(dtype: str, value: int) -> None:
    quantized = {"scale": 0.5, "zero_point": 5} if dtype == "int8" else {}
    b = ModelBuilder()
    x, y, z = (b.tensor(n, [1, 3], dtype, **quantized) for n in "xyz")
    state = b.tensor("state", [1, 3], dtype, isVariable=True, **quantized)
    b.operator("SUB", [x, state], [y])
    b.operator("ADD", [state, y], [z])
    model = b.build([x], [z])
    first, second = import_tflite(model).operators
    assert first.inputs[1].data.tolist() == [[value] * 3] and second.inputs[0] is first.inputs[1]
    given = np.array([[3, -2, 7]], dtype)
    np.testing.assert_array_equal(run(model, [given])[0], given)


def test_an_input_that_is_a_variable_is_an_input() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 3], "float32"), b.tensor("y", [1, 3], "float32")
    state = b.tensor("state", [1, 3], "float32", isVariable=True)
    b.operator("SUB", [x, state], [y])
    graph = import_tflite(b.build([x, state], [y]))
    assert [t.name for t in graph.operators[0].inputs] == ["x", "state"] and not graph.inputs[1].is_constant


def test_state_outside_of_operators_is_refused() -> None:
    b = ModelBuilder()
    x, y, z = (b.tensor(n, [1, 4], "float32") for n in "xyz")
    state = b.tensor("state", [1, 4], "float32", isVariable=True)
    b.operator("SVDF", [x, state], [y], options("SVDFOptions", rank=1))
    b.operator("SVDF", [y, state], [z], options("SVDFOptions", rank=1))
    refused(b.build([x], [z]), 'shares the variable "state", an operator.s state, with another operator')
    b.graph.operators.pop()
    b.operator("ADD", [y, state], [z])
    refused(
        b.build([x], [z]),
        r'1 \(ADD\) shares the variable "state", an operator.s state, with another operator',
    )
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    state = b.tensor("state", [1, 4], "float32", isVariable=True)
    b.operator("ADD", [x, state], [y])
    b.operator("ADD", [x, x], [state])
    refused(
        b.build([x], [y]),
        r'reads the variable "state", which a later operator writes: values that live from run',
    )
    refused(relu(dtype="resource"), 'the input "x" is of type resource')
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator("EXP", [x], [y])
    b.operator("EXP", [x], [])
    refused(b.build([x], [y]), r"operator 1 \(EXP\) has no output")
    refused(relu(dtype="string"), 'the input "x" is of type string, but only dense numbers')


def test_types_that_numpy_lacks_keep_their_bytes() -> None:
    b = ModelBuilder()
    x = b.tensor("x", [3], "int4", data=b"\x21\x03")
    y = b.tensor("y", [3], "int8")
    b.operator("CAST", [x], [y])
    graph = import_tflite(b.build([], [y]))
    (constant,) = graph.operators[0].inputs
    assert (constant.dtype, constant.shape, constant.data.tobytes()) == ("int4", (3,), b"\x21\x03")


def test_arithmetic_on_shapes_is_folded() -> None:
    """What a Keras Flatten becomes: SHAPE, STRIDED_SLICE, PACK and RESHAPE."""
    b = ModelBuilder()
    x = b.tensor("x", [1, 2, 3, 4], "float32", shapeSignature=[-1, 2, 3, 4])
    s = b.tensor("s", [4], "int32")
    b.operator("SHAPE", [x], [s], options("ShapeOptions", outType=2))
    begin, end, stride = (
        b.tensor(n, [1], "int32", [v]) for n, v in (("begin", 0), ("end", 1), ("stride", 1))
    )
    n = b.tensor("n", [], "int32")
    b.operator(
        "STRIDED_SLICE", [s, begin, end, stride], [n], options("StridedSliceOptions", shrinkAxisMask=1)
    )
    rest = b.tensor("rest", [], "int32", [24])
    target = b.tensor("target", [2], "int32")
    b.operator("PACK", [n, rest], [target], options("PackOptions", valuesCount=2, axis=0))
    y = b.tensor("y", [1, 24], "float32")
    b.operator("RESHAPE", [x, target], [y])
    graph = import_tflite(b.build([x], [y]))
    assert [op.op_type for op in graph.operators] == ["RESHAPE"]
    assert graph.operators[0].inputs[1].data.tolist() == [1, 24]


def test_data_behind_the_flatbuffer() -> None:
    """Files beyond 2 GiB keep their buffers after the flatbuffer, at an offset and of a size."""
    b = ModelBuilder()
    c = b.tensor("c", [3], "float32", data=[0.0, 0.0, 0.0])
    x, y = b.tensor("x", [3], "float32"), b.tensor("y", [3], "float32")
    b.operator("ADD", [x, c], [y])
    buffer = b.model.buffers[1]
    buffer.data, buffer.offset, buffer.size = None, 4096, 12
    data = b.build([x], [y]).ljust(4096, b"\0") + np.arange(3, dtype=np.float32).tobytes()
    assert import_tflite(data).operators[0].inputs[1].data.tolist() == [0, 1, 2]
    refused(data[:-1], "leads out of the file")


def test_data_in_other_files() -> None:
    refused(relu(externalBuffer=1), 'tensor "x" has its data in another file: LiteRT')
    b = ModelBuilder()
    x, w, y = b.tensor("x", [4]), b.tensor("w", [4], externalBuffer=7), b.tensor("y", [4])
    b.operator("ADD", [x, w], [y])
    b.model.externalBufferGroups = [schema.ExternalBufferGroupT(name=n) for n in ("a.bin", "b.bin")]
    b.model.externalBuffers = [schema.ExternalBufferT(id=7, group=1, length=4)]
    refused(b.build([x], [y]), 'tensor "w" has its data in the file "b.bin"')


@pytest.mark.parametrize(
    ("new", "old", "op_type"),
    [
        (
            55,
            0,
            "MAXIMUM",
        ),  # a writer that knows the new field alone, of a number that the old one would hold
        (0, 55, "MAXIMUM"),  # a file from before the new field
        (55, 55, "MAXIMUM"),
        (0, 0, "ADD"),
        (41, 55, "MAXIMUM"),
        (55, 41, "MAXIMUM"),
        (150, 127, "GELU"),
        (150, 0, "GELU"),
        (55, -1, "MAXIMUM"),
    ],
)
def test_operator_codes_are_as_litert_reads_them(new: int, old: int, op_type: str) -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator(op_type, [x] if op_type == "GELU" else [x, x], [y])
    (code,) = b.model.operatorCodes
    code.builtinCode, code.deprecatedBuiltinCode = new, old
    model = b.build([x], [y])
    assert [op.op_type for op in import_tflite(model).operators] == [op_type]
    assert operators(model) == [op_type]


@pytest.mark.parametrize(("new", "old", "read"), [(999, 127, 999), (0, 127, 127), (5, 127, 127)])
def test_unknown_operator_codes_are_named(new: int, old: int, read: int) -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator("RELU", [x], [y])
    (code,) = b.model.operatorCodes
    code.builtinCode, code.deprecatedBuiltinCode = new, old
    model = b.build([x], [y])
    refused(model, f"operator 0 has the builtin code {read}, which the TFLite schema does not know")
    with pytest.raises(ValueError):
        operators(model)


def test_empty_constant() -> None:
    b = ModelBuilder()
    x, s, y = b.tensor("x", [1], "float32"), b.tensor("s", [0], "int32"), b.tensor("y", [], "float32")
    b.operator("RESHAPE", [x, s], [y])
    graph = import_tflite(b.build([x], [y]))
    assert graph.operators[0].inputs[1].data.shape == (0,)


def test_known_custom_operator() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator("CUSTOM:NumericVerify", [x, x], [y], customOptions=list(b"\1\2"))
    (op,) = import_tflite(b.build([x], [y])).operators
    assert op.attributes == {"custom_code": "NumericVerify", "custom_options": b"\1\2"}


def test_unknown_custom_operator_is_named() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator("CUSTOM:my-op", [x], [y])
    refused(b.build([x], [y]), 'unknown custom operator "my-op"')


def test_only_the_batch_is_open_without_a_word() -> None:
    assert import_tflite(relu(shapeSignature=[-1, 4])).inputs[0].shape == (1, 4)
    for model in (relu(shapeSignature=[1, -1]), relu(shape=[1, -1])):
        refused(
            model, r'input "x" has the dynamic shape \[1, \?\]: dimension 1 is open; add --input-shape x=1x\?'
        )
    assert import_tflite(relu(shape=[-1, 4])).inputs[0].shape == (1, 4)
    assert import_tflite(relu(shape=[1, 0])).inputs[0].shape == (1, 0)


def test_huge_tensor_is_refused_before_anything_is_allocated() -> None:
    refused(
        relu(shape=[10**6, 10**6]), r'tensor "x" of shape \[1000000, 1000000\] would take 1000000000000 bytes'
    )


def test_bad_quantization() -> None:
    refused(
        relu(scale=[0.1, 0.2], zero_point=[0, 0], axis=0),
        r"has 2 scales along dimension 0, but its shape is \[1, 4\]",
    )
    refused(relu(scale=[0.1, 0.2, 0.3, 0.4], zero_point=[0, 0], axis=1), "has 4 scales, but 2 zero points")
    refused(relu(scale=float("nan")), "negative or not finite")
    refused(relu(scale=-1.0), "negative or not finite")
    refused(relu(scale=1.0, zero_point=2**31), "zero point beyond 32 bits")
    assert import_tflite(relu(scale=0.0)).inputs[0].quantization is None


def test_bad_references() -> None:
    def two_tensors(inputs: list[int], outputs: list[int], graph_outputs: list[int]) -> bytes:
        b = ModelBuilder()
        b.tensor("x", [1, 4]), b.tensor("y", [1, 4])
        b.operator("RELU", inputs, outputs)
        return b.build([0], graph_outputs)

    assert import_tflite(two_tensors([0], [1], [1])).operators
    refused(two_tensors([7], [1], [1]), r"operator 0 \(RELU\) refer to tensor 7, but the model has 2 tensors")
    refused(two_tensors([0], [1], [-1]), "the outputs refer to tensor -1")
    refused(two_tensors([1], [1], [1]), 'reads tensor "y" before anything has written it')
    refused(two_tensors([0], [0], [0]), 'writes tensor "x", which has already been written')
    refused(two_tensors([], [1], [1]), "has 0 inputs; it needs 1")


def test_stated_shapes_must_fit() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4]), b.tensor("y", [1, 5])
    b.operator("RELU", [x], [y])
    refused(b.build([x], [y]), r'makes a tensor of shape \[1, 4\], but its output "y" is stated as \[1, 5\]')


def test_constant_of_a_wrong_size() -> None:
    b = ModelBuilder()
    x, c, y = b.tensor("x", [1, 4]), b.tensor("c", [1, 4], data=[1, 2, 3]), b.tensor("y", [1, 4])
    b.operator("ADD", [x, c], [y])
    refused(b.build([x], [y]), r'constant "c" holds 3 bytes; shape \[1, 4\] of int8 takes 4')


def test_options_of_another_operator() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4]), b.tensor("y", [1, 4])
    b.operator("SOFTMAX", [x], [y], options("Pool2DOptions"))
    refused(b.build([x], [y]), "carries Pool2DOptions in place of SoftmaxOptions")


def test_names_become_unique() -> None:
    b = ModelBuilder()
    x, y, z = b.tensor("t", [1]), b.tensor("t", [1]), b.tensor("", [1])
    b.operator("RELU", [x], [y])
    b.operator("RELU", [y], [z])
    graph = import_tflite(b.build([x], [z]))
    names = [t.name for op in graph.operators for t in (*op.inputs, *op.outputs)]
    assert names == ["t", "t:1", "t:1", ":2"]


def test_formats_and_versions(model: bytes) -> None:
    refused(model[: len(model) // 2], "not a whole TFLite file", InvalidFormat)
    with pytest.raises(InvalidConfig, match="batch size is 0"):
        import_tflite(model, batch_size=0)
    b = ModelBuilder()
    b.model.version = 2
    refused(b.build([], []), "schema version 2")


def test_damaged_files_end_in_a_clean_error(model: bytes) -> None:
    r = random.Random(1)
    outcomes = set()
    for _ in range(800):
        damaged = bytearray(model)
        for _ in range(r.choice([1, 1, 3])):
            damaged[r.randrange(len(model))] = r.choice([0, 1, 127, 128, 255, r.randrange(256)])
        try:
            outcomes.add(type(import_tflite(bytes(damaged), batch_size=r.choice([1, 2]))))
        except CompileError as e:
            outcomes.add(type(e))
    assert outcomes == {Graph, InvalidFormat, InvalidModel}


def test_random_bytes_with_the_identifier() -> None:
    r = random.Random(2)
    for _ in range(300):
        data = struct.pack("<I4s", r.choice([8, 12, r.randrange(64)]), b"TFL3") + r.randbytes(
            r.randrange(200)
        )
        with pytest.raises(CompileError):
            import_tflite(data)
