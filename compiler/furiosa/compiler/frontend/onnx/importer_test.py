"""The ONNX importer: what the dfg says of a model, and which models are refused, with which words."""

from __future__ import annotations

import os
import random

import numpy as np
import onnx
import pytest

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.errors import (
    CompileError,
    InvalidConfig,
    InvalidFormat,
    InvalidModel,
    IoError,
    ShapesDisagree,
)
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.compiler.model_files import ModelFiles
from furiosa.compiler.selection import Selection

CONV = "g (float[1,3,8,8] x) => (float[1,4,4,4] z) { y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w, b)  z = Relu(y) }"


def conv() -> bytes:
    rng = np.random.default_rng(0)
    return model(
        CONV, tensor("w", rng.standard_normal((4, 3, 3, 3)), "float32"), tensor("b", np.zeros(4), "float32")
    )


def refused(data: bytes, match: str, error: type[CompileError] = InvalidModel, **options) -> None:
    with pytest.raises(error, match=match):
        import_onnx(data, **options)


def op_types(data: bytes, **options) -> list[str]:
    return [op.op_type for op in import_onnx(data, **options).operators]


def test_operators_and_tensors() -> None:
    graph = import_onnx(conv())
    assert (graph.format, graph.name, graph.source.opsets) == ("onnx", "g", {"": 17})
    conv_op, relu = graph.operators
    assert conv_op.attributes == {"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 1, "auto_pad": "NOTSET"}
    x, w, _ = conv_op.inputs
    assert (x.name, x.shape, x.dtype, x.is_constant) == ("x", (1, 3, 8, 8), "float32", False)
    assert w.data.dtype == np.float32 and w.data.shape == (4, 3, 3, 3) and not w.data.flags.writeable
    assert relu.inputs[0] is conv_op.outputs[0] and relu.outputs[0] is graph.outputs[0]
    assert graph.outputs[0].shape == (1, 4, 4, 4)


def test_big_constants_are_views_of_the_file() -> None:
    data = model(
        "g (float[1000] x) => (float[1000] y) { y = Add(x, c) }", tensor("c", np.arange(1000), "float32")
    )
    constant = import_onnx(data).operators[0].inputs[1].data
    assert np.shares_memory(constant, np.frombuffer(data, np.uint8))
    assert np.array_equal(constant, np.arange(1000)) and not constant.flags.writeable


@pytest.mark.parametrize("ir", [3, 8])
def test_initialisers_listed_as_inputs_are_constants(ir: int) -> None:
    data = model(
        "g (float[2] x, float[2] c) => (float[2] y) { y = Add(x, c) }",
        tensor("c", [1, 2], "float32"),
        ir=ir,
        opset=8,
    )
    graph = import_onnx(data)
    assert [t.name for t in graph.inputs] == ["x"] and graph.operators[0].inputs[1].is_constant


def test_constants_of_every_form() -> None:
    half = onnx.helper.make_tensor("half", onnx.TensorProto.FLOAT16, [2], [1.0, -2.0])  # stored as int32
    flags = onnx.helper.make_tensor("flags", onnx.TensorProto.BOOL, [2], [True, False])
    data = model(
        """g (float[2] x) => (float[2] y, int64[3] n) {
            a = Constant<value = float[2] {1.5, 2.5}>()
            b = Constant<value_float = 3.0>()
            n = Constant<value_ints = [1, 2, 3]>()
            c = Cast<to = 1>(half)
            d = Where(flags, a, b)
            e = Add(c, d)
            y = Add(x, e)
        }""",
        half,
        flags,
    )  # fmt: skip
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators] == ["Add"]
    assert graph.operators[0].inputs[1].data.tolist() == [2.5, 1.0]
    assert graph.outputs[1].data.tolist() == [1, 2, 3] and graph.outputs[1].dtype == "int64"


def test_types_that_numpy_lacks_keep_their_bytes() -> None:
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [2], [1.0, -2.0])
    graph = import_onnx(model("g (float[2] x) => (float[2] y) { c = Cast<to=1>(w)  y = Add(x, c) }", weights))
    constant = graph.operators[0].inputs[0]
    assert (constant.dtype, constant.shape, constant.data.tobytes()) == (
        "bfloat16",
        (2,),
        b"\x80\x3f\x00\xc0",
    )


