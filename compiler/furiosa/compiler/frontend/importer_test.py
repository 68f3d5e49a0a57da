"""The way in and the way to the host, on real models: import, cut out, run in the reference runtime, compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from furiosa.compiler.errors import CompileError, InvalidFormat, InvalidModel
from furiosa.compiler.frontend.importer import extract_host_model, import_model, selected_model
from furiosa.compiler.frontend.onnx import testing as onnx_testing
from furiosa.compiler.frontend.tflite import testing as tflite_testing
from furiosa.compiler.selection import EVERYTHING, Selection

REPOSITORY = next((p for p in Path(__file__).resolve().parents if (p / "MODULE.bazel").exists()), Path.cwd())
MODELS = REPOSITORY.parent / "shared" / "models"
REFUSED = "unknown_custom_op.tflite"
# The usual shapes of models that leave their dimensions open.
SELECTIONS = {
    "ppocr_cls_float.onnx": Selection({"x": (1, 3, 48, 192)}),
    "ppocr_v4_det_float.onnx": Selection({"x": (1, 3, 64, 96)}),
}
# Their tails mix the samples of a batch.
WITHOUT_BATCH = {"movenet_lightning_ptq.tflite": "GATHER_ND"}

names = (
    sorted(p.name for p in MODELS.glob("*") if p.suffix in (".onnx", ".tflite")) if MODELS.is_dir() else []
)
# Small ones, which are always there.
GENERATED = {
    "conv.tflite": tflite_testing.conv_model(np.random.default_rng(0)),
    "conv_float.onnx": onnx_testing.model(
        "g (float[1,2,5,5] x) => (float[1,3,4,4] y) <float[3,2,2,2] w = {"
        + ",".join(str(i / 8 - 1) for i in range(24))
        + "}> { c = Conv(x, w) y = Relu(c) }"
    ),
}
names += sorted(GENERATED)
runnable = [n for n in names if n != REFUSED]


def run(name: str, data: bytes, inputs: list[np.ndarray], graph) -> list[np.ndarray]:
    if name.endswith(".tflite"):
        return tflite_testing.run(data, inputs)
    return onnx_testing.run(data, {t.name: x for t, x in zip(graph.inputs, inputs, strict=True)})


def model_file(name: str) -> bytes:
    return GENERATED[name] if name in GENERATED else (MODELS / name).read_bytes()


def source(name: str) -> bytes:
    """The model file for its reference runtime, which sums floats in another order where it knows no shapes."""
    return selected_model(model_file(name), SELECTIONS.get(name, EVERYTHING))


def imported(name: str, batch_size: int = 1):
    data = model_file(name)
    return import_model(data, batch_size=batch_size, selection=SELECTIONS.get(name, EVERYTHING))


def cut_out(graph) -> bytes:
    return extract_host_model(graph, graph.operators, graph.inputs, graph.outputs)


@pytest.mark.parametrize("name", runnable)
def test_whole_model_as_host_cluster(name: str) -> None:
    data = source(name)
    graph = imported(name)
    again = cut_out(graph)
    assert again == cut_out(imported(name))
    for seed in range(2):
        inputs = tflite_testing.random_inputs(graph.inputs, seed)
        for expected, actual in zip(
            run(name, data, inputs, graph), run(name, again, inputs, graph), strict=True
        ):
            np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize("name", runnable)
def test_stated_outputs_are_those_of_the_runtime(name: str) -> None:
    data = model_file(name)
    graph = imported(name)
    outputs = run(name, data, tflite_testing.random_inputs(graph.inputs, 0), graph)
    assert [(t.shape, t.dtype) for t in graph.outputs] == [(y.shape, y.dtype.name) for y in outputs]


@pytest.mark.parametrize("name", runnable)
def test_batch_of_two_equals_two_runs(name: str) -> None:
    data = model_file(name)
    if name in WITHOUT_BATCH:
        with pytest.raises(
            InvalidModel, match=f"batch size 2 is impossible for the tensor .*{WITHOUT_BATCH[name]}"
        ):
            import_model(data, batch_size=2)
        return
    single, double = imported(name), imported(name, batch_size=2)
    samples = [tflite_testing.random_inputs(single.inputs, seed) for seed in (1, 2)]
    expected = [
        np.concatenate(pair) for pair in zip(*(run(name, data, x, single) for x in samples), strict=True)
    ]
    both = [np.concatenate(pair) for pair in zip(*samples, strict=True)]
    for e, t, actual in zip(expected, double.outputs, run(name, cut_out(double), both, double), strict=True):
        assert t.shape == e.shape
        if e.dtype.kind == "f" and "float" in name:  # float sums may be ordered otherwise
            np.testing.assert_allclose(actual, e, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(actual, e)


def test_unknown_custom_operator() -> None:
    b = tflite_testing.ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator("CUSTOM:fake-op-double", [x], [y])
    with pytest.raises(InvalidModel, match='unknown custom operator "fake-op-double"'):
        import_model(b.build([x], [y]))


@pytest.mark.parametrize("name", names)
def test_truncated(name: str) -> None:
    data = model_file(name)
    for part in (1, 7, 8, 100, len(data) // 3, len(data) - len(data) // 10):
        with pytest.raises(CompileError) as caught:
            import_model(data[:part])
        assert isinstance(caught.value, InvalidFormat | InvalidModel)


# Without the shared models


def test_the_content_decides_the_format() -> None:
    tflite = tflite_testing.conv_model(np.random.default_rng(0))
    relu = onnx_testing.model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert (import_model(tflite).format, import_model(relu).format) == ("tflite", "onnx")
    assert import_model(memoryview(tflite)).format == "tflite"
    assert import_model(bytearray(relu)).format == "onnx"


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\x1c\0\0\0TFL3", b"\x89PNG\r\n\x1a\n" + bytes(64), b'{"a": 1}']
)
def test_other_content(data: bytes) -> None:
    with pytest.raises(InvalidFormat) as caught:
        import_model(data)
    assert caught.value.code == 4 and "\n" not in str(caught.value)
