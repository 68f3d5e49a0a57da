"""Multiply-accumulates: every operator is classified, and counts are those of the operator's own definition."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from furiosa.compiler.dfg import macs_onnx, macs_tflite
from furiosa.compiler.dfg.graph import HOST_REGION, Operator, Tensor
from furiosa.compiler.dfg.macs import LARGEST, Unknown, count, macs
from furiosa.compiler.dfg.macs_einsum import contraction
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.compiler.frontend.tflite.custom import ARITY
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options

FLOAT = TensorProto.FLOAT

# -- every operator is in one table ---------------------------------------------------------------------------------


def _onnx_operators() -> set[tuple[str, str]]:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    schemas = (*onnx.defs.get_all_schemas_with_history(), *get_all_operator_schema())
    return {(s.domain, s.name) for s in schemas}


def test_every_onnx_operator_is_classified_once():
    """Of onnx and of onnxruntime; a new one must be put into a table of macs_onnx."""
    multiply = {(domain, name) for domain, table in macs_onnx.MULTIPLY.items() for name in table}
    none = {(domain, name) for domain, names in macs_onnx.NONE.items() for name in names}
    assert not multiply & none
    assert (multiply | none) - {("", "HostRegion")} == _onnx_operators()


def test_every_tflite_operator_is_classified_once():
    """Of LiteRT's schema, by which the importer reads."""
    names = {name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    multiply, none = set(macs_tflite.MULTIPLY), set(macs_tflite.NONE)
    assert not multiply & none
    assert (multiply | none) - {HOST_REGION} == names - {"CUSTOM", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
    custom = set(macs_tflite.CUSTOM_MULTIPLY), set(macs_tflite.CUSTOM_NONE)
    assert not custom[0] & custom[1]
    assert custom[0] | custom[1] == set(ARITY)


@pytest.mark.parametrize("op_type, domain", [("Fancy", ""), ("Conv", "acme"), ("QGemm", "")])
def test_a_stranger_is_unknown(op_type, domain):
    attributes = {"domain": domain} if domain else {}
    op = _operator(op_type, [(1, 8, 4, 4), (8, 8, 1, 1)], (1, 8, 4, 4), **attributes)
    with pytest.raises(Unknown, match=f"{op_type} of .* is no operator that is known"):
        count(op, "onnx")
    assert macs(op, "onnx") is None


# -- counts ---------------------------------------------------------------------------------------------------------


def _operator(op_type: str, inputs: list, *outputs: tuple[int, ...], **attributes) -> Operator:
    """An operator of inputs that are shapes, arrays of a constant, or None."""
    tensors = [
        None
        if x is None
        else Tensor(f"x{i}", x.shape, x.dtype.name, data=x)
        if isinstance(x, np.ndarray)
        else Tensor(f"x{i}", x, "float32")
        for i, x in enumerate(inputs)
    ]
    made = [Tensor(f"y{i}", s, "float32") for i, s in enumerate(outputs)]
    return Operator("op", op_type, tensors, made, attributes)


MS = {"domain": "com.microsoft"}
SCALE = (1,)
_LSTM_TFLITE = [None, *[(6, 3)] * 4, *[(6, 5)] * 4, *[(6,)] * 7, (5, 6)]

ONNX = {
    "convolution, groups": (
        _operator("Conv", [(2, 8, 9, 9), (6, 4, 3, 3)], (2, 6, 7, 7)),
        2 * 6 * 49 * 4 * 9,
    ),
    "convolution, 3-D": (_operator("Conv", [(1, 2, 5, 5, 5), (3, 2, 3, 3, 3)], (1, 3, 3, 3, 3)), 81 * 54),
    "integer convolution": (_operator("ConvInteger", [(1, 2, 4, 4), (3, 2, 2, 2)], (1, 3, 3, 3)), 27 * 8),
    "QLinearConv": (
        _operator("QLinearConv", [(1, 2, 4, 4), SCALE, SCALE, (3, 2, 2, 2)], (1, 3, 3, 3)),
        27 * 8,
    ),
    "channels last": (
        _operator(
            "QLinearConv", [(1, 4, 4, 2), SCALE, SCALE, (3, 2, 2, 2)], (1, 3, 3, 3), channels_last=1, **MS
        ),
        27 * 8,
    ),
    "deformed": (_operator("DeformConv", [(1, 2, 4, 4), (3, 2, 2, 2), (1, 8, 3, 3)], (1, 3, 3, 3)), 27 * 8),
    "transposed": (_operator("ConvTranspose", [(1, 4, 5, 5), (4, 3, 2, 2)], (1, 6, 10, 10)), 4 * 25 * 12),
    "FusedConv": (_operator("FusedConv", [(1, 2, 4, 4), (3, 2, 2, 2)], (1, 3, 3, 3), **MS), 27 * 8),
    "causal": (_operator("CausalConvWithState", [(2, 6, 10), (6, 1, 4)], (2, 6, 10), (2, 6, 3)), 120 * 4),
    "matrices": (_operator("MatMul", [(5, 4, 7), (7, 3)], (5, 4, 3)), 5 * 4 * 3 * 7),
    "a vector": (_operator("MatMul", [(7,), (7, 3)], (3,)), 21),
    "Gemm": (_operator("Gemm", [(7, 4), (3, 7)], (4, 3), transA=1, transB=1), 84),
    "QGemm": (_operator("QGemm", [(4, 7), SCALE, SCALE, (7, 3)], (4, 3), **MS), 84),
    "transposed batch": (
        _operator("FusedMatMul", [(4, 5, 7), (5, 7, 3)], (5, 4, 3), transBatchA=1, **MS),
        5 * 4 * 3 * 7,
    ),
    "both transposed": (
        _operator("FusedMatMul", [(7, 5, 4), (5, 7, 3)], (5, 4, 3), transBatchA=1, transA=1, **MS),
        5 * 4 * 3 * 7,
    ),
    "packed weights": (
        _operator("MatMulNBits", [(2, 5, 48), (9, 2, 16)], (2, 5, 9), K=48, N=9, **MS),
        2 * 5 * 9 * 48,
    ),
    "dynamic": (_operator("DynamicQuantizeMatMul", [(2, 5, 7), (7, 3)], (2, 5, 3), **MS), 2 * 5 * 3 * 7),
    "LSTM": (
        _operator("LSTM", [(10, 2, 16), (1, 32, 16), (1, 32, 8)], (10, 1, 2, 8), hidden_size=8),
        10 * 2 * 4 * 8 * (16 + 8),
    ),
    "bidirectional GRU": (
        _operator("GRU", [(10, 2, 16), (2, 24, 16), (2, 24, 8)], (10, 2, 2, 8), direction="bidirectional"),
        2 * 10 * 2 * 3 * 8 * (16 + 8),
    ),
    "RNN, batch first": (
        _operator("RNN", [(2, 10, 16), (1, 8, 16), (1, 8, 8)], (2, 10, 1, 8), layout=1),
        20 * 8 * 24,
    ),
    "DynamicQuantizeLSTM": (
        _operator("DynamicQuantizeLSTM", [(10, 2, 16), (1, 16, 32), (1, 8, 32)], (10, 1, 2, 8), **MS),
        20 * 32 * 24,
    ),
    "attention": (
        _operator("Attention", [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 6)], (2, 4, 5, 6)),
        2 * 4 * 5 * 7 * (8 + 6),
    ),
    "attention, 3-D and grouped": (
        _operator(
            "Attention", [(2, 5, 32), (2, 7, 16), (2, 7, 12)], (2, 5, 24), q_num_heads=4, kv_num_heads=2
        ),
        2 * 4 * 5 * 7 * (8 + 6),
    ),
    "attention with a past": (
        _operator("Attention", [(2, 4, 1, 8), (2, 4, 1, 8), (2, 4, 1, 8), None, (2, 4, 9, 8)], (2, 4, 1, 8)),
        2 * 4 * 10 * 16,
    ),
    "projecting attention": (
        _operator("Attention", [(2, 5, 24), (24, 96), (96,)], (2, 5, 32), num_heads=4, **MS),
        2 * 5 * 24 * 96 + 2 * 4 * 5 * 5 * (8 + 8),
    ),
    "QAttention": (
        _operator("QAttention", [(2, 5, 24), (24, 96), (96,), SCALE, SCALE], (2, 5, 32), num_heads=4, **MS),
        2 * 5 * 24 * 96 + 2 * 4 * 5 * 5 * 16,
    ),
    "MultiHeadAttention": (
        _operator("MultiHeadAttention", [(2, 5, 32), (2, 7, 32), (2, 7, 24)], (2, 5, 24), num_heads=4, **MS),
        2 * 4 * 5 * 7 * (8 + 6),
    ),
    "MultiHeadAttention, packed": (
        _operator("MultiHeadAttention", [(2, 5, 4, 3, 8)], (2, 5, 32), num_heads=4, **MS),
        2 * 4 * 5 * 5 * 16,
    ),
    "GroupQueryAttention": (
        _operator(
            "GroupQueryAttention",
            [(1, 1, 32), (1, 1, 16), (1, 1, 16), (1, 2, 64, 8), (1, 2, 64, 8), (1,), np.array(20, np.int32)],
            (1, 1, 32),
            num_heads=4,
            kv_num_heads=2,
            **MS,
        ),
        4 * 20 * 16,
    ),
    "LinearAttention": (
        _operator(
            "LinearAttention",
            [(2, 5, 32), (2, 5, 16), (2, 5, 12)],
            (2, 5, 24),
            q_num_heads=4,
            kv_num_heads=2,
            update_rule="gated_delta",
        ),
        2 * 5 * 8 * 6 * (2 * 2 + 4),
    ),
    "experts": (
        _operator("MoE", [(10, 8), (10, 4), (4, 16, 8), None, (4, 8, 16)], (10, 8), k=2, **MS),
        10 * 2 * (16 * 8 + 8 * 16),
    ),
    "distances": (_operator("CDist", [(5, 3), (7, 3)], (5, 7), **MS), 105),
    "affine grid": (_operator("AffineGrid", [(2, 2, 3), (4,)], (2, 5, 6, 2)), 2 * 5 * 6 * 2 * 3),
    "Fourier": (_operator("DFT", [(2, 8, 3, 1)], (2, 5, 3, 2), axis=1, onesided=1), 2 * 3 * 8 * 5 * 2),
    "complex Fourier": (
        _operator("DFT", [(2, 8, 2), None, np.array(-2)], (2, 8, 2)),
        2 * 8 * 8 * 4,
    ),
    "short-time Fourier": (
        _operator("STFT", [(2, 64, 1), np.array(8), (16,)], (2, 7, 9, 2), onesided=1),
        2 * 7 * 16 * 9 * 2,
    ),
    "linear classifier": (
        _operator("LinearClassifier", [(6, 3)], (6,), (6, 4), coefficients=[1.0] * 12, domain="ai.onnx.ml"),
        6 * 12,
    ),
    "support vectors": (
        _operator(
            "SVMRegressor",
            [(6, 3)],
            (6, 1),
            support_vectors=[1.0] * 15,
            coefficients=[1.0] * 5,
            domain="ai.onnx.ml",
        ),
        6 * (15 + 5),
    ),
    "an addition": (_operator("Add", [(2, 3), (2, 3)], (2, 3)), 0),
    "without a gate": (_operator("GatedAdd", [(2, 8), (2, 8), (2, 1)], (2, 8), **MS), 0),
}
TFLITE = {
    "convolution": (_operator("CONV_2D", [(2, 9, 9, 4), (6, 3, 3, 4)], (2, 7, 7, 6)), 2 * 49 * 6 * 36),
    "depthwise": (_operator("DEPTHWISE_CONV_2D", [(1, 9, 9, 4), (1, 3, 3, 8)], (1, 7, 7, 8)), 49 * 8 * 9),
    "3-D": (_operator("CONV_3D", [(1, 5, 5, 5, 2), (3, 3, 3, 2, 4)], (1, 3, 3, 3, 4)), 27 * 4 * 54),
    "3-D, transposed": (
        _operator("CONV_3D_TRANSPOSE", [(5,), (2, 2, 2, 4, 3), (1, 5, 5, 5, 3)], (1, 10, 10, 10, 4)),
        125 * 3 * 32,
    ),
    "transposed": (
        _operator("TRANSPOSE_CONV", [(4,), (6, 2, 2, 3), (1, 5, 5, 3)], (1, 10, 10, 6)),
        25 * 3 * 24,
    ),
    "fully connected": (_operator("FULLY_CONNECTED", [(2, 7), (3, 7)], (2, 3)), 42),
    "matrices": (_operator("BATCH_MATMUL", [(5, 7, 4), (5, 7, 3)], (5, 4, 3), adj_x=True), 5 * 4 * 3 * 7),
    "dot": (
        _operator("STABLEHLO_DOT_GENERAL", [(5, 4, 7), (5, 3, 7)], (5, 4, 3), lhs_contracting_dimensions=[2]),
        5 * 4 * 3 * 7,
    ),
    "general convolution": (
        _operator(
            "STABLEHLO_CONVOLUTION",
            [(1, 9, 9, 4), (3, 3, 4, 6)],
            (1, 7, 7, 6),
            kernel_output_feature_dimension=3,
        ),
        49 * 6 * 36,
    ),
    "LSTM with a projection": (
        _operator("LSTM", [(2, 3), *_LSTM_TFLITE[1:]], (2, 5), kernel_type="FULL"),
        2 * 4 * 6 * (3 + 5) + 2 * 30,
    ),
    "LSTM in one matrix": (
        _operator("LSTM", [(2, 3), (2, 5), (20, 8)], (2, 5), kernel_type="BASIC"),
        2 * 160,
    ),
    "sequence": (
        _operator("UNIDIRECTIONAL_SEQUENCE_LSTM", [(2, 10, 3), *_LSTM_TFLITE[1:]], (2, 10, 5)),
        10 * (2 * 4 * 6 * (3 + 5) + 2 * 30),
    ),
    "both directions": (
        _operator(
            "BIDIRECTIONAL_SEQUENCE_RNN",
            [(2, 10, 3), (6, 3), (6, 6), (6,), None, (6, 3), (6, 6), (6,), None],
            (2, 10, 12),
        ),
        2 * 20 * (18 + 36),
    ),
    "SVDF": (_operator("SVDF", [(2, 8), (12, 8), (12, 5)], (2, 6)), 2 * 12 * (8 + 5)),
    "Fourier": (_operator("RFFT2D", [(3, 4, 8), (2,)], (3, 4, 5)), 3 * (4 * 8 * 5 * 2 + 5 * 4 * 4 * 4)),
    "custom": (
        _operator(
            "CUSTOM",
            [(1, 5, 5, 3), (6, 2, 2, 3), (6,)],
            (1, 10, 10, 6),
            custom_code="Convolution2DTransposeBias",
        ),
        25 * 3 * 24,
    ),
    "an addition": (_operator("ADD", [(2, 3), (2, 3)], (2, 3)), 0),
}


@pytest.mark.parametrize("name", ONNX)
def test_onnx(name):
    op, expected = ONNX[name]
    assert count(op, "onnx") == expected


@pytest.mark.parametrize("name", TFLITE)
def test_tflite(name):
    op, expected = TFLITE[name]
    assert count(op, "tflite") == expected


@pytest.mark.parametrize(
    "op, reason",
    [
        (_operator("Det", [(2, 3, 3)], (2,)), "algorithm"),
        (
            _operator("Attention", [(1, 5, 8), (8, 24)], (1, 5, 8), past_present_share_buffer=1, **MS),
            "buffer",
        ),
        (
            _operator("GroupQueryAttention", [(1, 1, 32), *[(1, 2, 4, 8)] * 4, (1,), ()], (1, 1, 32), **MS),
            "cache",
        ),
        (_operator("Einsum", [(2, 3)], (2,), equation="ij,jk->ik"), "equation"),
        (_operator("Loop", [(), ()], (2,)), "what it runs"),
    ],
)
def test_unknown(op, reason):
    with pytest.raises(Unknown, match=reason):
        count(op, "onnx")


def test_a_count_beyond_what_files_can_state():
    op = _operator("MatMul", [(1 << 31, 1 << 20), (1 << 20, 1 << 31)], (1 << 31, 1 << 31))
    assert count(op, "onnx") == LARGEST


@pytest.mark.parametrize(
    "equation, shapes, expected",
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], 24),
        ("ij,jk", [(2, 3), (3, 4)], 24),
        ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)], 120),
        ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)], 120),
        ("...ij,jk", [(5, 6, 2, 3), (3, 4)], 720),
        ("bhqd,bhkd->bhqk", [(2, 4, 5, 8), (2, 4, 7, 8)], 2 * 4 * 5 * 7 * 8),
        ("i,i->", [(7,), (7,)], 7),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 24 + 40),
        ("ij->ji", [(2, 3)], 0),
        ("ii->i", [(3, 3)], 0),
        ("bi,bj->bij", [(1, 3), (5, 4)], 60),  # 1 broadcasts
    ],
)
def test_einsum(equation, shapes, expected):
    assert contraction(equation, shapes) == expected