def test_shape_arithmetic_is_folded() -> None:
    data = model(
        """g (float[batch,3,4,5] x) => (float[a,b] y) {
            s = Shape(x)
            i = Constant<value = int64 {0}>()
            n = Gather<axis = 0>(s, i)
            axes = Constant<value = int64[1] {0}>()
            u = Unsqueeze(n, axes)
            rest = Constant<value = int64[1] {-1}>()
            t = Concat<axis = 0>(u, rest)
            y = Reshape(x, t)
        }"""
    )
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators] == ["Reshape"]
    assert graph.operators[0].inputs[1].data.tolist() == [1, -1] and graph.outputs[0].shape == (1, 60)


def test_identity_and_dropout_vanish_and_outputs_keep_their_names() -> None:
    data = model(
        "g (float[2] x) => (float[2] y) { a = Relu(x)  b = Identity(a)  c = Dropout(b)  d = Neg(c)  y = Identity(d) }"
    )
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators] == ["Relu", "Neg"] and graph.outputs[0].name == "y"
    assert op_types(model("g (float[2] x) => (float[2] y) { y = Identity(x) }")) == ["Identity"]


def test_dead_operators_are_dropped() -> None:
    assert op_types(model("g (float[2] x) => (float[2] y) { a = Neg(x)  y = Relu(x) }")) == ["Relu"]
    assert op_types(model("g (float[2] x) => (float[2] y) { a = NonZero(x)  y = Relu(x) }")) == ["Relu"]
    only_for_its_shape = (
        "g (float[2,3] x) => (float[3,2] y) { a = Transpose(x)  s = Shape(a)  y = Reshape(x, s) }"
    )
    assert op_types(model(only_for_its_shape)) == ["Reshape"]


def test_functions_are_inlined() -> None:
    text = """
        <ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[2] x) => (float[2] y) { y = my.Twice(x) }
        <domain: "my", opset_import: ["": 17]> Twice (a) => (b) { b = Add(a, a) }
    """
    assert op_types(onnx.parser.parse_model(text).SerializeToString()) == ["Add"]


def test_quantization_stays_as_it_is() -> None:
    scale, zero = tensor("s", 0.5, "float32"), tensor("z", 3, "uint8")
    data = model(
        "g (float[4] x) => (float[4] y) { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }",
        scale,
        zero,
    )
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators] == ["QuantizeLinear", "DequantizeLinear"]
    assert graph.operators[0].outputs[0].dtype == "uint8" and graph.operators[0].attributes["axis"] == 1


def test_contrib_operators_have_shapes() -> None:
    s, z = tensor("s", 0.5, "float32"), tensor("z", 3, "uint8")
    data = model(
        """g (uint8[1,4,3,3] a, uint8[1,4,1,1] b) => (uint8[1,8,1,1] y) {
            c = com.microsoft.QLinearAdd(a, s, z, b, s, z, s, z)
            d = com.microsoft.QLinearConcat<axis = 1>(s, z, c, s, z, a, s, z)
            y = com.microsoft.QLinearGlobalAveragePool(d, s, z, s, z)
        }""",
        s, z, com_microsoft=1,
    )  # fmt: skip
    graph = import_onnx(data)
    assert [op.outputs[0].shape for op in graph.operators] == [(1, 4, 3, 3), (1, 8, 3, 3), (1, 8, 1, 1)]
    assert {op.outputs[0].dtype for op in graph.operators} == {"uint8"}
    assert graph.operators[0].attributes["domain"] == "com.microsoft"


def test_subgraphs_list_what_they_capture() -> None:
    data = model(
        """g (bool c, float[2] x, float[2] z) => (float[2] y) {
            k = Identity(x)
            y = If(c) <
                then_branch = t () => (float[2] a) { a = Add(k, z) },
                else_branch = e () => (float[2] b) { b = Neg(k) }
            >
        }"""
    )
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators] == ["Identity", "If"]
    assert [t.name for t in graph.operators[1].inputs] == ["c", "k", "z"]


def test_an_open_batch_is_one_and_others_are_refused() -> None:
    assert import_onnx(model("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")).inputs[0].shape == (1, 4)
    text = "g (float[N,width] x) => (float[N,width] y) { y = Relu(x) }"
    refused(
        model(text),
        r'input "x" has the dynamic shape \[1, width\]: dimension 1 is open; add --input-shape x=1x\? or',
    )
    refused(
        model("g (float[4] x) => (int64[1,n] y) { y = NonZero(x) }"),
        r'output "y" has the dynamic shape \[1, \?\]: operator "y" \(NonZero\) makes "y", whose shape depends on values$',
    )
    refused(
        model("g (seq(float[4]) x) => (float[4] y) { y = ConcatFromSequence<axis = 0>(x) }"),
        'input "x" is a sequence, not a tensor',
    )


