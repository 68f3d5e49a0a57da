"""SSD-MobileNet-v1 at 300x300, as in MLPerf Inference v0.5 to v2 (mlcommons/inference,
vision/classification_and_detection/python/models/ssd_mobilenet_v1.py, after TensorFlow's object-detection model
ssd_mobilenet_v1_coco).

The backbone is MobileNet-v1 without its classifier (Howard et al., 2017); four pairs of 1x1 and 3x3 convolutions
follow; a box head and a class head, both 1x1, read each of six feature maps. Batch normalisation and Relu6 are
everywhere but in the heads. The outputs are the heads' raw values: sigmoid, box decoding and non-maximum suppression
are not part of this graph.
"""

from __future__ import annotations

from generator.moments import Moments
from generator.network import Network, Tensor

_CLASSES = 91  # COCO's category numbers 1 to 90 and the background
_BOX_COORDINATES = 4
# Output channels and stride of the thirteen depthwise-separable layers.
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_FEATURE_BLOCKS = (11, 13)  # the blocks, counted from 1, whose output the heads read
_EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))  # channels of the 1x1 and of the 3x3 convolution
_DEFAULT_BOXES = (3, 6, 6, 6, 6, 6)  # a position, in each feature map
# Puts Relu6's upper bound at four times the std.
_STD = 1.5


def ssd_mobilenet() -> Network:
    """input float32 [1, 3, 300, 300] in [-1, 1] -> box deltas float32 [1, 1917, 4] and class logits float32
    [1, 1917, 91]."""
    net = Network("ssd_mobilenet")
    x = net.input("input", (1, 3, 300, 300), -1.0, 1.0, Moments(0.0, 1 / 3))
    x = _conv(net, x, "conv0", 32, 3, 2)
    feature_maps = []
    for index, (channels, stride) in enumerate(_BLOCKS, start=1):
        x = _conv(net, x, f"conv{index}.depthwise", x.shape[1], 3, stride, depthwise=True)
        x = _conv(net, x, f"conv{index}.pointwise", channels, 1, 1)
        if index in _FEATURE_BLOCKS:
            feature_maps.append(x)
    for index, (middle, channels) in enumerate(_EXTRAS):
        x = _conv(net, x, f"extra{index}.conv1", middle, 1, 1)
        x = _conv(net, x, f"extra{index}.conv2", channels, 3, 2)
        feature_maps.append(x)
    _heads(net, feature_maps, "boxes", _BOX_COORDINATES, std=1.0)
    _heads(net, feature_maps, "scores", _CLASSES, std=2.0)
    return net


def _conv(
    net: Network, x: Tensor, name: str, channels: int, kernel: int, stride: int, depthwise: bool = False
) -> Tensor:
    """A convolution with TensorFlow's SAME padding, where the odd row and column come last."""
    pads_height, pads_width = (_same_padding(size, kernel, stride) for size in x.shape[2:])
    pads = [pads_height[0], pads_width[0], pads_height[1], pads_width[1]]
    return net.conv(
        x, name, channels, kernel, stride, pads, depthwise=depthwise, activation="Relu6", std=_STD
    )


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after, so that the output has ceil(size / stride) elements."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _heads(net: Network, feature_maps: list[Tensor], name: str, values: int, std: float) -> None:
    """Output [1, all default boxes, values]: each head [1, boxes * values, h, w] goes to NHWC and then to
    [1, h * w * boxes, values]."""
    parts = []
    for index, (x, boxes) in enumerate(zip(feature_maps, _DEFAULT_BOXES, strict=True)):
        head = net.conv(x, f"{name}{index}", boxes * values, 1, activation="", batch_norm=False, std=std)
        nhwc = net.transpose(head, f"{name}{index}.nhwc", [0, 2, 3, 1])
        count = head.shape[2] * head.shape[3] * boxes
        parts.append(net.reshape(nhwc, f"{name}{index}.view", (1, count, values)))
    net.result(net.concat(parts, name, axis=1))
