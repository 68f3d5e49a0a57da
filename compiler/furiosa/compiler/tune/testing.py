"""Points and models for the tests of this folder."""

from __future__ import annotations

from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.compiler.tune.point import Point


def point(batch_size: int, throughput: float, **figures: object) -> Point:
    """A point of warboy that compiled."""
    figures = {"latency_us": batch_size * 10.0, "npu_us": batch_size * 5.0, "bound_by": "NPU"} | figures
    return Point("warboy", batch_size, throughput_per_s=throughput, **figures)


def mixing() -> bytes:
    """ONNX, float32: adds up its samples, so that only a batch of 1 is possible."""
    return model("g (float[1, 4] x) => (float[1, 4] y) { y = CumSum(x, zero) }", tensor("zero", 0, "int64"))
