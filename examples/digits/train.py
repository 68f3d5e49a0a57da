"""Trains the network of this example on scikit-learn's handwritten digits, and writes the model and its samples.

    pip install scikit-learn && python examples/digits/train.py examples/digits

The files are checked in, so nobody needs scikit-learn to build the example. NumPy alone trains: two convolutions with a residual between, a pool and a dense layer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

EPOCHS, BATCH, RATE = 60, 32, 3e-3
CALIBRATION, TEST = 200, 397  # images; 1,200 are left to train with
Parameters = dict[str, np.ndarray]


def patches(x: np.ndarray) -> np.ndarray:
    """[N, C, H, W] -> [N, H, W, C * 9]: the 3x3 surroundings of each pixel, zeros outside."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(*windows.shape[:1], *windows.shape[2:4], -1)


def unpatched(d: np.ndarray, channels: int) -> np.ndarray:
    """The gradient of ``patches``."""
    n, h, w, _ = d.shape
    d = d.reshape(n, h, w, channels, 3, 3)
    padded = np.zeros((n, channels, h + 2, w + 2))
    for i in range(3):
        for j in range(3):
            padded[:, :, i : i + h, j : j + w] += d[..., i, j].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The result, and the patches for the gradient."""
    p = patches(x)
    return (p @ w.reshape(len(w), -1).T + b).transpose(0, 3, 1, 2), p


def forward(x: np.ndarray, p: Parameters) -> tuple[np.ndarray, tuple]:
    """Scores [N, 10] of images [N, 1, 8, 8], and what ``backward`` needs."""
    c1, p1 = conv(x, p["w1"], p["b1"])
    r1 = np.maximum(c1, 0)
    c2, p2 = conv(r1, p["w2"], p["b2"])
    a = np.maximum(c2 + r1, 0)
    n, c, h, w = a.shape
    blocks = (
        a.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    )
    pooled = blocks.max(-1)
    flat = pooled.reshape(n, -1)
    return flat @ p["w3"].T + p["b3"], (p1, c1, p2, a, blocks, pooled, flat)


def backward(d: np.ndarray, kept: tuple, p: Parameters) -> Parameters:
    """Gradients of the parameters, from that of the scores."""
    p1, c1, p2, a, blocks, pooled, flat = kept
    n, c, h, w = a.shape
    g: Parameters = {"w3": d.T @ flat, "b3": d.sum(0)}
    first = np.arange(4) == blocks.argmax(-1)[..., None]
    db = (d @ p["w3"]).reshape(pooled.shape)[..., None] * first
    da = db.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(a.shape) * (a > 0)
    d2 = da.transpose(0, 2, 3, 1)
    g["w2"] = np.einsum("nhwo,nhwk->ok", d2, p2).reshape(p["w2"].shape)
    g["b2"] = d2.sum((0, 1, 2))
    d1 = (da + unpatched(d2 @ p["w2"].reshape(c, -1), c)) * (c1 > 0)
    d1 = d1.transpose(0, 2, 3, 1)
    g["w1"] = np.einsum("nhwo,nhwk->ok", d1, p1).reshape(p["w1"].shape)
    g["b1"] = d1.sum((0, 1, 2))
    return g


def train(x: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Parameters:
    """Adam on the cross entropy, images moved by up to a pixel."""
    c = 16
    p = {
        "w1": rng.standard_normal((c, 1, 3, 3)) * (2 / 9) ** 0.5,
        "b1": np.zeros(c),
        "w2": rng.standard_normal((c, c, 3, 3)) * (1 / (9 * c)) ** 0.5,
        "b2": np.zeros(c),
        "w3": rng.standard_normal((10, c * 16)) * (1 / (16 * c)) ** 0.5,
        "b3": np.zeros(10),
    }
    mean, square = ({n: np.zeros_like(v) for n, v in p.items()} for _ in range(2))
    step = 0
    for epoch in range(EPOCHS):
        order = rng.permutation(len(x))
        rate = RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            images = np.roll(x[rows], rng.integers(-1, 2, 2), (2, 3))
            scores, kept = forward(images, p)
            likely = np.exp(scores - scores.max(1, keepdims=True))
            likely /= likely.sum(1, keepdims=True)
            d = (likely - np.eye(10)[labels[rows]]) / len(rows)
            step += 1
            for name, g in backward(d, kept, p).items():
                mean[name] = 0.9 * mean[name] + 0.1 * g
                square[name] = 0.999 * square[name] + 0.001 * g**2
                p[name] = p[name] * (1 - 1e-4) - rate * (mean[name] / (1 - 0.9**step)) / (
                    np.sqrt(square[name] / (1 - 0.999**step)) + 1e-8
                )
    return p


def model(p: Parameters) -> onnx.ModelProto:
    """The network as ONNX: "image" [1, 1, 8, 8], values 0 to 1, to "digit" [1, 10]."""
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv1", **window),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", **window),
        helper.make_node("Add", ["c2", "r1"], ["sum"], "add"),
        helper.make_node("Relu", ["sum"], ["r2"], "relu2"),
        helper.make_node("MaxPool", ["r2"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["scores"], "dense", transB=1),
        helper.make_node("Softmax", ["scores"], ["digit"], "softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("digit", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in p.items()],
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="examples/digits"
    )
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made


def main(folder: Path) -> None:
    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    x, labels = x[order], labels[order]
    first = len(x) - TEST - CALIBRATION
    p = train(x[:first], labels[:first], rng)
    scores, _ = forward(x[-TEST:], p)
    print(
        f"accuracy on {TEST} images that it has not seen: {(scores.argmax(1) == labels[-TEST:]).mean():.4f}"
    )
    (folder / "digits.onnx").write_bytes(model(p).SerializeToString(deterministic=True))
    np.savez_compressed(folder / "calibration.npz", image=x[first : first + CALIBRATION])
    np.savez_compressed(folder / "test.npz", image=x[-TEST:], labels=labels[-TEST:])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
