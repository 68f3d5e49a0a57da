"""Shapes of open dimensions and cuts, the whole way: the program is that of a model exported so, and everything records it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.enf import reader
from furiosa.runtime import session
from furiosa.runtime.errors import InvalidCompilerConfig

TEXT = """
g (float[BATCH,3,HEIGHT,WIDTH] x) => (int64[kept,3] found) {
    xq = QuantizeLinear(x, s, z)
    xd = DequantizeLinear(xq, s, z)
    w = DequantizeLinear(wq, s, z)
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (xd, w)
    cq = QuantizeLinear(c, s, z)
    cd = DequantizeLinear(cq, s, z)
    shape = Shape(cd)
    batch = Gather(shape, zero)
    target = Concat <axis = 0> (batch, six, rest)
    flat = Reshape(cd, target)
    boxes_, scores = Split <axis = 1> (flat, parts)
    boxes = Transpose <perm = [0, 2, 1]> (boxes_)
    found = NonMaxSuppression(boxes, scores, most)
}"""


def detector(batch: str = "batch", height: str = "height", width: str = "width") -> bytes:
    ints = {"zero": [0], "six": [6], "rest": [-1], "parts": [4, 2], "most": [3]}
    weights = np.arange(6 * 3 * 9).reshape(6, 3, 3, 3) % 11 - 5
    text = TEXT.replace("BATCH", batch).replace("HEIGHT", height).replace("WIDTH", width)
    return model(
        text,
        *(tensor(n, v, "int64") for n, v in ints.items()),
        tensor("wq", weights, "int8"), tensor("s", 0.125, "float32"), tensor("z", 0, "int8"),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("open.onnx").write_bytes(detector())
    Path("fixed.onnx").write_bytes(detector("1", "8", "12"))


CUT = ["--outputs", "boxes,scores"]
SHAPE = ["--input-shape", "x=1x3x8x12"]


def compiled(name: str, *options: str) -> reader.Enf:
    assert main(["compile", f"{name}.onnx", "-o", "o.enf", *options]) == 0
    return reader.load(Path("o.enf").read_bytes())


def test_the_program_is_that_of_a_model_of_fixed_shapes() -> None:
    one, other = compiled("open", *CUT, *SHAPE), compiled("fixed", *CUT)
    assert one.metadata.npu_operators > 0 and one.commands
    for section in ("interface", "plan", "code", "constants", "memory", "debug", "host_models"):
        assert one.section(section) == other.section(section), section


def test_two_ways_to_say_it_give_the_same_bytes_and_two_shapes_other_programs() -> None:
    by_shape = compiled("open", *CUT, *SHAPE).data
    assert (
        compiled(
            "open", "--dim", "width=12", "--dim", "height=8", "--outputs", "boxes", "--outputs", "scores"
        ).data
        == by_shape
    )
    wide = compiled("open", *CUT, "--input-shape", "x=1x3x8x16")
    assert wide.data != by_shape and list(wide.interface.inputs[0].shape) == [1, 3, 8, 16]
    double = compiled("open", *CUT, *SHAPE, "--batch-size", "2")
    assert list(double.interface.inputs[0].shape) == [2, 3, 8, 12]


def test_everything_records_it(capfd: pytest.CaptureFixture[str]) -> None:
    chosen = {
        "input_shapes": {"x": [1, 3, 8, 12]},
        "inputs": [],
        "outputs": ["boxes", "scores"],
        "signature": "",
    }
    compiled("open", *CUT, *SHAPE, "--report-json", "r.json")
    assert json.loads(Path("r.json").read_text())["selection"] == chosen
    assert main(["enf", "dump", "o.enf"]) == 0
    assert "of the source: x is 1x3x8x12; to boxes, scores" in capfd.readouterr().out
    assert main(["bundle", "pack", "-o", "b.tar", "--model", "m=o.enf", "--manifest-json", "m.json"]) == 0
    (entry,) = json.loads(Path("m.json").read_text())["models"]
    assert entry["selection"] == chosen | {"input_shapes": [{"name": "x", "shape": [1, 3, 8, 12]}]}
    assert (
        main(
            [
                "tune",
                "open.onnx",
                *CUT,
                *SHAPE,
                "--batch-sizes",
                "1",
                "--target-npu",
                "warboy",
                "-o",
                "t.json",
            ]
        )
        == 0
    )
    assert json.loads(Path("t.json").read_text())["selection"] == chosen
    compiled("fixed", *CUT[:1], "boxes", "--report-json", "r.json")
    assert json.loads(Path("r.json").read_text())["selection"]["input_shapes"] == {}


def test_the_reference_runs_the_same_part(capfd: pytest.CaptureFixture[str]) -> None:
    compiled("open", *CUT, *SHAPE)
    assert main(["compare", "o.enf", "--source", "open.onnx"]) == 0  # the ENF says it
    assert main(["compare", "open.onnx", *CUT, *SHAPE, "--batch-size", "2"]) == 0
    assert (
        main(
            [
                "compare",
                "open.onnx",
                "--cut-inputs",
                "cq",
                "--outputs",
                "boxes",
                "--dim",
                "height=8",
                "--dim",
                "width=12",
            ]
        )
        == 0
    )
    capfd.readouterr()
    assert main(["compare", "o.enf", "--source", "open.onnx", *SHAPE]) == 255
    assert "it says itself" in capfd.readouterr().err


def test_sessions_and_commands_that_run(capfd: pytest.CaptureFixture[str]) -> None:
    chosen = {"dims": {"height": 8, "width": 12}, "outputs": ["scores"]}
    with session.create("open.onnx", compile_config=chosen) as sess:
        assert sess.input(0).shape == (1, 3, 8, 12) and sess.output(0).shape == (1, 2, 96)
    with pytest.raises(InvalidCompilerConfig, match="no open dimension 'hight'; did you mean 'height'"):
        session.create("open.onnx", compile_config={"dims": {"hight": 8}})
    assert main(["run", "open.onnx", "--random", "0", *CUT, *SHAPE]) == 0
    assert main(["bench", "open.onnx", *CUT, *SHAPE]) == 0
    compiled("open", *CUT, *SHAPE)
    capfd.readouterr()
    assert main(["run", "o.enf", "--random", "0", *SHAPE]) == 255
    assert "is compiled already" in capfd.readouterr().err


def test_errors_can_be_pasted(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "open.onnx"]) == 5
    assert "add --input-shape x=1x3x?x? or --dim height=? --dim width=?" in capfd.readouterr().err
    assert main(["compile", "open.onnx", *SHAPE]) == 5
    assert "end the model before it: --outputs boxes,scores" in capfd.readouterr().err
    assert main(["compile", "open.onnx", "--outputs", "box"]) == 12
    assert main(["compile", "open.onnx", "--input-shape", "x"]) == 255
    assert not Path("output.enf").exists()
    assert onnx.load("open.onnx").graph.output[0].name == "found"


def open_tflite() -> bytes:
    """A convolution that is resized to the size of the input, and a tail that makes a tensor of no known shape of it."""
    b = ModelBuilder()
    kept = {"scale": 0.05, "shapeSignature": [-1, -1, -1, 4]}
    x, y, z = (b.tensor(n, [1, 1, 1, 4], **kept) for n in "xyz")
    w = b.tensor("w", [4, 3, 3, 4], data=np.arange(144).reshape(4, 3, 3, 4) % 11 - 5, scale=0.01)
    bias = b.tensor("bias", [4], "int32", [1, -2, 3, 4], scale=0.0005)
    window = {"padding": 0, "strideH": 2, "strideW": 2, "dilationHFactor": 1, "dilationWFactor": 1}
    b.operator("CONV_2D", [x, w, bias], [y], options("Conv2DOptions", **window))
    shape, size = b.tensor("shape", [4], "int32"), b.tensor("size", [2], "int32")
    b.operator("SHAPE", [x], [shape], options("ShapeOptions", outType=2))
    one, three = b.tensor("one", [1], "int32", [1]), b.tensor("three", [1], "int32", [3])
    b.operator("STRIDED_SLICE", [shape, one, three, one], [size], options("StridedSliceOptions"))
    b.operator("RESIZE_NEAREST_NEIGHBOR", [y, size], [z], options("ResizeNearestNeighborOptions"))
    large = b.tensor("large", [1, 1, 1, 4], "bool", shapeSignature=[-1, -1, -1, 4])
    b.operator("GREATER", [z, b.tensor("zero", [], data=0, scale=0.05)], [large])
    found = b.tensor("found", [1, 4], "int64", shapeSignature=[-1, 4])
    b.operator("WHERE", [large], [found])
    return b.build([x], [found])


def test_tflite(capfd: pytest.CaptureFixture[str]) -> None:
    Path("open.tflite").write_bytes(open_tflite())
    cut, shape = ["--outputs", "z"], ["--input-shape", "x=1x7x10x4"]
    assert main(["compile", "open.tflite", "-o", "o.enf"]) == 5
    assert "add --input-shape x=1x?x?x4," in capfd.readouterr().err
    assert main(["compile", "open.tflite", "-o", "o.enf", *shape]) == 5
    assert "shape depends on values; end the model before it: --outputs large (" in capfd.readouterr().err
    assert main(["compile", "open.tflite", "-o", "o.enf", *shape, *cut]) == 0
    enf = reader.load(Path("o.enf").read_bytes())
    assert enf.metadata.npu_operators == 2 and not enf.metadata.host_operators
    assert list(enf.interface.outputs[0].shape) == [1, 7, 10, 4]
    assert main(["compare", "o.enf", "--source", "open.tflite"]) == 0
    assert main(["compare", "open.tflite", *cut, *shape, "--batch-size", "2"]) == 0
    assert (
        main(
            [
                "compare",
                "open.tflite",
                "--cut-inputs",
                "z",
                "--outputs",
                "large",
                "--input-shape",
                "z=2x3x5x4",
            ]
        )
        == 0
    )
    assert main(["run", "open.tflite", "--random", "0", *cut, *shape]) == 0
    assert main(["tune", "open.tflite", *cut, *shape, "--batch-sizes", "1,2", "--target-npu", "warboy"]) == 0
    chosen = {"input_shapes": {"x": (1, 7, 10, 4)}, "outputs": ["z"]}
    with session.create("open.tflite", compile_config=chosen) as sess:
        (y,) = sess.run(np.zeros((1, 7, 10, 4), np.int8))
        assert y.shape == (1, 7, 10, 4)
