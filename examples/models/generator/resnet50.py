"""ResNet50-v1.5 (He et al., "Deep Residual Learning for Image Recognition", 2015; v1.5: the stride of a down-sampling
bottleneck is in its 3x3 convolution), as in MLPerf Inference v1 and v2, with torchvision's 1000 classes and paddings.

MLPerf's own TensorFlow export counts 1001 classes (one for the background) and ends in softmax and argmax; here the
output is the logits.
"""

from __future__ import annotations

from generator.moments import Moments
from generator.network import Network, Tensor

# Pixels in [0, 1], normalised with ImageNet's mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225).
IMAGENET_LOW, IMAGENET_HIGH = -0.485 / 0.229, (1.0 - 0.406) / 0.225
# Uniform noise over that range, which has a larger mean square than photographs (about 1).
IMAGENET_MOMENTS = Moments(0.0, 1.95)
# Std of a residual branch and of a projected shortcut: a trained network's branches, too, add less than they find.
RESIDUAL_STD, SHORTCUT_STD = 0.5, 0.8
# Output channels of the four stages' bottlenecks before the expansion by 4, and blocks in a stage.
_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
_EXPANSION = 4


def resnet50() -> Network:
    """input float32 [1, 3, 224, 224] (ImageNet normalisation) -> logits float32 [1, 1000]."""
    net = Network("resnet50")
    x = net.input("input", (1, 3, 224, 224), IMAGENET_LOW, IMAGENET_HIGH, IMAGENET_MOMENTS)
    x = net.conv(x, "conv1", 64, 7, stride=2)
    x = net.max_pool(x, "maxpool", 3, 2, [1, 1, 1, 1])
    for stage, (channels, blocks) in enumerate(_STAGES, start=1):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 1 else 1
            x = _bottleneck(net, x, f"layer{stage}.{block}", channels, stride, project=block == 0)
    x = net.global_average_pool(x, "avgpool")
    x = net.flatten(x, "flatten")
    net.result(net.dense(x, "logits", 1000, std=2.0))
    return net


def _bottleneck(net: Network, x: Tensor, name: str, channels: int, stride: int, project: bool) -> Tensor:
    """1x1 reduce, 3x3 (with the stride), 1x1 expand, plus the input or its projection."""
    y = net.conv(x, f"{name}.conv1", channels, 1)
    y = net.conv(y, f"{name}.conv2", channels, 3, stride)
    y = net.conv(y, f"{name}.conv3", _EXPANSION * channels, 1, activation="", std=RESIDUAL_STD)
    if project:
        x = net.conv(
            x, f"{name}.downsample", _EXPANSION * channels, 1, stride, activation="", std=SHORTCUT_STD
        )
    return net.add(y, x, f"{name}.add")
