"""The models by name: each is made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.models.network import RELU, Network

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"


def mobilenet(dtype: str) -> bytes:
    """Inverted residuals, as MobileNetV2 has them, then a classifier."""
    n = Network(1, dtype)
    x = n.conv(n.input((1, 32, 32, 3)), 16, 3, 2)
    for channels, stride in ((24, 2), (24, 1), (32, 2), (32, 1)):
        y = n.conv(n.depthwise(n.conv(x, 48, 1), 3, stride), channels, 1, function=0)
        x = n.add(x, y) if stride == 1 else y
    x = n.mean(n.conv(x, 64, 1))
    return n.build(n.softmax(n.dense(x, 10)))


def keywords() -> bytes:
    """A DS-CNN: depthwise separable layers over [49, 10] features, average pooling."""
    n = Network(2)
    x = n.conv(n.input((1, 50, 10, 1)), 32, 3, 2, RELU)
    for _ in range(3):
        x = n.conv(n.depthwise(x), 32, 1, function=RELU)
    x = n.pool(x, "AVERAGE_POOL_2D", 5)
    return n.build(n.softmax(n.dense(n.reshape(x, (1, 160)), 12)))


def residual() -> bytes:
    """Residual blocks with a projection, as ResNet has them."""
    n = Network(3)
    x = n.conv(n.input((1, 32, 32, 3)), 16, 3, function=RELU)
    for channels, stride in ((16, 1), (32, 2)):
        y = n.conv(n.conv(x, channels, 3, stride, RELU), channels, 3, function=0)
        x = n.add(x if stride == 1 else n.conv(x, channels, 1, stride, 0), y)
    x = n.pool(x, "MAX_POOL_2D", 16)
    return n.build(n.dense(n.reshape(x, (1, 32)), 10))


def autoencoder() -> bytes:
    """Fully connected layers only."""
    n = Network(4)
    x = n.input((1, 64))
    for units in (32, 32, 8, 32, 32):
        x = n.dense(x, units, RELU)
    return n.build(n.dense(x, 64))


def split_concat() -> bytes:
    """Splits and concatenations."""
    n = Network(5, "uint8")
    a, b, c = n.split(n.input((1, 12, 12, 12)), 3)
    return n.build(n.concatenate(c, a), b)


def segmentation() -> bytes:
    """A float32 input, branches at two resolutions, and labels of each pixel, which the host computes."""
    n = Network(6)
    x = n.conv(n.real_input((1, 24, 24, 3)), 16, 3, 2)
    y = n.resize(n.conv(n.depthwise(x, 3, 2), 16, 1, function=0), 12, 12)
    z = n.conv(n.add(n.conv(x, 16, 1, function=0), y), 5, 1, function=0)
    return n.build(n.argmax(n.resize(z, 24, 24)))


GENERATED: dict[str, Callable[[], bytes]] = {
    "mobilenet_uint8": lambda: mobilenet("uint8"),
    "mobilenet_int8": lambda: mobilenet("int8"),
    "keywords_int8": keywords,
    "residual_int8": residual,
    "autoencoder_int8": autoencoder,
    "split_concat_uint8": split_concat,
    "segmentation_int8": segmentation,
}


def names(*shared: str) -> list[str]:
    """The generated models, and of the files of ../shared/models that are named those that are there."""
    return [*GENERATED, *(name for name in shared if (SHARED / name).is_file())]


def read(name: str) -> bytes:
    """The bytes of a model of ``names``."""
    return GENERATED[name]() if name in GENERATED else (SHARED / name).read_bytes()