def test_a_written_0_is_a_size() -> None:
    proto = onnx.ModelProto.FromString(model("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"))
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0]
    batch.dim_value = proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 0
    graph = import_onnx(proto.SerializeToString())
    assert graph.inputs[0].shape == graph.outputs[0].shape == (0, 4)
    batch.dim_value = -1  # how some exporters write an open one
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    assert import_onnx(proto.SerializeToString()).inputs[0].shape == (1, 4)
    batch.Clear()
    assert import_onnx(proto.SerializeToString()).inputs[0].shape == (1, 4)


def test_borders_are_dense_numbers() -> None:
    refused(
        model("g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }"),
        'the output "y" is of type sequence',
    )
    refused(
        model("g (string[2] x) => (float[2] y) { y = Cast<to = 1>(x) }"), 'the input "x" is of type string'
    )


def test_operator_sets() -> None:
    text = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    refused(model(text, opset=0), "uses opset 0; supported are 1 to")
    assert op_types(model(text, opset=6)) == ["Relu"]
    refused(
        model(text, opset=5), r"\(Relu\) is of opset 5, but the reference runtime has kernels from opset 6 on"
    )
    newest = onnx.defs.onnx_opset_version()
    assert op_types(model(text, opset=newest)) == ["Relu"]
    refused(model(text, opset=newest + 1), f"uses opset {newest + 1}")


def test_unknown_operators_are_named() -> None:
    refused(model("g (float[2] x) => (float[2] y) { y = Foo(x) }"), "unknown operator Foo in opset 17")
    refused(
        model("g (float[2] x) => (float[2] y) { y = my.Op(x) }", my=1), 'unknown operator Op of domain "my"'
    )
    text = "g (float[2] x) => (float[2] y) { y = com.microsoft.Unheard(x) }"
    refused(model(text, com_microsoft=1), 'unknown operator Unheard of domain "com.microsoft"')
    refused(model("g (uint8[9] x) => (uint8[1,1,3] y) { y = ImageDecoder(x) }", opset=20), "has no kernel")
    text = """g (bool c, float[2] x) => (float[2] y) {
        y = If(c) <then_branch = t () => (float[2] a) { a = Foo(x) }, else_branch = e () => (float[2] b) { b = Neg(x) }>
    }"""
    refused(model(text), "unknown operator Foo")


def test_operators_against_their_definition() -> None:
    refused(
        model("g (float[2] x) => (float[2] y) { y = Relu(x, x) }"),
        r"\(Relu\) has 2 inputs; its definition wants 1 to 1",
    )
    refused(model("g (float[2] x) => (float[2] y) { y = Concat(x, x) }"), 'lacks the attribute "axis"')
    refused(
        model("g (float[2] x) => (float[2] y) { y = Concat<axis = 0.5>(x, x) }"),
        'the attribute "axis" of a wrong type',
    )


def test_bad_references() -> None:
    refused(
        model("g (float[2] x) => (float[2] y) { y = Add(x, gone) }"),
        'reads tensor "gone" before anything has written it',
    )
    refused(
        model("g (float[2] x) => (float[2] y) { a = Relu(x)  a = Neg(x)  y = Neg(a) }"),
        'tensor "a" is defined twice',
    )
    refused(
        model("g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) }"),
        'the output "z" is computed by no operator',
    )


def test_constants_that_do_not_fit_their_shape() -> None:
    c = tensor("c", [1, 2], "float32")
    c.dims[0] = 3
    add = "g (float[2] x) => (float[2] y) { y = Add(x, c) }"
    refused(model(add, c), 'constant "c" holds 8 bytes')
    c.dims[0] = 10**12
    refused(model(add, c), r'tensor "c" of shape \[1000000000000\] would take 4000000000000 bytes')
    c.dims[0] = -1
    refused(model(add, c), "negative dimension")
    refused(
        model("g (float[1000000,1000000] x) => (float[1000000,1000000] y) { y = Relu(x) }"),
        "would take 4000000000000 bytes",
    )