def test_einsum_against_numpy():
    """Of two operands: every value of all labels is one product."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        sizes = {c: int(rng.integers(1, 5)) for c in "abcdef"}
        a, b = ("".join(rng.permutation(list(sizes))[: rng.integers(1, 5)]) for _ in range(2))
        out = "".join(c for c in sorted(set(a + b)) if rng.integers(2))
        shapes = [tuple(sizes[c] for c in term) for term in (a, b)]
        ones = np.einsum(f"{a},{b}->{out}", *(np.ones(s) for s in shapes))
        assert contraction(f"{a},{b}->{out}", shapes) == ones.sum()


def test_attention_is_what_onnx_makes_of_it():
    """The products in the operator's own decomposition."""
    shapes = {"Q": (2, 4, 5, 8), "K": (2, 4, 7, 8), "V": (2, 4, 7, 6)}
    node = helper.make_node("Attention", list(shapes), ["Y"])
    schema = onnx.defs.get_schema("Attention", 23)
    types = [helper.make_tensor_type_proto(FLOAT, s).SerializeToString() for s in shapes.values()]
    function = onnx.FunctionProto.FromString(
        schema.get_context_dependent_function(node.SerializeToString(), types)
    )
    inputs = [helper.make_tensor_value_info(n, FLOAT, s) for n, s in shapes.items()]
    graph = helper.make_graph(function.node, "g", inputs, [helper.make_tensor_value_info("Y", FLOAT, None)])
    for op in graph.node:  # the function's attributes that the node leaves out
        for a in [a for a in op.attribute if a.ref_attr_name]:
            op.attribute.remove(a)
    made = import_onnx(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)]).SerializeToString()
    )
    products = sum(macs(op, "onnx") for op in made.operators)
    assert products == count(_operator("Attention", list(shapes.values()), (2, 4, 5, 6)), "onnx")


