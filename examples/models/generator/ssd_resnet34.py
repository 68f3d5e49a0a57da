"""SSD-ResNet34 at 1200x1200, as in MLPerf Inference v0.5 to v2 (mlcommons/inference,
v0.5/classification_and_detection/python/models/ssd_r34.py and base_model_r34.py).

The backbone is ResNet34 up to its third stage, with that stage's stride taken out; five pairs of 1x1 and 3x3
convolutions (bias, no batch normalisation) follow; a box head and a class head, both 3x3 with stride 3, read each of
the six feature maps. The outputs are the heads' raw values, as they enter MLPerf's post-processing: softmax over the
classes, box decoding and non-maximum suppression are not part of this graph.
"""

from __future__ import annotations

from generator.network import Network, Tensor
from generator.resnet50 import IMAGENET_HIGH, IMAGENET_LOW, IMAGENET_MOMENTS, RESIDUAL_STD, SHORTCUT_STD

_CLASSES = 81  # COCO's 80 and the background
_BOX_COORDINATES = 4
# Channels, blocks and stride of the backbone's stages.
_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 1))
# Channels of the 1x1 and of the 3x3 convolution, stride and padding of the latter.
_EXTRAS = ((256, 512, 2, 1), (256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 2, 0), (128, 256, 1, 0))
_DEFAULT_BOXES = (4, 6, 6, 6, 4, 4)  # a position, in each feature map
_HEAD_STRIDE = 3


def ssd_resnet34() -> Network:
    """input float32 [1, 3, 1200, 1200] (ImageNet normalisation) -> box deltas float32 [1, 4, 15130] and class logits
    float32 [1, 81, 15130]."""
    net = Network("ssd_resnet34")
    x = net.input("input", (1, 3, 1200, 1200), IMAGENET_LOW, IMAGENET_HIGH, IMAGENET_MOMENTS)
    x = net.conv(x, "conv1", 64, 7, stride=2)
    x = net.max_pool(x, "maxpool", 3, 2, [1, 1, 1, 1])
    for stage, (channels, blocks, stride) in enumerate(_STAGES, start=1):
        for block in range(blocks):
            x = _basic_block(net, x, f"layer{stage}.{block}", channels, stride if block == 0 else 1)
    feature_maps = [x]
    for index, (middle, channels, stride, padding) in enumerate(_EXTRAS):
        x = net.conv(x, f"extra{index}.conv1", middle, 1, batch_norm=False)
        x = net.conv(x, f"extra{index}.conv2", channels, 3, stride, [padding] * 4, batch_norm=False)
        feature_maps.append(x)
    _heads(net, feature_maps, "boxes", _BOX_COORDINATES, std=1.0)
    _heads(net, feature_maps, "scores", _CLASSES, std=2.0)
    return net


def _basic_block(net: Network, x: Tensor, name: str, channels: int, stride: int) -> Tensor:
    """Two 3x3 convolutions, plus the input or, where the shape changes, its projection."""
    y = net.conv(x, f"{name}.conv1", channels, 3, stride)
    y = net.conv(y, f"{name}.conv2", channels, 3, activation="", std=RESIDUAL_STD)
    if x.shape != y.shape:
        x = net.conv(x, f"{name}.downsample", channels, 1, stride, activation="", std=SHORTCUT_STD)
    return net.add(y, x, f"{name}.add")


def _heads(net: Network, feature_maps: list[Tensor], name: str, values: int, std: float) -> None:
    """Output [1, values, all default boxes]: each head [1, boxes * values, h, w] is viewed as [1, values, boxes * h * w],
    as MLPerf's model does."""
    parts = []
    for index, (x, boxes) in enumerate(zip(feature_maps, _DEFAULT_BOXES, strict=True)):
        head = net.conv(
            x, f"{name}{index}", boxes * values, 3, _HEAD_STRIDE, activation="", batch_norm=False, std=std
        )
        count = boxes * head.shape[2] * head.shape[3]
        parts.append(net.reshape(head, f"{name}{index}.view", (1, values, count)))
    net.result(net.concat(parts, name, axis=2))
