"""Tiny: a 32x32 classifier of eleven layers that has every kind of layer of the big models, for quick tests."""

from __future__ import annotations

from generator.moments import Moments
from generator.network import Network


def tiny() -> Network:
    """input float32 [1, 3, 32, 32] in [-1, 1] -> logits float32 [1, 10]."""
    net = Network("tiny")
    x = net.input("input", (1, 3, 32, 32), -1.0, 1.0, Moments(0.0, 1 / 3))
    x = net.conv(x, "conv1", 16, 3, stride=1)
    x = net.conv(
        x, "conv2_depthwise", 16, 3, stride=2, pads=[0, 0, 1, 1], depthwise=True, activation="Relu6", std=1.5
    )
    x = shortcut = net.conv(x, "conv2_pointwise", 32, 1)
    x = net.conv(x, "conv3", 32, 3)
    x = net.conv(x, "conv4", 32, 3, activation="")
    x = net.add(x, shortcut, "add")
    x = net.max_pool(x, "pool", 3, 2, [1, 1, 1, 1])
    x = net.conv(x, "conv5", 64, 3, stride=2)
    x = net.global_average_pool(x, "average")
    x = net.flatten(x, "flatten")
    net.result(net.dense(x, "logits", 10, std=2.0))
    return net
