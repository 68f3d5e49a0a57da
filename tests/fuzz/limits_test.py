"""Small files that declare huge tensors are refused at once, in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from tests.fuzz.workers import Worker

HUGE = 10**12


@pytest.fixture(scope="module")
def workers() -> Iterator[dict[str, Worker]]:
    """Processes that may take 1 GiB."""
    with Worker("onnx") as onnx_worker, Worker("tflite") as tflite_worker:
        yield {"onnx": onnx_worker, "tflite": tflite_worker}


def ints(name: str, *values: int) -> onnx.TensorProto:
    return tensor(name, values, "int64")


def declared(*dims: int, dtype: int = TensorProto.FLOAT, **fields: object) -> bytes:
    """A model with a constant of these dims and hardly any data."""
    constant = onnx.TensorProto(name="c", dims=dims, data_type=dtype, **fields)
    return model("g (float[1] x) => (float[1] y) { y = Add(x, c) }", constant)


def sparse() -> bytes:
    proto = onnx.ModelProto.FromString(model("g (float[1] x) => (float[1] y) { y = Add(x, c) }"))
    constant = proto.graph.sparse_initializer.add(dims=[10**6, 10**6])
    constant.values.CopyFrom(tensor("c", [1], "float32"))
    constant.indices.CopyFrom(tensor("", [5], "int64"))
    return proto.SerializeToString()


def grown(node: str, *constants: onnx.TensorProto, shape: str = "1, 1, 4, 4", opset: int = 17) -> bytes:
    return model(
        f"g (float[{shape}] x) => (float[?, ?, ?, ?] z) {{ {node}  z = Relu(y) }}", *constants, opset=opset
    )


def doubled() -> bytes:
    nodes = "  ".join(f"t{i + 1} = Concat<axis = 0>(t{i}, t{i})" for i in range(60))
    return model(f"g (float[4] t0) => (float[?] y) {{ {nodes}  y = Relu(t60) }}")


def folded(nodes: str, *constants: onnx.TensorProto) -> bytes:
    """The huge tensor would be a constant."""
    return model(
        f"g (float[1] x) => (float[?] y) {{ {nodes}  f = Cast<to = 1>(c)  y = Add(x, f) }}", *constants
    )


def nested(depth: int) -> bytes:
    node = helper.make_node("Relu", ["x"], ["y"])
    for _ in range(depth):
        graph = helper.make_graph(
            [node], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])]
        )
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        if node.ByteSize() > 1 << 14:
            break
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    graph = helper.make_graph(
        [node], "g", values, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])]
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


ONNX = {
    "an initialiser": declared(10**6, 10**6),
    "an initialiser with some data": declared(10**6, 10**6, raw_data=bytes(64)),
    "an initialiser of numbers": declared(10**6, 10**6, float_data=[1.0]),
    "an initialiser whose size overflows": declared(2**62, 4, 4),
    "an initialiser of bits": declared(10**6, 10**6, dtype=TensorProto.INT4, int32_data=[1]),
    "an initialiser of strings": declared(10**6, 10**6, dtype=TensorProto.STRING, string_data=[b"a"]),
    "a negative dimension": declared(-1, 10**6),
    "a sparse initialiser": sparse(),
    "an input": model(f"g (float[{10**6}, {10**6}] x) => (float[{10**6}, {10**6}] y) {{ y = Relu(x) }}"),
    "an input of no elements": model(f"g (float[0, {2**62}] x) => (float[0, {2**62}] y) {{ y = Relu(x) }}"),
    "a filled shape": folded("c = ConstantOfShape(i)", ints("i", HUGE)),
    "a filled shape of several dimensions": folded("c = ConstantOfShape(i)", ints("i", 10**6, 10**6)),
    "a range": folded("c = Range(a, b, s)", tensor("a", 0, "int64"), tensor("b", HUGE, "int64"), tensor("s", 1, "int64")),
    "a range of small steps": folded("c = Range(a, b, s)", tensor("a", 0, "float32"), tensor("b", 1, "float32"), tensor("s", 1e-12, "float32")),
    "an expanded constant": folded("c = Expand(v, i)", tensor("v", [1], "int64"), ints("i", HUGE)),
    "a tiled constant": folded("c = Tile(v, i)", tensor("v", [1], "int64"), ints("i", HUGE)),
    "a padded constant": folded("c = Pad(v, i)", tensor("v", [1], "int64"), ints("i", 0, HUGE)),
    "a one-hot constant": folded("c = OneHot(v, d, w)", tensor("v", [1], "int64"), tensor("d", HUGE, "int64"), ints("w", 0, 1)),
    "an outer product of constants": folded("a = Reshape(v, i)  b = Reshape(v, j)  m = Mul(a, b)  c = Reshape(m, k)", tensor("v", np.zeros(60000), "int64"), ints("i", 60000, 1), ints("j", 1, 60000), ints("k", -1)),
    "expand": grown("y = Expand(x, i)", ints("i", 10**4, 10**4, 4, 4)),
    "tile": grown("y = Tile(x, i)", ints("i", 10**3, 10**3, 10**3, 10**3)),
    "pad": grown("y = Pad(x, i)", ints("i", 0, 0, 0, 0, 0, 0, 10**6, 10**6)),
    "resize to sizes": grown('y = Resize<mode = "nearest">(x, , , i)', ints("i", 1, 1, 10**6, 10**6)),
    "resize by scales": grown('y = Resize<mode = "nearest">(x, , s)', tensor("s", [1, 1, 1e6, 1e6], "float32")),
    "convolution with huge pads": grown("y = Conv<pads = [1000000, 1000000, 1000000, 1000000]>(x, w)", tensor("w", np.ones((1, 1, 3, 3)), "float32")),
    "transposed convolution": grown("y = ConvTranspose<strides = [1000000, 1000000]>(x, w)", tensor("w", np.ones((1, 1, 3, 3)), "float32")),
    "doubled sixty times": doubled(),
}  # fmt: skip


def test_the_files_are_small() -> None:
    assert (
        max(len(data) for data in ONNX.values() if data is not ONNX["an outer product of constants"]) < 10_000
    )


@pytest.mark.parametrize("case", ONNX)
def test_huge_onnx_tensors_are_refused_at_once(case: str, workers: dict[str, Worker]) -> None:
    """A worker stops what takes too much CPU time or memory, and that is a finding."""
    verdict = workers["onnx"].run(0, ONNX[case])
    assert (verdict.word, verdict.finding) == ("code 5", None)


def test_deeply_nested_graphs_end(workers: dict[str, Worker]) -> None:
    """Each level is there twice, so that the file doubles with it; the parser limits the depth of what it takes."""
    for depth in (1, 4, 9):
        verdict = workers["onnx"].run(0, nested(depth))
        assert verdict.finding is None, verdict


def one(
    op_type: str, shape: list[int], out: list[int], *constants: tuple, opts: object = None, first: bool = True
) -> bytes:
    """An int8 model of one operator on x and int32 constants."""
    b = ModelBuilder()
    x, y = b.tensor("x", shape, scale=0.5), b.tensor("y", out, scale=0.5)
    extra = [b.tensor(f"c{i}", list(np.shape(c)), "int32", c) for i, c in enumerate(constants)]
    b.operator(op_type, [x, *extra] if first else [*extra, x], [y], opts)
    return b.build([x], [y])


LONG = [10**6, 10**6]
TFLITE = {
    "an input": one("RELU", LONG, LONG),
    "a size that overflows": one("RELU", [2**31 - 1] * 4, [2**31 - 1] * 4),
    "a tensor of no elements": one("RELU", [1, 0, *LONG], [1, 0, *LONG]),
    "an output": one("RELU", [1], LONG),
    "fill": one("FILL", [], LONG, LONG, first=False),
    "broadcast": one("BROADCAST_TO", [1, 1], LONG, LONG),
    "tile": one("TILE", [1, 1], LONG, LONG),
    "resize": one("RESIZE_BILINEAR", [1, 2, 2, 1], [1, *LONG, 1], LONG, opts=options("ResizeBilinearOptions")),
    "resize stated small": one("RESIZE_NEAREST_NEIGHBOR", [1, 2, 2, 1], [1, 4, 4, 1], LONG, opts=options("ResizeNearestNeighborOptions")),
    "resize not stated": one("RESIZE_NEAREST_NEIGHBOR", [1, 2, 2, 1], [], LONG, opts=options("ResizeNearestNeighborOptions")),
    "pad": one("PAD", [1, 1], [1 + 2 * LONG[0], 1 + 2 * LONG[1]], [[LONG[0]] * 2, [LONG[1]] * 2]),
    "pad not stated": one("PAD", [1, 1], [], [[2**31 - 1] * 2, [2**31 - 1] * 2]),
    "reshape": one("RESHAPE", [1, 1], LONG, LONG, opts=options("ReshapeOptions", newShape=LONG)),
    "reshape of nothing stated": one("RESHAPE", [1, 1], [], LONG, opts=options("ReshapeOptions", newShape=LONG)),
    "transposed convolution": one("TRANSPOSE_CONV", [1, 1, 1, 1], [1, *LONG, 1], [1, *LONG, 1], np.ones((1, 1, 1, 1)), opts=options("TransposeConvOptions", strideH=10**6, strideW=10**6), first=False),
    "range": one("RANGE", [], [2**31 - 1, 4], 0, 2**31 - 1, first=False),
    "one hot": one("ONE_HOT", [1], [1, 2**31 - 1, 4], 2**31 - 1, 1, 0, opts=options("OneHotOptions")),
}  # fmt: skip


@pytest.mark.parametrize("case", TFLITE)
def test_huge_tflite_tensors_are_refused_at_once(case: str, workers: dict[str, Worker]) -> None:
    assert len(TFLITE[case]) < 10_000
    verdict = workers["tflite"].run(0, TFLITE[case])
    assert (verdict.word, verdict.finding) == ("code 5", None)
