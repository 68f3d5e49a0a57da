"""Tests of the finished files: published counts, published interfaces, reproducible bytes."""

from __future__ import annotations

import hashlib

import onnx
import pytest

from generator.__main__ import MODELS, PRECISIONS, build
from generator.count import count

# Multiply-accumulates of one inference, counted and published.
#   resnet50: torchvision, ResNet50_Weights: 4.09 GFLOPS (there one multiply-accumulate); MLPerf: 8.2 G operations.
#   ssd_mobilenet: MLPerf 2.47 G operations; Open Model Zoo, ssd_mobilenet_v1_coco: 2.494 GFLOPs with all operators.
#   ssd_resnet34: MLPerf 433 G operations; Open Model Zoo, ssd-resnet34-1200-onnx: 433.411 GFLOPs with all operators.
# MLPerf = Reddi et al., "MLPerf Inference Benchmark", arXiv 1911.02549, table of tasks.
MACS = {
    "resnet50": 4_089_184_256,
    "ssd_mobilenet": 1_237_129_408,
    "ssd_resnet34": 216_415_931_904,
    "tiny": 5_624_448,
}
PUBLISHED_OPERATIONS = {"resnet50": 8.2e9, "ssd_mobilenet": 2.47e9, "ssd_resnet34": 433e9}

# Trained elements of the float32 file. resnet50: torchvision publishes exactly this (num_params of ResNet50_Weights).
PARAMETERS = {"resnet50": 25_557_032, "ssd_mobilenet": 6_819_839, "ssd_resnet34": 19_972_534, "tiny": 38_986}
# Weights and biases with batch normalisation folded in, and bytes of the int8 weights alone.
FOLDED_PARAMETERS = {
    "resnet50": 25_530_472,
    "ssd_mobilenet": 6_807_167,
    "ssd_resnet34": 19_967_606,
    "tiny": 38_794,
}
INT8_WEIGHT_BYTES = {
    "resnet50": 25_502_912,
    "ssd_mobilenet": 6_791_360,
    "ssd_resnet34": 19_957_440,
    "tiny": 38_592,
}

# Open Model Zoo, MParams. Its SSD-ResNet34 holds its post-processing's constants, six a default box.
PUBLISHED_MILLIONS = {"ssd_mobilenet": (6.807, 0), "ssd_resnet34": (20.058, 6 * 15_130)}
# Size in bytes of the vendor's float32 ONNX files (furiosa-models, 0.10.1), which have batch normalisation folded in.
VENDOR_FILE_BYTES = {"resnet50": 102_178_169, "ssd_mobilenet": 27_274_088, "ssd_resnet34": 79_927_045}

INPUTS = {
    "resnet50": {"input": [1, 3, 224, 224]},
    "ssd_mobilenet": {"input": [1, 3, 300, 300]},
    "ssd_resnet34": {"input": [1, 3, 1200, 1200]},
    "tiny": {"input": [1, 3, 32, 32]},
}
OUTPUTS = {
    "resnet50": {"logits": [1, 1000]},
    "ssd_mobilenet": {"boxes": [1, 1917, 4], "scores": [1, 1917, 91]},
    "ssd_resnet34": {"boxes": [1, 4, 15130], "scores": [1, 81, 15130]},
    "tiny": {"logits": [1, 10]},
}

# The bytes of every file, so that a difference between machines or library versions is seen.
SHA256 = {
    ("resnet50", "float32"): "38b4a6fdff4d0acf3ced8b2aa3f8a0c29bce9cd3dbfd36573ffd029d682b6557",
    ("resnet50", "int8"): "50148858f6442674d47181bbd05e1a8100d7ed3f401721e6ff5889aea6ead468",
    ("ssd_mobilenet", "float32"): "429cd2f292152586e9153b21c7bcb4c6f7ae8332179e4fca5cf539e53dc53826",
    ("ssd_mobilenet", "int8"): "f87f2d72b7fbc4265199cd55aa611dcb0637e951ad4f4c310255d69dfc2f014f",
    ("ssd_resnet34", "float32"): "afc88ed40009882ae2f567f6c7fc1bf56bc134935ccb2c4fbf85168ed80cda46",
    ("ssd_resnet34", "int8"): "6f4d550ee22432fee405963d1ee18b377cdfbfa2aab9131a30032802d72e4045",
    ("tiny", "float32"): "313a27bd9f3acaea39d9a81906d5e39bcd633361af5a2cbc06232127860a22af",
    ("tiny", "int8"): "0d8c4bfff8a87921794abacf252ce5a0a949ba76629314859d9da272d6bbb4a4",
}


@pytest.fixture(scope="module", params=[(m, p) for m in MODELS for p in PRECISIONS], ids="-".join)
def built(request):
    """(model name, precision, ModelProto), each built once."""
    model, precision = request.param
    return model, precision, build(model, precision)


def _interface(values):
    assert all(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for value in values)
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}


def test_valid_onnx(built):
    model, _, proto = built
    onnx.checker.check_model(proto, full_check=True)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 13)]
    assert _interface(proto.graph.input) == INPUTS[model]
    assert _interface(proto.graph.output) == OUTPUTS[model]


def test_counts(built):
    model, precision, proto = built
    counts = count(proto)
    assert counts.macs == MACS[model]
    if precision == "float32":
        assert counts.parameters == PARAMETERS[model]
    else:
        assert counts.parameters == FOLDED_PARAMETERS[model]
        assert counts.weight_bytes == INT8_WEIGHT_BYTES[model]


def test_bytes(built):
    model, precision, proto = built
    data = proto.SerializeToString(deterministic=True)
    assert hashlib.sha256(data).hexdigest() == SHA256[model, precision]


@pytest.mark.parametrize("model", PUBLISHED_OPERATIONS)
def test_macs_are_the_published_ones(model):
    assert 2 * MACS[model] == pytest.approx(PUBLISHED_OPERATIONS[model], rel=0.003)


@pytest.mark.parametrize("model", PUBLISHED_MILLIONS)
def test_parameters_are_the_published_ones(model):
    millions, post_processing = PUBLISHED_MILLIONS[model]
    assert round((FOLDED_PARAMETERS[model] + post_processing) / 1e6, 3) == millions


@pytest.mark.parametrize("model", VENDOR_FILE_BYTES)
def test_parameters_fill_the_vendors_files(model):
    """What the vendor's file holds besides four bytes a parameter, its graph, is small."""
    graph_bytes = VENDOR_FILE_BYTES[model] - 4 * FOLDED_PARAMETERS[model]
    assert 0 < graph_bytes < 60_000
