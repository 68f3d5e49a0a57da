"""``furiosa calibrate`` and ``furiosa quantize``: outputs, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.quantizer.calibrate import methods
from furiosa.quantizer.cli import arguments
from furiosa.quantizer.int8 import DEFAULT_METHOD
from furiosa.quantizer.testing import network, samples


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(network())
    Path("bad.json").write_text("{}")
    Path("s").mkdir()
    for i, sample in enumerate(samples(network(), 4)):
        np.savez(f"s/{i}.npz", **sample.arrays)


def kinds(path: str) -> set[str]:
    return {n.op_type for n in onnx.load(path).graph.node}


def test_the_arguments_know_the_methods():
    assert set(arguments.METHODS) == set(methods.METHODS)
    assert arguments.DEFAULT_PERCENTAGE == methods.DEFAULT_PERCENTAGE
    assert arguments.DEFAULT_METHOD == DEFAULT_METHOD


def test_calibration_and_model(capfd):
    assert main(["calibrate", "m.onnx", "--data", "s", "-o", "r.json"]) == 0
    assert main(["quantize", "m.onnx", "--calibration", "r.json", "-o", "q.onnx"]) == 0
    assert main(["quantize", "m.onnx", "--calibration", "s", "-o", "direct.onnx"]) == 0
    assert (
        main(["quantize", "m.onnx", "--calibration", "r.json", "--method", "mse-sym", "-o", "mse.onnx"]) == 0
    )
    assert capfd.readouterr() == ("", "")
    assert Path("q.onnx").read_bytes() == Path("direct.onnx").read_bytes() != Path("mse.onnx").read_bytes()
    assert "QuantizeLinear" in kinds("q.onnx")
    assert main(["compile", "q.onnx", "--min-npu-coverage", "1", "-o", "q.enf"]) == 0


def test_parts_of_the_samples_merge():
    assert main(["calibrate", "m.onnx", "--data", "s", "-o", "whole.json"]) == 0
    assert main(["calibrate", "m.onnx", "--data", "s/0.npz", "--data", "s/2.npz", "-o", "even.json"]) == 0
    assert (
        main(
            [
                "calibrate",
                "m.onnx",
                "--data",
                "s/3.npz",
                "--data",
                "s/1.npz",
                "--merge",
                "even.json",
                "-o",
                "a.json",
            ]
        )
        == 0
    )
    assert main(["calibrate", "m.onnx", "--data", "s/1.npz", "--data", "s/3.npz", "-o", "odd.json"]) == 0
    assert main(["calibrate", "m.onnx", "--merge", "odd.json", "--merge", "even.json", "-o", "b.json"]) == 0
    assert Path("whole.json").read_bytes() == Path("a.json").read_bytes() == Path("b.json").read_bytes()


def test_a_quick_look(capfd):
    assert main(["quantize", "m.onnx", "--random", "-o", "q.onnx", "-v"]) == 0
    assert capfd.readouterr().err == "13 of 13 operators are quantised\n"


def test_open_dimensions_are_remembered():
    data = model("g (float[N,3,H,6] x) => (float y) { y = Relu(x) }")
    Path("open.onnx").write_bytes(data)
    np.save("x.npy", np.ones((2, 2, 3, 2, 6), np.float32))
    assert (
        main(["calibrate", "open.onnx", "--dim", "H=2", "--dim", "N=2", "--data", "x.npy", "-o", "r.json"])
        == 0
    )
    assert main(["quantize", "open.onnx", "--calibration", "r.json", "-o", "q.onnx"]) == 0
    shape = onnx.load("q.onnx").graph.input[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim] == [2, 3, 2, 6]


def test_remarks(capfd):
    np.savez("zero.npz", x=np.zeros((1, 3, 16, 16), np.float32))
    assert main(["calibrate", "m.onnx", "--data", "zero.npz", "-o", "r.json"]) == 0
    one, constant = capfd.readouterr().err.splitlines()
    assert one.startswith("NOTE: m.onnx: there is one sample only")
    assert constant.startswith("NOTE: m.onnx: all samples give the same one value for 'x'")
    text = "g (float[1,8] x) => (float y) { c = Cos(x) y = MatMul(c, w) }"
    Path("cos.onnx").write_bytes(model(text, tensor("w", np.eye(8, dtype=np.float32))))
    assert main(["quantize", "cos.onnx", "--random", "-o", "q.onnx"]) == 0
    (left,) = capfd.readouterr().err.splitlines()
    assert left.startswith("NOTE: cos.onnx: Cos 'c' stays in float, the NPU does not take it: ")


@pytest.mark.parametrize(
    "argv, status, sentence",
    [
        ("calibrate m.onnx -o r.json", 255, "no samples are given"),
        ("calibrate m.onnx --data s", 255, "required: -o"),
        ("calibrate m.onnx --data s -o m.onnx", 255, "m.onnx is named twice"),
        ("calibrate m.onnx --data none.npz -o r.json", 2, "none.npz: No such file"),
        ("calibrate none.onnx --data s -o r.json", 2, "cannot read the model none.onnx"),
        ("calibrate m.onnx --data s -o no/r.json", 2, "cannot write no/r.json"),
        ("calibrate m.onnx --data m.onnx -o r.json", 255, "samples are .npy or .npz files"),
        ("calibrate m.onnx --merge m.onnx -o r.json", 4, "m.onnx: not a calibration file"),
        ("quantize m.onnx -o q.onnx", 12, "name a calibration"),
        ("quantize m.onnx --random --calibration s -o q.onnx", 255, "exclude each other"),
        (
            "quantize m.onnx --random --io-type x=float -o q.onnx",
            255,
            "is not of the form NAME=int8 or NAME=uint8",
        ),
        ("quantize m.onnx --random --method best -o q.onnx", 255, "unknown method 'best', known: min-max"),
        ("quantize m.onnx --random --percentage 0 -o q.onnx", 255, "--percentage 0 is not above 0"),
        ("quantize m.onnx --random --exclude Sofmax -o q.onnx", 12, "did you mean 'Softmax'"),
        ("quantize m.onnx --calibration none.json -o q.onnx", 2, "cannot read none.json"),
        ("quantize m.onnx --calibration bad.json -o q.onnx", 4, "bad.json: not a calibration file"),
        ("calibrate m.onnx --data s --preprocessing {} -o r.json", 255, "there is no image in this folder"),
        ("quantize m.onnx --random --input-shape z=1 -o q.onnx", 12, "z"),
    ],
)
def test_what_is_refused(capfd, argv: str, status: int, sentence: str):
    before = set(Path().iterdir())
    assert main(argv.split()) == status
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("ERROR: ") and err.count("\n") == 1 and sentence in err
    assert set(Path().iterdir()) == before


def test_a_calibration_of_another_model(capfd):
    Path("other.onnx").write_bytes(network(5))
    assert main(["calibrate", "other.onnx", "--data", "s", "-o", "r.json"]) == 0
    assert main(["quantize", "m.onnx", "--calibration", "r.json", "-o", "q.onnx"]) == 12
    assert "the calibration is of another model" in capfd.readouterr().err
