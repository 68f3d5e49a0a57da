"""Every command that may take long says what it does, also where stderr is no terminal."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.compiler.pipeline import Compilation
from furiosa.enf import progress
from furiosa.quantizer.calibrate.histogram import Histogram
from furiosa.runtime.program import Program

# a part for the NPU between two for the host
TEXT = """
g (float[1,4,4,4] x) => (float[1,4,4,4] y) {
    a = Sinh(x)
    aq = QuantizeLinear(a, s, z)
    ad = DequantizeLinear(aq, s, z)
    b = Add(ad, ad)
    bq = QuantizeLinear(b, s, z)
    bd = DequantizeLinear(bq, s, z)
    y = Sinh(bd)
}"""
COMMANDS = {
    "compile": (["compile", "m.onnx", "-o", "o.enf", "--no-host-trial"], "m.onnx: 0 s so far, compiling from "),
    "compile --auto-batch-size": (["compile", "m.onnx", "-o", "o.enf", "--auto-batch-size"], "so far, looking for a batch size"),
    "tune": (["tune", "m.onnx", "--batch-sizes", "1,2", "--target-npu", "warboy"], "s so far, compiling for batch size 1 on warboy"),
    "calibrate": (["calibrate", "f.onnx", "--data", "x.npy", "-o", "c.json"], "f.onnx: 0 s so far, calibrating, sample "),
    "quantize": (["quantize", "f.onnx", "--random", "-o", "q.onnx"], "so far, calibrating with random samples, sample "),
    "run": (["run", "m.enf", "--random", "1"], "m.enf: 0 s so far, running, step "),
    "run a model": (["run", "m.onnx", "--random", "1"], "so far, compiling from "),
    "compare": (["compare", "m.enf", "--source", "m.onnx"], "so far, inference 1 of 3, step "),
    "accuracy": (["accuracy", "m.enf", "--data", "s.npz", "--metric", "agreement", "--float-model", "m.onnx"], "so far, measuring, 2 of 4 samples done, some "),
    "bench": (["bench", "m.enf"], "so far, warming up, step "),
    "enf verify": (["enf", "verify", "m.enf"], "so far, trying host cluster "),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_what_it_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(model(TEXT, tensor("s", 0.1, "float32"), tensor("z", 0, "int8")))
    assert main(["compile", "m.onnx", "-o", "m.enf"]) == 0
    Path("f.onnx").write_bytes(model("g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }"))
    np.save("x.npy", np.ones((4, 8), np.float32))
    np.savez("s.npz", x=np.ones((4, 4, 4, 4), np.float32))
    capfd.readouterr()
    monkeypatch.setattr(progress, "EVERY", 0.01)
    for where, function in ((Compilation, "_ldfg"), (Program, "_run_step"), (Histogram, "add")):
        _slow_down(monkeypatch, where, function)
    arguments, words = COMMANDS[name]
    assert main(arguments) == 0
    assert words in capfd.readouterr().err


def _slow_down(monkeypatch: pytest.MonkeyPatch, where: type, name: str) -> None:
    whole = getattr(where, name)

    def slowly(*arguments: object) -> object:
        time.sleep(0.1)
        return whole(*arguments)

    monkeypatch.setattr(where, name, slowly)
