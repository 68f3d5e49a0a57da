"""Small models of each kind: what the NPU does, with weights that stay there, on one thread and on two; what hosts do."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from generator.__main__ import build

from furiosa.compiler.frontend.onnx import testing as onnx_testing
from furiosa.compiler.frontend.tflite import testing as tflite_testing
from furiosa.compiler.pipeline import compile_model
from furiosa.enf import reader
from furiosa.runtime import session
from furiosa.runtime.simulator import machine


class Case(NamedTuple):
    """An ENF, inputs and what comes out; whether large commands are cut for two threads."""

    enf: bytes
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    is_cut: bool = False

    def create(self, **options: object) -> session.Session:
        """A session, for whose programs the case holds."""
        machine.PARALLEL_WORK = 0 if self.is_cut else 1 << 60
        return session.create(self.enf, **options)

    def check(self, sess: session.Session) -> None:
        """Runs once more; AssertionError: other numbers."""
        self.compare(sess.run(self.inputs).view())

    def compare(self, found: list[np.ndarray]) -> None:
        assert all(np.array_equal(a, b) for a, b in zip(found, self.outputs, strict=True)), "wrong numbers"


def _case(enf: bytes, *, is_cut: bool = False) -> Case:
    machine.PARALLEL_WORK = 1 << 60
    rng = np.random.default_rng(3)
    with session.create(enf) as sess:
        inputs = [
            rng.integers(-100, 100, d.shape).astype(d.numpy_dtype)
            if d.numpy_dtype.kind in "iu"
            else rng.standard_normal(d.shape).astype(d.numpy_dtype)
            for d in sess.inputs()
        ]
        outputs = [a.copy() for a in sess.run(inputs).view()]
    assert any(a.any() for a in outputs)
    return Case(enf, inputs, outputs, is_cut)


@cache
def conv() -> Case:
    """A convolution with weights that a setup loads once."""
    t = onnx_testing.tensor
    weights = np.random.default_rng(1).integers(-99, 99, (8, 8, 3, 3))
    enf = compile_model(
        onnx_testing.model(
            "g (float[1, 8, 4, 4] x) => (float[1, 8, 4, 4] y) { q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)"
            "  k = DequantizeLinear(w, f, z)  c = Conv<pads = [1, 1, 1, 1]>(d, k)  e = QuantizeLinear(c, s, z)"
            "  y = DequantizeLinear(e, s, z) }",
            t("w", weights, "int8"), t("s", 0.05, "float32"), t("f", 0.01, "float32"), t("z", 0, "int8"),
        )
    )  # fmt: skip
    assert reader.load(enf).plan.setup.count
    return _case(enf)


@cache
def tiny() -> Case:
    """A network of such."""
    return _case(compile_model(build("tiny", "int8").SerializeToString(deterministic=True)))


@cache
def onnx_host() -> Case:
    """A cluster under onnxruntime."""
    return _case(compile_model(onnx_testing.model("g (float[1, 8] x) => (float[1, 8] y) { y = Sinh(x) }")))


@cache
def tflite_host() -> Case:
    """A cluster under LiteRT."""
    b = tflite_testing.ModelBuilder()
    x, y = b.tensor("x", [1, 8], "float32"), b.tensor("y", [1, 8], "float32")
    b.operator("COS", [x], [y])
    return _case(compile_model(b.build([x], [y])))


CASES = {
    "NPU": conv,
    "NPU, two threads": lambda: conv()._replace(is_cut=True),
    "network": tiny,
    "network, two threads": lambda: tiny()._replace(is_cut=True),
    "onnxruntime": onnx_host,
    "LiteRT": tflite_host,
}
