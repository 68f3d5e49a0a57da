"""A batch of N on the simulator equals N single runs, bit for bit; session and ENF agree on the batch size."""

from __future__ import annotations

import numpy as np
import pytest
from generator.__main__ import build

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.pipeline import Compilation, Options, compile_model
from furiosa.enf import reader
from furiosa.runtime import session
from furiosa.runtime.errors import CompilationFailed, IncompatibleModel
from tests.models import models
from tests.reference import onnx_op, tflite_op

FILES = (
    "mnist_8_float.onnx",
    "mnist_mobilenet_v2_uint8.tflite",
    "mnistnet_uint8.tflite",
    "named_tensors.onnx",
    "quantized_i8_conv_truncated.onnx",
    "split_concat.tflite",
    "tiny_ad_autoencoder_int8.tflite",
    "tiny_kws_dscnn_int8.tflite",
    "tiny_resnet8_int8.tflite",
    "tiny_vww_mobilenet_float.tflite",
    "tiny_vww_mobilenet_int8.tflite",
)


def _read(name: str) -> bytes:
    if " " in name:
        return build(*name.split()).SerializeToString(deterministic=True)
    return models.read(name)


def _noise(desc: object, rng: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(desc.numpy_dtype)
    if dtype.kind == "f":
        return rng.standard_normal(desc.shape).astype(dtype)
    return rng.integers(0, 100, desc.shape).astype(dtype)


@pytest.mark.parametrize("name", [*models.names(*FILES), "tiny int8", "tiny float32"])
def test_batch_equals_single_runs(name: str) -> None:
    model = _read(name)
    rng = np.random.default_rng(0)
    with session.create(model) as one:
        samples = [[_noise(d, rng) for d in one.inputs()] for _ in range(8)]
        singles = [[t.numpy() for t in one.run(sample)] for sample in samples]
        shapes = [d.shape for d in one.inputs()]
    for n in (2, 3, 8):
        enf = compile_model(model, batch_size=n)
        assert reader.load(enf).metadata.batch_size == n
        with session.create(model, batch_size=n) as direct, session.create(enf, batch_size=n) as sess:
            assert direct.batch_size == sess.batch_size == n
            assert [d.shape for d in sess.inputs()] == [(n * s[0], *s[1:]) for s in shapes]
            inputs = [np.concatenate(parts) for parts in zip(*samples[:n])]
            for batched in (sess.run(inputs), direct.run(inputs)):
                for t, parts in zip(batched, zip(*singles[:n]), strict=True):
                    np.testing.assert_array_equal(t.numpy(), np.concatenate(parts))


def test_an_enf_of_another_batch_size_is_refused(tiny_model: bytes) -> None:
    enf = compile_model(tiny_model, batch_size=2)
    with pytest.raises(IncompatibleModel, match="compiled for batch size 2, but batch_size is 3"):
        session.create(enf, batch_size=3)


def test_an_impossible_batch_is_refused_with_the_tensor() -> None:
    x, y = onnx_op.Operand((2, 3), "int8", 0.5, 0), onnx_op.Operand((3, 2), "int8", 0.5, 0)
    model = onnx_op.build_qdq("Transpose", [x], y, perm=[1, 0])
    with pytest.raises(InvalidModel, match='batch size 2 is impossible for the tensor "y"'):
        compile_model(model, batch_size=2)
    with pytest.raises(CompilationFailed, match='batch size 2 is impossible for the tensor "y"'):
        session.create(model, batch_size=2)


LIMITED = {
    "Softmax": lambda x, y: onnx_op.build_qdq("Softmax", [x], y, axis=-1),
    "LpNormalization": lambda x, y: onnx_op.build_qdq("LpNormalization", [x], y, axis=1, p=2),
    "SOFTMAX": lambda x, y: tflite_op.build(
        "SOFTMAX", [x], y, tflite_op.options("SoftmaxOptions", beta=1.0), 2
    ),
    "L2_NORMALIZATION": lambda x, y: tflite_op.build(
        "L2_NORMALIZATION", [x], y, tflite_op.options("L2NormOptions"), 2
    ),
}


@pytest.mark.parametrize("op_type", LIMITED)
def test_a_batch_of_more_than_two_runs_on_the_host(op_type: str) -> None:
    """The vendor's limit is about the batch that runs, wherever it comes from."""
    operand = tflite_op.Operand if op_type.isupper() else onnx_op.Operand
    output = (1 / 128, 0) if "Norm" in op_type or "NORM" in op_type else (1 / 256, -128)
    for own, times, place in ((1, 1, "npu"), (1, 2, "npu"), (2, 1, "npu"), (1, 3, "host"), (2, 2, "host")):
        shape = (own, 10)
        model = LIMITED[op_type](operand(shape, "int8", 0.1, 3), operand(shape, "int8", *output))
        compiled = Compilation(model, Options(batch_size=times)).run("ldfg")
        found = {v.placed_on for op, v in compiled.ldfg.verdicts.items() if op.op_type == op_type}
        assert found == {place}, (own, times)