# -- operators that run others ----------------------------------------------------------------------------------------


def _macs(data: bytes) -> dict[str, int | None]:
    """Of each type of operator; None where those of one of them are unknown."""
    graph = import_tflite(data) if data[4:8] == b"TFL3" else import_onnx(data)
    found: dict[str, list[int | None]] = {}
    for op in graph.operators:
        found.setdefault(op.op_type, []).append(macs(op, graph.format))
    return {op_type: None if None in counts else sum(counts) for op_type, counts in found.items()}


W = tensor("w", np.ones((4, 4), np.float32))


TURNS = 10_000  # more than the importer puts one after the other


def _loop(trips: str, condition: str, more: str = "", going: str = "c2 = Identity(c)") -> bytes:
    body = f"body (int64 i, bool c, float[2,4] v) => (bool c2, float[2,4] v2) {{ {going} v2 = MatMul(v, w) }}"
    return model(
        f"g (float[2,4] x, bool go) => (float[2,4] y) {{ y = Loop <body = {body}> ({trips}, {condition}, x) }}",
        W,
        tensor("turns", np.int64(TURNS)),
        tensor("yes", np.bool_(True)),
        tensor("no", np.bool_(False)),
    )


@pytest.mark.parametrize(
    "data, expected",
    [
        (_loop("turns", "yes"), TURNS * 32),
        (_loop("turns", ""), TURNS * 32),
        (_loop("turns", "no"), 0),
        (_loop("turns", "go"), None),
        (_loop("turns", "yes", going="c2 = Not(c)"), None),
        (_loop("", "yes"), None),
    ],
    ids=["counted", "without a condition", "never", "condition of the data", "ends itself", "endless"],
)
def test_loop(data, expected):
    assert _macs(data) == {"Loop": expected}


