"""Shapes and types of contrib operators against those that onnxruntime computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx import contrib, contrib_shapes
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, random_inputs, run, tensor

S, Z = tensor("s", 0.5, "float32"), tensor("z", 3, "uint8")
W = tensor("w", np.ones((5, 4)), "uint8")
CASES = {
    "QLinearAdd": ("uint8[1,4,3,3] x", "QLinearAdd(x, s, z, v, s, z, s, z)", [tensor("v", np.ones((4, 1, 1)), "uint8")]),
    "QLinearMul": ("uint8[2,1] x", "QLinearMul(x, s, z, v, s, z, s, z)", [tensor("v", [1, 2, 3], "uint8")]),
    "QLinearSigmoid": ("uint8[1,4] x", "QLinearSigmoid(x, s, z, s, z)", []),
    "QLinearLeakyRelu": ("uint8[1,4] x", "QLinearLeakyRelu<alpha = 0.1>(x, s, z, s, z)", []),
    "QLinearSoftmax": ("uint8[1,4] x", "QLinearSoftmax<opset = 13, axis = -1>(x, s, z, s, z)", []),
    "QLinearAveragePool": ("uint8[1,4,5,5] x", "QLinearAveragePool<kernel_shape = [3,3], strides = [2,2]>(x, s, z, s, z)", []),
    "QLinearGlobalAveragePool": ("uint8[1,4,5,5] x", "QLinearGlobalAveragePool(x, s, z, s, z)", []),
    "QLinearConcat": ("uint8[1,4] x", "QLinearConcat<axis = 1>(s, z, x, s, z, x, s, z)", []),
    "QLinearWhere": ("uint8[1,4] x", "QLinearWhere(p, x, s, z, x, s, z, s, z)", [tensor("p", [[True], [False]], "bool")]),
    "QGemm": ("uint8[2,4] x", "QGemm<transB = 1>(x, s, z, w, s, z, , s, z)", [W]),
    "QGemm to float": ("uint8[2,4] x", "QGemm<transB = 1>(x, s, z, w, s, z)", [W]),
    "DynamicQuantizeMatMul": ("float[2,5] x", "DynamicQuantizeMatMul(x, w, s, z)", [W]),
    "MatMulIntegerToFloat": ("uint8[2,5] x", "MatMulIntegerToFloat(x, w, s, s)", [W]),
    "QuantizeLinear": ("float[1,4] x", "QuantizeLinear(x, s, z)", []),
    "DequantizeLinear": ("uint8[1,4] x", "DequantizeLinear(x, s, z)", []),
    "Gelu": ("float[1,4] x", "Gelu(x)", []),
    "FastGelu": ("float[1,4] x", "FastGelu(x)", []),
    "QuickGelu": ("float[1,4] x", "QuickGelu(x)", []),
    "BiasGelu": ("float[1,4] x", "BiasGelu(x, b)", [tensor("b", np.ones(4), "float32")]),
    "FusedConv": ("float[1,3,5,5] x", 'FusedConv<activation = "Relu", strides = [2,2]>(x, k)', [tensor("k", np.ones((2, 3, 3, 3)), "float32")]),
    "FusedMatMul": ("float[2,3,5] x", "FusedMatMul<alpha = 0.5>(x, k)", [tensor("k", np.ones((5, 4)), "float32")]),
    "FusedMatMul by a transposed matrix": (
        "float[2,3,5] x", "FusedMatMul<transB = 1>(x, k)", [tensor("k", np.ones((4, 5)), "float32")]
    ),
    "TransposeMatMul": ("float[2,3,5] x", "TransposeMatMul(x, k)", [tensor("k", np.ones((5, 4)), "float32")]),
    "MatMulNBits": (
        "float[2,3,32] x", "MatMulNBits<K = 32, N = 4, bits = 4, block_size = 32>(x, k, m)",
        [tensor("k", np.ones((4, 1, 16)), "uint8"), tensor("m", np.ones((4, 1)), "float32")],
    ),
    "MatMulBnb4": (
        "float[2,3,32] x", "MatMulBnb4<K = 32, N = 4, quant_type = 1, block_size = 32>(x, k, m)",
        [tensor("k", np.ones(64), "uint8"), tensor("m", np.ones(4), "float32")],
    ),
    "SkipLayerNormalization": (
        "float[1,3,8] x", "SkipLayerNormalization(x, x, g)", [tensor("g", np.ones(8), "float32")]
    ),
    "SkipSimplifiedLayerNormalization": (
        "float[1,3,8] x", "SkipSimplifiedLayerNormalization(x, x, g)", [tensor("g", np.ones(8), "float32")]
    ),
    "FusedGemm": ("float[2,4] x", 'FusedGemm<activation = "Relu", transB = 1>(x, k)', [tensor("k", np.ones((3, 4)), "float32")]),
}  # fmt: skip

_R = np.random.default_rng(0)
_HIDDEN = [tensor(n, np.ones(8), "float32") for n in ("gamma", "beta")]
_IDS = "int32[2,5] ids, int32[2,5] segments"
_EMBEDDING = [
    tensor("words", np.ones((9, 8)), "float32"),
    tensor("places", np.ones((5, 8)), "float32"),
    tensor("kinds", np.ones((2, 8)), "float32"),
]
_Q_EMBEDDING = [
    *(
        tensor(n, np.ones(s), "uint8")
        for n, s in {"words": (9, 8), "places": (5, 8), "kinds": (2, 8), "gamma": 8, "beta": 8}.items()
    )
]
_Q_LSTM = [
    tensor("w4", np.ones((2, 4, 12)), "uint8"),
    tensor("r4", np.ones((2, 3, 12)), "uint8"),
    tensor("scales", np.ones((2,)), "float32"),
    tensor("zeros", np.zeros((2,)), "uint8"),
]
# inputs, the call, constants, and which results it has
SEVERAL = {
    "Attention": ("float[2,5,8] x", "Attention<num_heads = 2>(x, w3, b3)", [tensor("w3", _R.random((8, 24)), "float32"), tensor("b3", np.ones(24), "float32")], 1),
    "Attention of sizes of its own": (
        "float[2,5,8] x", "Attention<num_heads = 2, qkv_hidden_sizes = [8, 8, 6]>(x, w3, b3)",
        [tensor("w3", _R.random((8, 22)), "float32"), tensor("b3", np.ones(22), "float32")], 1,
    ),
    "QAttention": (
        "uint8[2,5,8] x", "QAttention<num_heads = 2>(x, w3, b3, s, s, , z, z)",
        [tensor("w3", np.ones((8, 24)), "uint8"), tensor("b3", np.ones(24), "float32")], 1,
    ),
    "MultiHeadAttention": ("float[2,5,8] x, float[2,7,8] k, float[2,7,4] v", "MultiHeadAttention<num_heads = 2>(x, k, v)", [], 1),
    "EmbedLayerNormalization": (_IDS, "EmbedLayerNormalization(ids, segments, words, places, kinds, gamma, beta)", [*_EMBEDDING, *_HIDDEN], 3),
    "QEmbedLayerNormalization": (
        _IDS, "QEmbedLayerNormalization(ids, segments, words, places, kinds, gamma, beta, , s, s, s, s, s, z, z, z, z, z)", _Q_EMBEDDING, 2,
    ),
    "DynamicQuantizeLSTM": (
        "float[5,2,4] x", 'DynamicQuantizeLSTM<direction = "bidirectional", hidden_size = 3>(x, w4, r4, , , , , , scales, zeros, scales, zeros)', _Q_LSTM, 3,
    ),
    "RotaryEmbedding": (
        "float[2,5,8] x, int64[1] p", "RotaryEmbedding<num_heads = 2>(x, p, cos, cos)", [tensor("cos", np.ones((9, 2)), "float32")], 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SEVERAL)
def test_contrib_operator_of_several_inputs_or_results(case: str) -> None:
    declaration, call, constants, count = SEVERAL[case]
    names = [f"y{i}" for i in range(count)]
    text = f"g ({declaration}) => ({', '.join(names)}) {{ {', '.join(names)} = com.microsoft.{call} }}"
    data = model(text, *constants, S, Z, com_microsoft=1)
    graph = import_onnx(data)
    typed = onnx.ModelProto.FromString(data)
    for value, output in zip(typed.graph.output, graph.outputs, strict=True):
        code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(output.dtype))
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, code, None))
    inputs = {t.name: np.zeros(t.shape, t.dtype) for t in graph.inputs}
    results = run(typed.SerializeToString(), inputs)
    assert [(t.dtype, t.shape) for t in graph.outputs] == [(r.dtype.name, r.shape) for r in results]


@pytest.mark.parametrize("case", CASES)
def test_contrib_operator(case: str) -> None:
    declaration, call, constants = CASES[case]
    data = model(
        f"g ({declaration}) => (y) {{ y = com.microsoft.{call} }}", *constants, S, Z, com_microsoft=1
    )
    graph = import_onnx(data)
    output = graph.outputs[0]
    typed = onnx.ModelProto.FromString(data)
    code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(output.dtype))
    typed.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", code, None))
    (expected,) = run(typed.SerializeToString(), random_inputs(graph.inputs, 0))
    assert (output.dtype, output.shape) == (expected.dtype.name, expected.shape)


def test_every_rule_is_tested() -> None:
    named = {name for domain, name in contrib_shapes.SAME if domain}
    known = {*contrib_shapes.LIKE, *contrib_shapes.BUILT, *named}
    assert {name.split()[0] for name in (*CASES, *SEVERAL)} >= known | {"QLinearConcat"}


@pytest.mark.parametrize("opset", [7, 9, 11, 12, 13, 14, 15, 17])
def test_the_type_of_a_zero_point_at_every_opset(opset: int) -> None:
    """QGemm's: CastLike would know it, but is there since opset 15 only."""
    declaration, call, constants = CASES["QGemm"]
    text = f"g ({declaration}) => (y) {{ y = com.microsoft.{call} }}"
    graph = import_onnx(model(text, *constants, S, Z, opset=opset, com_microsoft=1))
    assert [op.op_type for op in graph.operators] == ["QGemm"]
    assert (graph.outputs[0].dtype, graph.outputs[0].shape) == ("uint8", (2, 5))


