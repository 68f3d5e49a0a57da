"""Output shapes of the detection operator against the reference runtime, and its options against flatbuffers' own."""

from __future__ import annotations

import random

import numpy as np
import pytest
from flatbuffers import flexbuffers

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite import custom
from furiosa.compiler.frontend.tflite.extract import extract
from furiosa.compiler.frontend.tflite.importer import import_tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, random_inputs, run

OPTIONS = {
    "max_detections": 5, "max_classes_per_detection": 2, "detections_per_class": 300, "use_regular_nms": False, "num_classes": 3,
    "nms_score_threshold": 1e-8, "nms_iou_threshold": 0.6, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
}  # fmt: skip


def detection(options: bytes, shapes: list[list[int]], n_anchors: int = 7) -> bytes:
    b = ModelBuilder()
    boxes, scores = b.tensor("boxes", [1, 7, 4], "float32"), b.tensor("scores", [1, 7, 4], "float32")
    anchors = b.tensor("anchors", [n_anchors, 4], "float32", np.random.default_rng(0).random((n_anchors, 4)))
    outputs = [b.tensor(f"y{i}", shape, "float32") for i, shape in enumerate(shapes)]
    b.operator(
        "CUSTOM:TFLite_Detection_PostProcess", [boxes, scores, anchors], outputs, customOptions=list(options)
    )
    return b.build([boxes, scores], outputs)


def test_shapes_that_the_file_leaves_out() -> None:
    data = detection(flexbuffers.Dumps(OPTIONS), [[]] * 4)
    graph = import_tflite(data)
    inputs = random_inputs(graph.inputs, 0)
    expected = run(data, inputs)
    assert (
        [t.shape for t in graph.outputs]
        == [y.shape for y in expected]
        == [(1, 10, 4), (1, 10), (1, 10), (1,)]
    )
    again = run(extract(graph, graph.operators, graph.inputs, graph.outputs), inputs)
    for e, a in zip(expected, again, strict=True):
        np.testing.assert_array_equal(e, a)


@pytest.mark.parametrize("n", [6, 8])
def test_anchors_for_another_size(n: int) -> None:
    with pytest.raises(InvalidModel, match=rf"scores \[1, 7, 4\] and anchors \[{n}, 4\]; it needs an anchor"):
        import_tflite(detection(flexbuffers.Dumps(OPTIONS), [[]] * 4, n))


@pytest.mark.parametrize("code", ["Convolution2DTransposeBias", "MaxPoolingWithArgmax2D", "MaxUnpooling2D"])
def test_the_reference_runtime_has_the_kernel(code: str) -> None:
    """Its kernel, not its resolver, complains of an operator without inputs."""
    b = ModelBuilder()
    y = b.tensor("y", [1], "float32")
    b.operator(f"CUSTOM:{code}", [], [y])
    with pytest.raises((RuntimeError, ValueError), match="unexpected number of"):
        run(b.build([], [y]), [])


def test_arity() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator("CUSTOM:Mfcc", [x], [y])
    with pytest.raises(InvalidModel, match=r"\(Mfcc\) has 1 inputs; it needs 2"):
        import_tflite(b.build([x], [y]))


def test_bad_options() -> None:
    with pytest.raises(InvalidModel, match="options that cannot be read"):
        import_tflite(detection(b"\1\2\3", [[]] * 4))
    with pytest.raises(InvalidModel, match="has 3 outputs; it makes 4"):
        import_tflite(detection(flexbuffers.Dumps(OPTIONS), [[]] * 3))
    with pytest.raises(InvalidModel, match=r'makes "y0" of shape \[1, 10, 4\], not \[1, 5, 4\]'):
        import_tflite(detection(flexbuffers.Dumps(OPTIONS), [[1, 5, 4], [], [], []]))


@pytest.mark.parametrize("number", [0, 200, 60_000, 3_000_000_000, 2**40])
def test_integers_of_every_width(number: int) -> None:
    data = flexbuffers.Dumps({"b": number, "a": 7, "text": "x", "f": 0.5})
    assert custom.integers(data) == {"a": 7, "b": number}


def test_damaged_options() -> None:
    r = random.Random(0)
    data = flexbuffers.Dumps(OPTIONS)
    for _ in range(3000):
        damaged = bytearray(data[: r.randrange(len(data) + 1)] if r.random() < 0.3 else data)
        if damaged:
            damaged[r.randrange(len(damaged))] = r.randrange(256)
        try:
            custom.integers(bytes(damaged))
        except (ValueError, IndexError):
            pass