def test_a_loop_that_the_importer_unrolls():
    data = onnx.ModelProto.FromString(_loop("turns", "yes"))
    data.graph.initializer[1].CopyFrom(tensor("turns", np.int64(3)))
    assert sum(_macs(data.SerializeToString()).values()) == 3 * 32


def test_a_loop_that_multiplies_nothing():
    body = "body (int64 i, bool c, float[2,4] v) => (bool c2, float[2,4] v2) { c2 = Not(c) v2 = Neg(v) }"
    text = f"g (float[2,4] x, bool go) => (float[2,4] y) {{ y = Loop <body = {body}> (, go, x) }}"
    assert _macs(model(text)) == {"Loop": 0}


def test_a_loop_whose_body_states_no_shapes():
    """A state has the shape that it starts with, where the body keeps it; else it is unknown."""

    def loop(step: str) -> dict[str, int | None]:
        body = f"body (int64 i, bool c, float[] v) => (bool c2, float[] v2) {{ c2 = Identity(c) {step} }}"
        text = f"g (float[2,4] x) => (float[2,4] y) {{ z = Loop <body = {body}> (turns, yes, x) y = Reshape(z, s) }}"
        data = model(
            text,
            W,
            tensor("turns", np.int64(TURNS)),
            tensor("yes", np.bool_(True)),
            tensor("s", np.array([2, 4], np.int64)),
        )
        proto = onnx.ModelProto.FromString(data)
        (body,) = [a.g for a in proto.graph.node[0].attribute]
        body.input[2].type.tensor_type.ClearField("shape")
        body.output[1].type.tensor_type.ClearField("shape")
        return _macs(proto.SerializeToString())

    assert TURNS * 32 in loop("v2 = MatMul(v, w)").values()
    assert None in loop("u = Concat <axis = 0> (v, v) v2 = MatMul(u, w)").values()