def test_stated_shapes_help_where_nobody_knows_the_shape() -> None:
    text = "g (float[1,4] x) => (float[1,4] y) { a = com.microsoft.Inverse(x)  y = Relu(a) }"
    assert [op.op_type for op in import_onnx(model(text, com_microsoft=1)).operators] == ["HostRegion"]
    stated = onnx.ModelProto.FromString(model(text, com_microsoft=1))
    stated.graph.value_info.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [1, 4]))
    graph = import_onnx(stated.SerializeToString())
    assert [op.op_type for op in graph.operators] == ["Inverse", "Relu"]


def test_stale_stated_shapes_are_ignored() -> None:
    stated = onnx.ModelProto.FromString(
        model("g (float[1,4] x) => (float[7,7] y) { a = Neg(x)  y = Relu(a) }")
    )
    stated.graph.value_info.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [5, 5]))
    assert import_onnx(stated.SerializeToString()).outputs[0].shape == (1, 4)


def test_contradiction() -> None:
    with pytest.raises(InvalidModel, match="shape"):
        import_onnx(model("g (float[1,4] x, float[1,5] z) => (float[1,4] y) { y = Add(x, z) }"))


def test_contrib_operators_are_those_of_onnxruntime() -> None:
    """A newer onnxruntime may have more; one that it has no longer must leave the list."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

    kernels = {(k.domain, k.op_name) for k in get_all_opkernel_def() if "CPU" in k.provider}
    known = {(domain, name) for domain, names in contrib.OPERATORS.items() for name in names}
    assert known <= kernels
    assert not kernels & {("", name) for name in contrib.WITHOUT_KERNEL}
    assert not any(onnx.defs.has(name, domain) for domain, name in known)


def test_the_oldest_kernels_are_those_of_onnxruntime() -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

    ranges: dict[str, list[tuple[int, int]]] = {}
    for k in get_all_opkernel_def():
        if "CPU" in k.provider and not k.domain:
            ranges.setdefault(k.op_name, []).append(k.version_range)
    versions: dict[str, set[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.name in ranges and not schema.domain:
            versions.setdefault(schema.name, set()).add(schema.since_version)
    run = {
        name: {v for v in known if any(first <= v <= last for first, last in ranges[name])}
        for name, known in versions.items()
    }
    assert contrib.OLDEST == {
        name: min(run[name]) for name, known in versions.items() if run[name] and min(run[name]) > min(known)
    }
