"""Exports four networks of torchvision, with random weights, and quantises them by onnxruntime's quantize_static with its default options.

    python benchmarks/exported.py FOLDER

Then `python -m benchmarks.numerics --models FOLDER` writes what comes of them to docs/numerics.md.  Needs torch, torchvision, onnx, onnxscript, onnxruntime and
numpy, in an environment of their own: nothing else here does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from onnxruntime.quantization import CalibrationDataReader, quantize_static

NETWORKS = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x1_0", "vit_b_16")
SHAPE = (1, 3, 224, 224)
BATCHES, CALIBRATION = 2, 4  # of noise


class Noise(CalibrationDataReader):
    """Normal numbers, seeded."""

    def __init__(self) -> None:
        self._left = [
            np.random.default_rng(i).normal(0, 1, SHAPE).astype(np.float32) for i in range(CALIBRATION)
        ]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next sample; None after the last."""
        return {"input": self._left.pop(0)} if self._left else None


def network(name: str) -> torch.nn.Module:
    """With random weights, and in its batch normalisations the statistics of noise: else what follows would be all but zero."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).train()
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
    with torch.no_grad():
        for _ in range(BATCHES if norms else 0):
            net(torch.randn(4, *SHAPE[1:]))
    return net.eval()


def main(folder: Path) -> None:
    """Writes NETWORK.onnx and NETWORK_int8.onnx."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        exported, quantised = folder / f"{name}.onnx", folder / f"{name}_int8.onnx"
        example = (torch.zeros(SHAPE),)
        torch.onnx.export(
            network(name), example, str(exported), input_names=["input"], dynamo=True, external_data=False
        )
        quantize_static(str(exported), str(quantised), Noise())
        print(quantised, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