def _branches(then: str, other: str, condition: str = "go", *initializers: onnx.TensorProto) -> bytes:
    graphs = f"then_branch = t () => (float[2,4] a) {{ {then} }}, else_branch = e () => (float[2,4] b) {{ {other} }}"
    text = f"g (float[2,4] x, bool go) => (float[2,4] y) {{ y = If <{graphs}> ({condition}) }}"
    return model(text, W, *initializers)


@pytest.mark.parametrize(
    "then, other, condition, expected",
    [
        ("a = MatMul(x, w)", "c = Neg(x) b = MatMul(c, w)", "go", 32),
        ("a = MatMul(x, w)", "b = Neg(x)", "go", None),
        ("a = MatMul(x, w)", "b = Neg(x)", "yes", 32),
        ("a = Relu(x)", "b = Neg(x)", "go", 0),
    ],
)
def test_if(then, other, condition, expected):
    data = _branches(then, other, condition, tensor("yes", np.bool_(True)))
    assert expected in _macs(data).values()


def test_nested():
    """An If in a Loop, with a weight of the outermost graph."""
    branches = "then_branch = t () => (float[2,4] a) { a = MatMul(v, w) }, else_branch = e () => (float[2,4] b) { b = MatMul(v, w) }"
    body = f"body (int64 i, bool c, float[2,4] v) => (bool c, float[2,4] v2) {{ v2 = If <{branches}> (go) }}"
    text = f"g (float[2,4] x, bool go) => (float[2,4] y) {{ y = Loop <body = {body}> (turns, yes, x) }}"
    data = model(text, W, tensor("turns", np.int64(TURNS)), tensor("yes", np.bool_(True)))
    assert _macs(data) == {"Loop": TURNS * 32}