def test_folding_is_bounded() -> None:
    data = model(
        "g (float[1] x) => (float[a] y) { f = ConstantOfShape(n)  y = Add(x, f) }",
        tensor("n", [10**8], "int64"),
    )
    assert op_types(data) == ["ConstantOfShape", "Add"]  # left to the host
    data = model(
        "g (float[1] x) => (float[a] y) { f = ConstantOfShape(n)  y = Add(x, f) }",
        tensor("n", [10**12], "int64"),
    )
    refused(data, "would take 4000000000000 bytes")
    nodes = "".join(f"f{i} = ConstantOfShape(n)  x{i + 1} = Add(x{i}, f{i})  " for i in range(100))
    types = op_types(
        model(f"g (float[1] x0) => (float[a] x100) {{ {nodes} }}", tensor("n", [1 << 18], "int64"))
    )
    assert types.count("ConstantOfShape") == 36  # the others take 64 MiB


def test_invalid_constant_arithmetic() -> None:
    text = "g (float[2] x) => (float[2] y) { t = Div(a, b)  y = Reshape(x, t) }"
    refused(
        model(text, tensor("a", [2], "int64"), tensor("b", [0], "int64")),
        r"\(Div\) on constants is invalid: division by zero",
    )


def test_formats() -> None:
    data = conv()
    for bad in (
        b"",
        b"\0",
        b"not a model at all, just text",
        b"PK\3\4" + bytes(100),
        data[: len(data) // 2],
        bytes(1000),
    ):
        refused(bad, "not a", InvalidFormat)
    with pytest.raises(InvalidConfig, match="batch size is -1"):
        import_onnx(data, batch_size=-1)
    refused(data.replace(b"Conv", b"Co\xffv"), "not UTF-8", InvalidFormat)


def test_damaged_files_end_in_a_clean_error() -> None:
    data = conv()
    r = random.Random(1)
    outcomes = set()
    for _ in range(1000):
        damaged = bytearray(data)
        for _ in range(r.choice([1, 1, 3])):
            damaged[r.randrange(len(data))] = r.choice([0, 1, 127, 128, 255, r.randrange(256)])
        try:
            outcomes.add(type(import_onnx(bytes(damaged), batch_size=r.choice([1, 2]))))
        except CompileError as e:
            outcomes.add(type(e))
    assert outcomes == {Graph, InvalidFormat, InvalidModel, ShapesDisagree}


# External data


def external(location: str, offset: int | None = None, length: int | None = None, shape: int = 300) -> bytes:
    c = onnx.TensorProto(name="c", dims=[shape], data_type=onnx.TensorProto.FLOAT)
    c.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            c.external_data.add(key=key, value=str(value))
    return model(f"g (float[{shape}] x) => (float[{shape}] y) {{ y = Add(x, c) }}", c)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "outside.bin").write_bytes(np.arange(300, dtype=np.float32).tobytes())
    (tmp_path / "model" / "c.bin").write_bytes(bytes(8) + np.arange(300, dtype=np.float32).tobytes())
    return tmp_path / "model"


def test_external_data_are_read(folder) -> None:
    for length in (1200, None):
        graph = import_onnx(external("c.bin", 8, length), files=ModelFiles(str(folder / "m.onnx")))
        (c,) = (t for t in graph.operators[0].inputs if t.is_constant)
        assert np.array_equal(c.data, np.arange(300)) and not c.data.flags.writeable


def test_external_data_outside_of_the_folder_are_refused(folder) -> None:
    inside = {"files": ModelFiles(str(folder / "m.onnx"))}
    for location in (
        "../outside.bin",
        str(folder.parent / "outside.bin"),
        "a/../../outside.bin",
        "C:\\c.bin",
        "",
        "a\\..\\..\\b",
    ):
        refused(external(location), "must lie in the model's own folder", **inside)
    os.symlink(folder.parent / "outside.bin", folder / "link.bin")
    refused(external("link.bin"), "a link that leads out of the model's folder", **inside)
    (folder.parent / "m.onnx").touch()  # in a folder of links, which a build system makes
    os.symlink(folder.parent / "m.onnx", folder / "m.onnx")
    assert import_onnx(external("link.bin"), **inside).operators
    refused(external("c.bin"), "need a model in a folder")


