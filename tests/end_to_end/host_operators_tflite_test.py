"""One model for every kind of TFLite operator that the host is to run: imported, cut out, and LiteRT's own result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options, run
from furiosa.compiler.pipeline import compile_model
from furiosa.runtime import session

RNG = np.random.default_rng(7)
F = (RNG.standard_normal((2, 3, 4)) * 3).astype(np.float32)
G = (RNG.standard_normal((2, 3, 4)) * 3).astype(np.float32)
P = np.abs(F) + np.float32(0.5)
I, J = (RNG.integers(1, 9, (2, 3, 4)).astype(np.int32) for _ in range(2))
B, C = F > 0, G > 0
IMAGE = RNG.standard_normal((1, 4, 4, 2)).astype(np.float32)
BOXES = np.array([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 5, 1, 6], [0, 5.2, 1, 6.1]], np.float32)
SCORES = np.array([0.9, 0.75, 0.6, 0.95], np.float32)


class K:
    """A constant input."""

    def __init__(self, value: Any, dtype: str = "int32"):
        self.value = np.asarray(value, dtype)


Case = tuple[str, list[Any], list[tuple[list[int], str]], Any]  # operator, inputs, outputs, options
SAME = [([2, 3, 4], "float32")]


def unary() -> list[Case]:
    plain = "ABS CEIL COS ELU EXP FLOOR HARD_SWISH LOGISTIC NEG RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ROUND SIGN SIN SQUARE TANH"
    cases: list[Case] = [(op, [F], SAME, None) for op in (*plain.split(), "ZEROS_LIKE", "LOG_SOFTMAX")]
    cases += [(op, [P], SAME, None) for op in ("LOG", "RSQRT", "SQRT")]
    return [*cases, ("GELU", [F], SAME, options("GeluOptions")), ("LEAKY_RELU", [F], SAME, options("LeakyReluOptions", alpha=0.1)),
        ("LOGICAL_NOT", [B], [([2, 3, 4], "bool")], None), ("SOFTMAX", [F], SAME, options("SoftmaxOptions", beta=0.5)),
        ("L2_NORMALIZATION", [IMAGE], [([1, 4, 4, 2], "float32")], options("L2NormOptions")),
        ("LOCAL_RESPONSE_NORMALIZATION", [IMAGE], [([1, 4, 4, 2], "float32")], options("LocalResponseNormalizationOptions", radius=1, bias=1.0, alpha=0.5, beta=0.5)),
        ("CAST", [F], [([2, 3, 4], "int64")], None)]  # fmt: skip


def binary() -> list[Case]:
    cases: list[Case] = [
        (op, [F, G], SAME, None)
        for op in ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD", "ATAN2")
    ]
    cases += [(op, [F, G], SAME, options(f"{op.title()}Options")) for op in ("ADD", "SUB", "MUL", "DIV")]
    cases += [
        (op, [I, J], [([2, 3, 4], "int32")], None)
        for op in ("FLOOR_DIV", "FLOOR_MOD", "POW", "BITWISE_XOR", "RIGHT_SHIFT")
    ]
    cases += [
        (op, [F, G], [([2, 3, 4], "bool")], None)
        for op in ("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL")
    ]
    cases += [(op, [B, C], [([2, 3, 4], "bool")], None) for op in ("LOGICAL_AND", "LOGICAL_OR")]
    return [*cases, ("POW", [P, G], SAME, None), ("PRELU", [F, K(np.ones((1, 1, 4)) / 4, "float32")], SAME, None),
        ("ADD_N", [F, G, F], SAME, None), ("SELECT", [B, F, G], SAME, None), ("SELECT_V2", [B, F, G], SAME, None)]  # fmt: skip


def reductions() -> list[Case]:
    o = options("ReducerOptions", keepDims=True)
    floats = ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
    cases: list[Case] = [(op, [F, K([1])], [([2, 1, 4], "float32")], o) for op in floats]
    cases += [(op, [B, K([0, 2])], [([1, 3, 1], "bool")], o) for op in ("REDUCE_ANY", "REDUCE_ALL")]
    return [*cases, ("ARG_MAX", [F, K(2)], [([2, 3], "int64")], options("ArgMaxOptions", outputType=4)),
        ("ARG_MIN", [F, K(1)], [([2, 4], "int32")], options("ArgMinOptions", outputType=2)),
        ("TOPK_V2", [F, K(2)], [([2, 3, 2], "float32"), ([2, 3, 2], "int32")], None),
        ("CUMSUM", [F, K(1)], SAME, options("CumsumOptions", exclusive=True)),
        ("SEGMENT_SUM", [F, K([0, 0])], [([1, 3, 4], "float32")], None)]  # fmt: skip


def moves() -> list[Case]:
    return [
        ("GATHER", [F, K([2, 0])], [([2, 2, 4], "float32")], options("GatherOptions", axis=1)),
        ("GATHER_ND", [F, K([[0, 1], [1, 2]])], [([2, 4], "float32")], None),
        ("SCATTER_ND", [K([[1], [3]]), F, K([5, 3, 4])], [([5, 3, 4], "float32")], None),
        ("ONE_HOT", [K([0, 2]), K(3), F.reshape(-1)[0], K(-1.0, "float32")], [([2, 3], "float32")], options("OneHotOptions", axis=-1)),
        ("REVERSE_V2", [F, K([1])], SAME, None),
        ("REVERSE_SEQUENCE", [F, K([2, 3])], SAME, options("ReverseSequenceOptions", seqDim=1, batchDim=0)),
        ("SPACE_TO_BATCH_ND", [IMAGE, K([2, 2]), K([[0, 0], [0, 0]])], [([4, 2, 2, 2], "float32")], None),
        ("BATCH_TO_SPACE_ND", [IMAGE.reshape(4, 2, 2, 2), K([2, 2]), K([[0, 0], [0, 0]])], [([1, 4, 4, 2], "float32")], None),
        ("SPACE_TO_DEPTH", [IMAGE], [([1, 2, 2, 8], "float32")], options("SpaceToDepthOptions", blockSize=2)),
        ("DEPTH_TO_SPACE", [IMAGE.reshape(1, 2, 2, 8)], [([1, 4, 4, 2], "float32")], options("DepthToSpaceOptions", blockSize=2)),
        ("TILE", [F, K([1, 2, 1])], [([2, 6, 4], "float32")], None),
        ("BROADCAST_TO", [F[:, :1], K([2, 3, 4])], SAME, None),
        ("FILL", [K([2, 3]), F.reshape(-1)[0]], [([2, 3], "float32")], None),
        ("SLICE", [F, K([0, 1, 0]), K([2, 2, 3])], [([2, 2, 3], "float32")], None),
        ("STRIDED_SLICE", [F, K([0, 0, 3]), K([2, 3, -5]), K([1, 2, -1])], [([2, 2, 4], "float32")], options("StridedSliceOptions")),
        ("SPLIT", [K(2), F], [([2, 3, 2], "float32")] * 2, options("SplitOptions", numSplits=2)),
        ("SPLIT_V", [F, K([1, 2]), K(1)], [([2, 1, 4], "float32"), ([2, 2, 4], "float32")], options("SplitVOptions", numSplits=2)),
        ("PACK", [F, G], [([2, 2, 3, 4], "float32")], options("PackOptions", axis=1, valuesCount=2)),
        ("UNPACK", [F], [([3, 4], "float32")] * 2, options("UnpackOptions", axis=0, num=2)),
        ("MIRROR_PAD", [F, K([[0, 0], [1, 1], [0, 2]])], [([2, 5, 6], "float32")], options("MirrorPadOptions", mode=0)),
        ("MATRIX_DIAG", [F], [([2, 3, 4, 4], "float32")], None),
        ("MATRIX_SET_DIAG", [F, G[:, :, 0]], SAME, None),
        ("DYNAMIC_UPDATE_SLICE", [F, G[:, :1], K([0, 2, 0])], SAME, None),
        ("SPARSE_TO_DENSE", [K([1, 4]), K([6]), F.reshape(-1)[:2], K(0.0, "float32")], [([6], "float32")], None),
        ("EMBEDDING_LOOKUP", [K([1, 0]), F], SAME, None),
    ]  # fmt: skip


def others() -> list[Case]:
    return [
        ("BATCH_MATMUL", [F, G.reshape(2, 4, 3)], [([2, 3, 3], "float32")], options("BatchMatMulOptions")),
        ("CONV_3D", [IMAGE.reshape(1, 2, 4, 2, 2), K(np.ones((1, 2, 2, 2, 3)), "float32")], [([1, 2, 3, 1, 3], "float32")],
         options("Conv3DOptions", padding=1, strideD=1, strideH=1, strideW=1)),
        ("RESIZE_BILINEAR", [IMAGE, K([7, 5])], [([1, 7, 5, 2], "float32")], options("ResizeBilinearOptions")),
        ("RFFT2D", [IMAGE[0, :, :, 0], K([4, 4])], [([4, 3], "complex64")], None),
        ("COMPLEX_ABS", [IMAGE.view(np.complex64)], [([1, 4, 4, 1], "float32")], None),
        ("IMAG", [IMAGE.view(np.complex64)], [([1, 4, 4, 1], "float32")], None),
        ("NON_MAX_SUPPRESSION_V4", [BOXES, SCORES, K(3), K(0.5, "float32"), K(0.1, "float32")], [([3], "int32"), ([], "int32")], None),
        ("NON_MAX_SUPPRESSION_V5", [BOXES, SCORES, K(3), K(0.5, "float32"), K(0.1, "float32"), K(0.5, "float32")],
         [([3], "int32"), ([3], "float32"), ([], "int32")], None),
        ("BUCKETIZE", [F], [([2, 3, 4], "int32")], options("BucketizeOptions", boundaries=[-1.0, 0.0, 1.0])),
    ]  # fmt: skip


CASES = [*unary(), *binary(), *reductions(), *moves(), *others()]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_operator(case: Case) -> None:
    op_type, inputs, outputs, option = case
    b = ModelBuilder()
    operands, given, values = [], [], []
    for i, value in enumerate(inputs):
        constant = isinstance(value, K)
        array = value.value if constant else np.asarray(value)
        t = b.tensor(f"x{i}", list(array.shape), array.dtype.name, data=array if constant else None)
        operands.append(t)
        if not constant:
            given.append(t)
            values.append(np.ascontiguousarray(array).reshape(array.shape))
    results = [b.tensor(f"y{i}", shape, dtype) for i, (shape, dtype) in enumerate(outputs)]
    b.operator(op_type, operands, results, option)
    data = b.build(given, results)
    expected = run(data, values)
    with session.create(compile_model(data)) as sess:
        for a, e in zip(sess.run(values).numpy(), expected, strict=True):
            assert (a.dtype, a.shape) == (e.dtype, e.shape)
            np.testing.assert_array_equal(a, e)