def test_scan():
    body = "body (float[4] s, float[4] e) => (float[4] s2, float[4] o) { a = MatMul(e, w) s2 = Add(s, a) o = Identity(s2) }"
    text = f"g (float[4] s0, float[7,4] x) => (float[7,4] y) {{ s, y = Scan <body = {body}, num_scan_inputs = 1> (s0, x) }}"
    assert _macs(model(text, W)) == {"Scan": 7 * 16}


def test_a_region():
    """Operators around values of unknown shape; what multiplies there is unknown, what is of known shape is counted."""
    text = "g (float[6,4] x) => (float[6,4] y) { i = NonZero(x) d = Shape(i) f = Cast <to = 1> (d) s = ReduceSum(f) z = Mul(x, s) y = MatMul(z, w) }"
    assert 0 in _macs(model(text, W)).values() and 96 in _macs(model(text, W)).values()
    text = "g (float[6,4] x, bool[6] k) => (float y) { r = Compress <axis = 0> (x, k) z = MatMul(r, w) y = ReduceSum <keepdims = 0> (z) }"
    graph = import_onnx(model(text, W))
    with pytest.raises(Unknown, match=r"MatMul '.*' in it: the shape of '.*' is not known"):
        count(graph.operators[0], "onnx")


def test_functions_are_inlined():
    proto = onnx.ModelProto.FromString(
        model("g (float[2,4] x) => (float[2,4] y) { y = acme.twice(x, w) }", W, acme=1)
    )
    function = onnx.parser.parse_function(
        '<domain: "acme", opset_import: ["" : 17]> twice (a, m) => (b) { t = MatMul(a, m) b = MatMul(t, m) }'
    )
    proto.functions.append(function)
    graph = import_onnx(proto.SerializeToString())
    assert sum(macs(op, "onnx") for op in graph.operators) == 64


