"""Every operator of the shared real models, each fed with LiteRT's own tensors, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.models import models
from tests.reference import tflite_graph

# operators with 8-bit results that are computed by no rule of this folder
WITHOUT_RULE = {"GATHER_ND", "PACK", "SPLIT", "UNPACK"}
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all_tensors")
NAMES = [
    "deeplabv3_mnv2_dm05_quant",
    "mnist_mobilenet_v2_uint8",
    "mnistnet_uint8",
    "mobilenet_v2_1.0_224_ptq",
    "mobilenet_v2_1.0_224_quant",
    "movenet_lightning_ptq",
    "split_concat",
    "tiny_ad_autoencoder_int8",
    "tiny_kws_dscnn_int8",
    "tiny_resnet8_int8",
    "tiny_vww_mobilenet_int8",
]


def _inputs(path: Path) -> list[np.ndarray]:
    """Patches of random colours with noise: unlike pure noise, they reach all of an operator's output range."""
    rng, arrays = np.random.default_rng(0), []
    for detail in Interpreter(str(path)).get_input_details():
        shape, dtype = detail["shape"], detail["dtype"]
        if dtype == np.float32:
            arrays.append(rng.standard_normal(shape).astype(dtype))
            continue
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max + 1, shape)
        if len(shape) == 4:
            patches = x[:, : -(-shape[1] // 8), : -(-shape[2] // 8)].repeat(8, 1).repeat(8, 2)
            x = patches[:, : shape[1], : shape[2]] + rng.integers(-20, 21, shape)
        arrays.append(x.clip(info.min, info.max).astype(dtype))
    return arrays


@pytest.mark.parametrize("name", models.names(*(f"{name}.tflite" for name in NAMES)))
def test_every_operator(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(models.read(name))
    results = list(tflite_graph.compare(path, *_inputs(path)))
    assert [r for r in results if r.mismatches] == []
    without_rule = {r.operator for r in results if r.mismatches is None and r.dtype in ("int8", "uint8")}
    assert without_rule <= WITHOUT_RULE
    assert any(r.mismatches == 0 for r in results)


@pytest.mark.parametrize("name", models.names(*(f"{name}.tflite" for name in NAMES)))
def test_preserving_tensors_changes_no_result(tmp_path: Path, name: str) -> None:
    """The interpreter that keeps every tensor, which the comparison relies on, computes what the default one does."""
    path = tmp_path / "model.tflite"
    path.write_bytes(models.read(name))
    results = []
    for preserve in (False, True):
        interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=preserve)
        interpreter.allocate_tensors()
        for detail, array in zip(interpreter.get_input_details(), _inputs(path), strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        results.append([interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()])
    for plain, preserved in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, preserved)