def test_external_data_must_be_there_and_whole(folder) -> None:
    inside = {"files": ModelFiles(str(folder / "m.onnx"))}
    gone = 'm.onnx: constant "c" has its data in the file "gone.bin", which is missing: put it'
    refused(external("gone.bin"), gone, IoError, **inside)
    refused(external("."), 'cannot read the external data "." of constant "c": Is a dir', IoError, **inside)
    refused(external("c.bin", 12), "1200 bytes at offset 12 of the 1208 bytes", **inside)
    refused(external("c.bin", -4), "at offset -4", **inside)
    refused(external("c.bin", 10**30), "at offset 1" + "0" * 30, **inside)
    refused(external("c.bin", 0, 8), "needs 1200 bytes, but its external data are 8 bytes", **inside)
    refused(external("c.bin", "x"), "offset or length that is no number", **inside)


def _reshapes(count: int) -> bytes:
    """Each Reshape to the shape of the result of the one before it: what one makes is known when the other's shape is."""
    nodes = "  ".join(f"s{i} = Shape(t{i})  t{i + 1} = Reshape(t{i}, s{i})" for i in range(count))
    return model(f"g (float[2, 3] t0) => (float[2, 3] y) {{ {nodes}  y = Relu(t{count}) }}")


def test_a_chain_of_computed_shapes_takes_few_inferences(monkeypatch: pytest.MonkeyPatch) -> None:
    inferences = []
    infer = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        onnx.shape_inference, "infer_shapes", lambda *a, **k: inferences.append(1) or infer(*a, **k)
    )
    import_onnx(_reshapes(200))
    assert len(inferences) <= 2


def test_shapes_that_follow_in_too_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("furiosa.compiler.frontend.onnx.inference.MAX_INFERRED", 100)
    monkeypatch.setattr("furiosa.compiler.frontend.onnx.shapes.infer_node", lambda *a: {})
    import_onnx(_reshapes(3))
    with pytest.raises(InvalidModel, match="too many steps"):
        import_onnx(_reshapes(40))


def test_sparse_constants_have_a_bound() -> None:
    """Each is below the limit of one tensor, and a few bytes in the file."""
    proto = onnx.ModelProto.FromString(model("g (float[1] x) => (float[1] y) { y = Relu(x) }"))
    for i in range(3):
        sparse = proto.graph.sparse_initializer.add(dims=[10**4, 10**4])
        sparse.values.CopyFrom(tensor(f"c{i}", [1], "float32"))
        sparse.indices.CopyFrom(tensor("", [5], "int64"))
    with pytest.raises(InvalidModel, match="the sparse constants of the model would take 400000000 bytes"):
        import_onnx(proto.SerializeToString())


def test_sizes_that_do_not_fit_are_named() -> None:
    """A tensor is halved and doubled again: only even sizes go."""
    text = """
    g (float[1,1,H,4] x) => (float[1,1,a,b] y) {
        half = MaxPool <kernel_shape = [2, 1], strides = [2, 1]> (x)
        whole = Resize (half, , scales)
        y = Add(whole, x)
    }"""
    data = model(text, tensor("scales", [1, 1, 2, 1], "float32"))
    assert import_onnx(data, selection=Selection(dims={"H": 6})).outputs[0].shape == (1, 1, 6, 4)
    with pytest.raises(InvalidModel, match=r"^with --input-shape x=1x1x7x4, .* multiples of its strides"):
        import_onnx(data, selection=Selection(dims={"H": 7}))


def test_a_window_larger_than_the_size_that_is_open() -> None:
    """The first dimension, which is open, is a length and no batch: 1 is too short."""
    w = tensor("w", np.ones((5, 10, 3)), "float32")
    text = "g (float[L,10] x) => (float[1,5,m] y) { a = Unsqueeze(x, axes)  b = Transpose<perm = [0,2,1]>(a)  y = Conv(b, w) }"
    data = model(text, w, tensor("axes", [0], "int64"))
    refused(data, r'"y" would be of shape \[1, 5, -1\]: the window .* larger shapes \(--input-shape\)')
    graph = import_onnx(data, selection=Selection({"x": (4, 10)}))
    assert graph.outputs[0].shape == (1, 5, 2)


def test_an_open_dimension_that_is_stated_as_negative() -> None:
    text = "g (float[1,4] x) => (float[1,4] y) { a = com.microsoft.Inverse(x)  y = Relu(a) }"
    stated = onnx.ModelProto.FromString(model(text, com_microsoft=1))
    stated.graph.value_info.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [-1, 4]))
    assert [op.op_type for op in import_onnx(stated.SerializeToString()).operators] == ["HostRegion"]