def _tflite_control(op_type: str, bodies: list[bool], first: int = 1, second: int = 2) -> bytes:
    """An IF or a WHILE at the top, and a subgraph for each of ``bodies``: whether it multiplies."""
    b = ModelBuilder()
    x, y, c = b.tensor("x", [2, 4], "float32"), b.tensor("y", [2, 4], "float32"), b.tensor("c", [], "bool")
    if op_type == "WHILE":
        b.operator(
            "WHILE", [x], [y], options("WhileOptions", condSubgraphIndex=first, bodySubgraphIndex=second)
        )
    else:
        b.operator("IF", [c, x], [y], options("IfOptions", thenSubgraphIndex=first, elseSubgraphIndex=second))
    for work in bodies:
        b.subgraph()
        p, q = b.tensor("p", [2, 4], "float32"), b.tensor("q", [2, 4], "float32")
        if work:
            w = b.tensor("w", [4, 4], "float32", np.ones((4, 4)))
            b.operator("FULLY_CONNECTED", [p, w], [q], options("FullyConnectedOptions"))
        else:
            b.operator("NEG", [p], [q])
        b.graph.inputs, b.graph.outputs = [p], [q]
    return b.build([x] if op_type == "WHILE" else [c, x], [y])


@pytest.mark.parametrize("bodies, expected", [([True, True], 32), ([False, False], 0), ([True, False], None)])
def test_tflite_if(bodies, expected):
    assert _macs(_tflite_control("IF", bodies)) == {"IF": expected}


@pytest.mark.parametrize("work, expected", [(True, None), (False, 0)])
def test_tflite_while(work, expected):
    assert _macs(_tflite_control("WHILE", [False, work])) == {"WHILE": expected}


@pytest.mark.parametrize("depth", [1, 40])
def test_subgraphs_that_run_each_other_end(depth):
    """A subgraph that runs itself, and a tree of them that would have 2^40 leaves."""
    b = ModelBuilder()
    for k in range(depth + 1):
        if k:
            b.subgraph()
        c, x, y = (
            b.tensor(n, d, t) for n, d, t in (("c", [], "bool"), ("x", [4], "int32"), ("y", [4], "int32"))
        )
        deeper = min(k + 1, depth)
        ends = options("IfOptions", thenSubgraphIndex=deeper, elseSubgraphIndex=deeper)
        b.operator("IF", [c, x], [y], ends)
        b.graph.inputs, b.graph.outputs = [c, x], [y]
    assert _macs(b.build([c, x], [y])) == {"IF": None}
