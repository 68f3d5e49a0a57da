"""Small float networks and their samples, for tests."""

from __future__ import annotations

import numpy as np
import onnx

from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.quantizer.graph.load import load
from furiosa.quantizer.samples import Sample


def network(seed: int = 0) -> bytes:
    """A classifier "x" [1, 3, 16, 16] -> "y" [1, 5]: stem, depthwise, residual, SiLU, pools, a dense layer and Softmax."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)

    text = """network (float[1,3,16,16] x) => (float[1,5] y) {
        c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
        n1 = BatchNormalization(c1, gamma, beta, mean, variance)
        r1 = Relu(n1)
        d1 = Conv<group=8, pads=[1,1,1,1]>(r1, w2)
        k1 = Clip(d1, zero, six)
        c2 = Conv(k1, w3, b3)
        a1 = Add(c2, r1)
        s1 = Sigmoid(a1)
        m1 = Mul(a1, s1)
        p1 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(m1)
        g1 = GlobalAveragePool(p1)
        f1 = Flatten(g1)
        l1 = Gemm<transB=1>(f1, w4, b4)
        y = Softmax<axis=1>(l1)
    }"""
    constants = {
        "w1": weights(8, 3, 3, 3),
        "b1": weights(8),
        "gamma": np.abs(weights(8)) + 0.5,
        "beta": weights(8),
        "mean": weights(8),
        "variance": np.abs(weights(8)) + 0.5,
        "w2": weights(8, 1, 3, 3),
        "zero": np.float32(0),
        "six": np.float32(6),
        "w3": weights(8, 8, 1, 1),
        "b3": weights(8),
        "w4": weights(5, 8),
        "b4": weights(5),
    }
    data = model(text, *(tensor(n, v, np.float32) for n, v in constants.items()), opset=13)
    onnx.checker.check_model(data)
    return data


def samples(data: bytes, count: int = 8, seed: int = 1, *, outlier: float | None = 12) -> list[Sample]:
    """Normal numbers for each input of a model, in each fourth sample with an outlier."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        sample = {t.name: rng.standard_normal(t.shape).astype(np.float32) for t in load(data).inputs}
        if i % 4 == 0 and outlier is not None:
            next(iter(sample.values())).flat[0] = outlier
        out.append(Sample(f"sample {i + 1}", sample))
    return out


def signal_to_noise(expected: list[np.ndarray], got: list[np.ndarray]) -> float:
    """Decibels."""
    signal = sum(float((a.astype(np.float64) ** 2).sum()) for a in expected)
    noise = sum(float(((a.astype(np.float64) - b) ** 2).sum()) for a, b in zip(expected, got, strict=True))
    return 10 * np.log10(signal / noise) if noise else np.inf
