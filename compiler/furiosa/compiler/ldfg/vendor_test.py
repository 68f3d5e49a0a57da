"""The release whose operators the NPU may take."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.errors import InvalidConfig
from furiosa.compiler.pipeline import Compilation, Options, compile_model
from furiosa.runtime import session

CONSTANTS = {
    "s": np.float32(0.05),
    "z": np.int8(3),
    "sy": np.float32(1 / 128),
    "zy": np.int8(0),
    "channels_s": np.full(3, 0.02, np.float32),
    "channels_z": np.zeros(3, np.int8),
}


def _model(shape: list[int], *nodes: tuple, y: list[int] | None = None) -> bytes:
    """Nodes (type, inputs, output, attributes) from the float32 "x" to the float32 "y"."""
    made = [helper.make_node(kind, inputs, [out], name=out, **more) for kind, inputs, out, more in nodes]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y or shape)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in CONSTANTS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def _of_one(kind: str, shape: list[int]) -> bytes:
    return _model(
        shape,
        ("QuantizeLinear", ["x", "s", "z"], "a", {}),
        ("DequantizeLinear", ["a", "s", "z"], "b", {}),
        (kind, ["b"], "c", {}),
        ("QuantizeLinear", ["c", "sy", "zy"], "d", {}),
        ("DequantizeLinear", ["d", "sy", "zy"], "y", {}),
    )


def _placed(model: bytes, release: str) -> dict[str, tuple[str, list[str]]]:
    low = Compilation(model, Options(compatibility=release)).run("ldfg").ldfg
    return {op.name: (v.placed_on, [r.rule for r in v.reasons]) for op, v in low.verdicts.items()}


@pytest.mark.parametrize(
    ("kind", "batch", "release", "placed"),
    [
        ("Tanh", 1, "0.10", ("npu", [])),
        ("Tanh", 1, "0.6.3", ("host", ["vendor-release"])),
        ("Sigmoid", 1, "0.6.3", ("npu", [])),
        ("Softmax", 3, "0.10", ("host", ["softmax-batch"])),
        ("Softmax", 3, "0.6.3", ("npu", [])),  # that release states no limit
    ],
)
def test_an_operator_is_taken_since_a_release(kind, batch, release, placed):
    assert _placed(_of_one(kind, [batch, 10]), release)["c"] == placed


def test_a_qoperator_is_what_it_computes():
    model = _model(
        [2, 3],
        ("QuantizeLinear", ["x", "s", "z"], "a", {}),
        ("QLinearAdd", ["a", "s", "z", "a", "s", "z", "sy", "zy"], "b", {"domain": "com.microsoft"}),
        ("DequantizeLinear", ["b", "sy", "zy"], "y", {}),
    )
    assert _placed(model, "0.6.3")["b"] == ("npu", [])


@pytest.mark.parametrize("release", ["0.6.3", "0.10"])
@pytest.mark.parametrize("kind", ["Tanh", "Sigmoid", "Relu"])
def test_the_numbers_are_the_same(kind, release):
    _check(_of_one(kind, [3, 7]), release)


@pytest.mark.parametrize("release", ["0.6.3", "0.10"])
@pytest.mark.parametrize("pair", [("sy", "zy"), ("channels_s", "channels_z")])
def test_a_requantisation_that_is_refused_takes_what_it_reads_along(release, pair):
    """Nothing else reads the DequantizeLinear before it, which is emitted only where it is needed."""
    per_channel = {"axis": 1} if pair[0] == "channels_s" else {}
    model = _model(
        [2, 3],
        ("QuantizeLinear", ["x", "s", "z"], "a", {}),
        ("DequantizeLinear", ["a", "s", "z"], "b", {}),
        ("QuantizeLinear", ["b", *pair], "c", per_channel),
        ("DequantizeLinear", ["c", *pair], "y", per_channel),
    )
    # onnxruntime merges both pairs of the whole model to one, which rounds once instead of twice
    _check(model, release, atol=0.05)


def _check(model: bytes, release: str, atol: float = 0.0) -> None:
    x = np.random.default_rng(1).normal(size=session.create(model).input(0).shape).astype(np.float32)
    expected = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    with session.create(compile_model(model, compatibility=release)) as sess:
        np.testing.assert_allclose(sess.run(x)[0].numpy(), expected, rtol=0, atol=atol)


def test_latest_is_the_last_release():
    model = _of_one("Tanh", [1, 4])
    assert compile_model(model, compatibility="latest") == compile_model(model, compatibility="0.10")
    assert compile_model(model, compatibility="latest") != compile_model(model, compatibility="0.6.3")


def test_an_unknown_release():
    with pytest.raises(InvalidConfig, match=r"unknown compatibility '0\.7', known: 0\.6\.3, 0\.10, latest"):
        Compilation(b"", Options(compatibility="0.7"))


@pytest.mark.parametrize("release", ["0.6.3", "0.10"])
@pytest.mark.parametrize(("mode", "taken"), [("CRD", {"0.6.3", "0.10"}), ("DCR", {"0.10"})])
def test_blocks_of_pixels(mode, taken, release):
    model = _model(
        [1, 4, 2, 2],
        ("QuantizeLinear", ["x", "s", "z"], "a", {}),
        ("DequantizeLinear", ["a", "s", "z"], "b", {}),
        ("DepthToSpace", ["b"], "c", {"blocksize": 2, "mode": mode}),
        ("QuantizeLinear", ["c", "s", "z"], "d", {}),
        ("DequantizeLinear", ["d", "s", "z"], "y", {}),
        y=[1, 1, 4, 4],
    )
    assert _placed(model, release)["c"] == (("npu", []) if release in taken else ("host", ["block-mode"]))
