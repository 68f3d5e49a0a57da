"""Tests of the network description: shapes and refusals."""

from __future__ import annotations

import pytest

from generator.moments import Moments
from generator.network import Network
from generator.resnet50 import resnet50
from generator.ssd_mobilenet import ssd_mobilenet
from generator.ssd_resnet34 import ssd_resnet34


def _network():
    net = Network("test")
    return net, net.input("input", (1, 3, 9, 8), -1.0, 1.0, Moments(0.0, 1 / 3))


def _shapes(network):
    return {layer.output.name: layer.output.shape for layer in network.layers}


def test_convolution_shapes():
    net, x = _network()
    assert net.conv(x, "same", 4, 3).shape == (1, 4, 9, 8)
    assert net.conv(x, "half", 4, 3, stride=2).shape == (1, 4, 5, 4)
    assert net.conv(x, "one_sided", 4, 3, stride=2, pads=[0, 0, 1, 1]).shape == (1, 4, 4, 4)
    assert net.max_pool(x, "pool", 3, 2, [1, 1, 1, 1]).shape == (1, 3, 5, 4)


def test_reshape_refuses_another_size():
    net, x = _network()
    with pytest.raises(ValueError, match="cannot reshape"):
        net.reshape(x, "r", (1, 5))


def test_concat_refuses_other_ranges():
    net, x = _network()
    with pytest.raises(ValueError, match="different ranges"):
        net.concat([x, net.conv(x, "c", 3, 1)], "joined", axis=1)


def test_resnet50_strides_are_those_of_version_1_5():
    """v1.5: the 3x3 convolution of a stage's first block carries the stride (the original: the first 1x1)."""
    strides = {layer.output.name: layer.attributes.get("strides") for layer in resnet50().layers}
    assert [name for name, stride in strides.items() if stride == [2, 2]] == [
        "conv1", "maxpool",
        "layer2.0.conv2", "layer2.0.downsample",
        "layer3.0.conv2", "layer3.0.downsample",
        "layer4.0.conv2", "layer4.0.downsample",
    ]  # fmt: skip


def test_ssd_mobilenet_feature_maps():
    """19, 10, 5, 3, 2 and 1 positions a side: TensorFlow's ssd_mobilenet_v1 at 300x300."""
    shapes = _shapes(ssd_mobilenet())
    assert [shapes[f"scores{i}"] for i in range(6)] == [
        (1, 273, 19, 19), (1, 546, 10, 10), (1, 546, 5, 5), (1, 546, 3, 3), (1, 546, 2, 2), (1, 546, 1, 1),
    ]  # fmt: skip
    assert (shapes["boxes"], shapes["scores"]) == ((1, 1917, 4), (1, 1917, 91))


def test_ssd_resnet34_feature_maps():
    """The twelve shapes of the vendor's SSD-ResNet34 outputs (furiosa-ai/furiosa-models, docs/models/ssd_resnet34.md;
    its fourth and fifth class shapes are those of MLPerf's dboxes_R34_coco: 7 and 3 positions a side)."""
    shapes = _shapes(ssd_resnet34())
    sides, boxes = (50, 25, 13, 7, 3, 3), (4, 6, 6, 6, 4, 4)
    for index, (side, count) in enumerate(zip(sides, boxes, strict=True)):
        assert shapes[f"scores{index}"] == (1, 81 * count, side, side)
        assert shapes[f"boxes{index}"] == (1, 4 * count, side, side)
    assert (shapes["boxes"], shapes["scores"]) == ((1, 4, 15130), (1, 81, 15130))
