"""Host clusters cut out of ONNX models give the results of the original in the reference runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx.extract import extract
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, random_inputs, run, tensor
from furiosa.compiler.model_files import ModelFiles

RNG = np.random.default_rng(0)
CONV = model(
    """g (float[1,3,8,8] x) => (float[1,32] y, float[1,2,4,4] c) {
        c = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w, b)
        r = Relu(c)
        y = Reshape(r, shape)
    }""",
    tensor("w", RNG.standard_normal((2, 3, 3, 3)), "float32"),
    tensor("b", [0.5, -0.5], "float32"),
    tensor("shape", [1, -1], "int64"),
)


def whole(data: bytes, batch_size: int = 1):
    graph = import_onnx(data, batch_size=batch_size)
    return graph, extract(graph, graph.operators, graph.inputs, graph.outputs)


def assert_same(data: bytes) -> None:
    graph, again = whole(data)
    onnx.checker.check_model(again)
    inputs = random_inputs(graph.inputs, 0)
    for expected, actual in zip(run(data, inputs), run(again, inputs), strict=True):
        assert expected.dtype == actual.dtype
        np.testing.assert_array_equal(expected, actual)


def test_all_operators() -> None:
    assert_same(CONV)
    assert whole(CONV)[1] == whole(CONV)[1]


def test_in_two_parts() -> None:
    graph = import_onnx(CONV)
    border = graph.operators[0].outputs[0]
    first = extract(graph, graph.operators[:1], graph.inputs, [border])
    second = extract(graph, graph.operators[1:], [border], [graph.outputs[0]])
    assert [i.name for i in onnx.ModelProto.FromString(second).graph.initializer] == ["shape"]
    inputs = random_inputs(graph.inputs, 1)
    (middle,) = run(first, inputs)
    np.testing.assert_array_equal(run(second, {border.name: middle})[0], run(CONV, inputs)[0])


def test_old_model_with_initialisers_as_inputs() -> None:
    data = model(
        "g (float[2] x, float[2] c) => (float[2] y) { y = Add(x, c) }",
        tensor("c", [1, 2], "float32"),
        ir=3,
        opset=7,
    )
    assert_same(data)


def test_constant_and_passed_through_outputs() -> None:
    data = model(
        "g (float[2] x) => (float[2] x, float[2] c, float[2] y) { y = Add(x, c) }",
        tensor("c", [1, 2], "float32"),
    )
    _, again = whole(data)
    assert [v.tolist() for v in run(again, {"x": np.float32([3, 4])})] == [[3, 4], [1, 2], [4, 6]]


def test_control_flow_with_captured_tensors_and_constants() -> None:
    data = model(
        """g (bool c, float[2] x) => (float[2] y) {
            k = Relu(x)
            y = If(c) <
                then_branch = t () => (float[2] a) { a = Add(k, w) },
                else_branch = e () => (float[2] b) { z = Constant<value = float[2] {9.0, 8.0}>()  b = Sub(z, k) }
            >
        }""",
        tensor("w", [1, 2], "float32"),
    )
    assert_same(data)
    graph = import_onnx(data)
    only_if = extract(graph, graph.operators[1:], graph.operators[1].inputs[:2], graph.outputs)
    k = np.float32([1, 1])
    for c, expected in ((True, [2, 3]), (False, [8, 7])):
        assert run(only_if, {"c": np.array(c), "k": k})[0].tolist() == expected


def test_loop() -> None:
    assert_same(
        model(
            """g (float[2] x) => (float[2] y) {
                y = Loop(n, , x) <
                    body = l (int64 i, bool go, float[2] v) => (bool go_on, float[2] w) { go_on = Identity(go)  w = Add(v, x) }
                >
            }""",
            tensor("n", 3, "int64"),
        )
    )


def test_sequences_stay_inside() -> None:
    data = model(
        """g (float[4,2] x) => (float[4,2] y) {
            s = SplitToSequence<axis = 0>(x, two)
            y = ConcatFromSequence<axis = 0>(s)
        }""",
        tensor("two", 2, "int64"),
    )
    assert_same(data)
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators] == ["HostRegion"]


def test_types_that_numpy_lacks() -> None:
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [2], [1.0, -2.0])
    assert_same(model("g (float[2] x) => (float[2] y) { f = Cast<to = 1>(w)  y = Add(x, f) }", weights))


def test_strings_stay_inside() -> None:
    keys = onnx.helper.make_tensor("k", onnx.TensorProto.STRING, [2], [b"1.5", b"-2"])
    data = model(
        "g (float[2] x) => (float[2] y) { s = Gather(k, i)  f = Cast<to = 1>(s)  y = Add(x, f) }",
        keys,
        tensor("i", [1, 0], "int64"),
    )
    assert_same(data)


def test_sparse_initialisers() -> None:
    def sparse(indices: list) -> bytes:
        proto = onnx.ModelProto.FromString(model("g (float[2,3] x) => (float[2,3] y) { y = Add(x, c) }"))
        values = tensor("c", [5.0, 7.0], "float32")
        proto.graph.sparse_initializer.append(
            onnx.helper.make_sparse_tensor(values, tensor("i", indices, "int64"), [2, 3])
        )
        return proto.SerializeToString()

    for indices in ([1, 5], [[0, 1], [1, 2]]):
        graph = import_onnx(sparse(indices))
        assert graph.operators[0].inputs[1].data.tolist() == [[0, 5, 0], [0, 0, 7]]
        assert_same(sparse(indices))
    with pytest.raises(InvalidModel, match="index outside of its shape"):
        whole(sparse([1, 6]))
    with pytest.raises(InvalidModel, match=r"values of shape \[2\], but indices of shape \[3\]"):
        whole(sparse([1, 2, 3]))


def test_omitted_inputs_and_outputs() -> None:
    data = model(
        "g (float[1,4,4,4] x) => (float[1,4,4,4] y, float[1,4,8,8] z) { y, m = Dropout(x)  z = Resize<mode = \"nearest\">(x, , s) }",
        tensor("s", [1, 1, 2, 2], "float32"), opset=13,
    )  # fmt: skip
    assert_same(data)


def test_contrib_operators() -> None:
    s, z = tensor("s", 0.5, "float32"), tensor("z", 3, "uint8")
    data = model(
        "g (uint8[1,4] a, uint8[4] b) => (uint8[1,4] y) { y = com.microsoft.QLinearAdd(a, s, z, b, s, z, s, z) }",
        s,
        z,
        com_microsoft=1,
    )
    assert_same(data)


def test_functions() -> None:
    text = """
        <ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[2] x) => (float[2] y) { a = my.Twice(x)  y = my.Twice(a) }
        <domain: "my", opset_import: ["": 17]> Twice (a) => (b) { c = Relu(a)  b = Add(a, c) }
    """
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(tensor("unused", np.zeros(2000), "float32"))
    assert_same(proto.SerializeToString())


def test_external_data_come_inside(tmp_path) -> None:
    values = np.arange(600, dtype=np.float32)
    (tmp_path / "c.bin").write_bytes(values.tobytes())
    c = onnx.TensorProto(
        name="c", dims=[600], data_type=onnx.TensorProto.FLOAT, data_location=onnx.TensorProto.EXTERNAL
    )
    c.external_data.add(key="location", value="c.bin")
    graph = import_onnx(
        model("g (float[600] x) => (float[600] y) { y = Add(x, c) }", c),
        files=ModelFiles(str(tmp_path / "m.onnx")),
    )
    data = extract(graph, graph.operators, graph.inputs, graph.outputs)
    np.testing.assert_array_equal(run(data, {"x": values})[0], 2 * values)


def test_external_data_of_a_branch_come_inside(tmp_path) -> None:
    """As onnx.save writes them: of initialisers and constants of subgraphs, too."""
    values = np.arange(600, dtype=np.float32)
    branches = []
    for name, factor in (("a", 1), ("b", 2)):
        c = onnx.numpy_helper.from_array(values * factor, f"c_{name}")
        node = onnx.helper.make_node("Add", ["x", c.name], [name])
        out = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [600])
        constant = onnx.helper.make_node("Constant", [], [c.name], value=c)
        nodes, initializers = ([node], [c]) if name == "a" else ([constant, node], [])
        branches.append(onnx.helper.make_graph(nodes, name, [], [out], initializers))
    proto = onnx.ModelProto.FromString(
        model("g (bool[1] p, float[600] x) => (float[600] y) { y = Identity(x) }")
    )
    del proto.graph.node[:]
    proto.graph.node.append(
        onnx.helper.make_node("If", ["p"], ["y"], then_branch=branches[0], else_branch=branches[1])
    )
    path = str(tmp_path / "m.onnx")
    onnx.save(
        proto, path, save_as_external_data=True, location="w", size_threshold=100, convert_attribute=True
    )
    data = (tmp_path / "m.onnx").read_bytes()
    assert len(data) < 1200
    graph = import_onnx(data, files=ModelFiles(path))
    host = extract(graph, graph.operators, graph.inputs, graph.outputs)
    for p, factor in ((True, 2), (False, 3)):
        np.testing.assert_array_equal(run(host, {"p": np.array([p]), "x": values})[0], factor * values)


def test_batch() -> None:
    graph, twice = whole(CONV, 2)
    inputs = random_inputs(graph.inputs, 3)
    parts = [run(CONV, {"x": inputs["x"][i : i + 1]}) for i in range(2)]
    for expected, actual in zip(map(np.concatenate, zip(*parts)), run(twice, inputs), strict=True):
        np.testing.assert_allclose(
            actual, expected, rtol=1e-5, atol=1e-6
        )  # float sums may be ordered otherwise
