"""``furiosa compare`` on whole models, small and real ones: every layer equals LiteRT's, bit for bit, on both targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from furiosa.runtime.compare.compare import compare
from tests.models import models

# those of which no layer is inside a host cluster
NAMES = [
    "mnist_mobilenet_v2_uint8",
    "mnistnet_uint8",
    "mobilenet_v2_1.0_224_quant",
    "split_concat",
    "tiny_ad_autoencoder_int8",
    "tiny_kws_dscnn_int8",
    "tiny_resnet8_int8",
    "tiny_vww_mobilenet_int8",
]


@pytest.mark.parametrize("target", ["warboy", "warboy-2pe"])
@pytest.mark.parametrize(
    "name", [n for n in models.names(*(f"{n}.tflite" for n in NAMES)) if n != "segmentation_int8"]
)
def test_every_layer_is_equal(tmp_path: Path, name: str, target: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(models.read(name))
    result = compare(str(path), target_npu=target)
    assert result.first_difference is None
    assert all(r.tally is not None for r in result.layers)
