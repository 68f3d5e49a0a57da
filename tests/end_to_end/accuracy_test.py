"""``furiosa accuracy``: compiled, source and float models on the same samples, gates, shards, batches, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.onnx.testing import model, run, tensor
from tests.end_to_end.compared_models import tflite_network

COUNT = 60
RNG = np.random.default_rng(3)
WEIGHTS = RNG.integers(-127, 128, (8, 5)).astype(np.int8)

# one layer, quantised coarsely, so that it errs here and there
QUANTISED = """
g (float[1,8] x) => (float[1,5] y) {
    xq = QuantizeLinear(x, xs, z)
    xd = DequantizeLinear(xq, xs, z)
    wd = DequantizeLinear(w, ws, z)
    m = MatMul(xd, wd)
    mq = QuantizeLinear(m, ys, z)
    y = DequantizeLinear(mq, ys, z)
}"""
# the same behind int8 ends
WHOLE_NUMBERS = """
g (int8[1,8] x) => (int8[1,5] y) {
    xd = DequantizeLinear(x, xs, z)
    wd = DequantizeLinear(w, ws, z)
    m = MatMul(xd, wd)
    y = QuantizeLinear(m, ys, z)
}"""
FLOAT = "g (float[1,8] x) => (float[1,5] y) { y = MatMul(x, w) }"
TWO = "g (float[1,8] a, float[1,8] b) => (float[1,8] y, float[1,8] z) { y = Add(a, b) z = Sub(a, b) }"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    parameters = [tensor(n, v, "float32") for n, v in (("xs", 0.02), ("ws", 0.0078125), ("ys", 0.15))] + [
        tensor("z", 0, "int8"),
        tensor("w", WEIGHTS),
    ]
    Path("q.onnx").write_bytes(model(QUANTISED, *parameters))
    Path("i.onnx").write_bytes(model(WHOLE_NUMBERS, *parameters))
    real = WEIGHTS.astype(np.float32) * np.float32(0.0078125)
    Path("f.onnx").write_bytes(model(FLOAT, tensor("w", real)))
    Path("two.onnx").write_bytes(model(TWO))
    x = RNG.uniform(-2, 2, (COUNT, 8)).astype(np.float32)
    labels = (x @ real).argmax(1)
    labels[::7] = (labels[::7] + 1) % 5  # which no model gets right
    np.savez("val.npz", x=x, labels=labels)
    assert main(["compile", "q.onnx", "-o", "q.enf", "--no-host-trial"]) == 0
    return tmp_path


def _accuracy(*arguments: str) -> int:
    return main(["accuracy", *arguments])


def _json(*arguments: str) -> dict:
    assert _accuracy(*arguments, "--json", "r.json") == 0
    return json.loads(Path("r.json").read_text())


def _reference(name: str) -> np.ndarray:
    """The scores of all samples, from onnxruntime alone."""
    data = Path(name).read_bytes()
    return np.concatenate([run(data, {"x": row[None]})[0] for row in np.load("val.npz")["x"]])


def test_all_models_on_the_same_samples(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.load("val.npz")["labels"]
    expected = {n: float(np.mean(_reference(f"{n}.onnx").argmax(1) == labels)) for n in ("q", "f")}
    assert expected["q"] < expected["f"] < 1  # so that the test tells one from the other
    found = _json("q.enf", "--data", "val.npz", "--source", "q.onnx", "--float-model", "f.onnx")
    values = {m: v["value"] for m, v in found["values"].items()}
    assert values == {"compiled": expected["q"], "source": expected["q"], "float": expected["f"]}
    assert found["drop"] == pytest.approx(expected["f"] - expected["q"]) and found["samples"] == COUNT
    agreement = _json("q.enf", "--data", "val.npz", "--float-model", "f.onnx", "--metric", "agreement")
    same = float(np.mean(_reference("q.onnx").argmax(1) == _reference("f.onnx").argmax(1)))
    assert {m: v["value"] for m, v in agreement["values"].items()} == {"compiled": same}
    sqnr = _json(
        "q.enf", "--data", "val.npz", "--float-model", "f.onnx", "--metric", "sqnr", "--source", "q.onnx"
    )
    real, noise = _reference("f.onnx"), _reference("q.onnx").astype(np.float64) - _reference("f.onnx")
    wanted = 10 * np.log10(np.sum(real.astype(np.float64) ** 2) / np.sum(noise**2))
    assert (
        sqnr["values"]["compiled"]["value"]
        == sqnr["values"]["source"]["value"]
        == pytest.approx(wanted, abs=1e-6)
    )


def test_gates(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["q.enf", "--data", "val.npz", "--float-model", "f.onnx"]
    found = _json(*given)
    value, drop = found["values"]["compiled"]["value"], found["drop"]
    assert _accuracy(*given, "--min", str(value), "--max-drop", str(drop)) == 0
    assert "passed" in capsys.readouterr().out
    assert _accuracy(*given, "--min", str(value + 1e-3)) == 1
    assert "FAILED: top-1 accuracy is" in capsys.readouterr().out
    assert _accuracy(*given, "--max-drop", str(drop - 1e-3), "--json", "r.json") == 1
    assert "below that of f.onnx, more than" in json.loads(Path("r.json").read_text())["failures"][0]


def test_batches_and_models_of_whole_numbers_give_the_same(folder: Path) -> None:
    wanted = _json("q.enf", "--data", "val.npz", "--float-model", "f.onnx")["values"]
    assert _json("q.onnx", "--batch-size", "7", "--data", "val.npz", "--float-model", "f.onnx")["values"] | {
        "compiled": None
    } == wanted | {"compiled": None}  # 60 samples are no multiple of 7
    for sqnr in (["--metric", "sqnr"], []):
        singles = _json("q.enf", "--data", "val.npz", "--float-model", "f.onnx", *sqnr)
        for arguments in (
            ["q.onnx", "--batch-size", "7"],
            ["i.onnx"],
            ["i.onnx", "--batch-size", "16", "--source", "i.onnx"],
        ):
            other = _json(*arguments, "--data", "val.npz", "--float-model", "f.onnx", *sqnr)
            for m, v in other["values"].items():
                assert v["value"] == singles["values"].get(m, singles["values"]["compiled"])["value"], (
                    arguments,
                    m,
                )


def test_shards_take_every_sample_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _json("q.enf", "--data", "val.npz")
    monkeypatch.setenv("TEST_SHARD_STATUS_FILE", str(folder / "status"))
    parts = [_json("q.enf", "--data", "val.npz", "--shard", f"{k}/7") for k in range(7)]
    assert (folder / "status").exists()
    assert sum(p["samples"] for p in parts) == COUNT
    right = sum(p["samples"] * p["values"]["compiled"]["value"] for p in parts)
    assert right / COUNT == pytest.approx(whole["values"]["compiled"]["value"])
    assert _json("q.enf", "--data", "val.npz", "--limit", "5")["samples"] == 5


def test_a_scorer_sees_all_predictions(folder: Path) -> None:
    Path("s.py").write_text(
        "import sys, numpy as np\n"
        "y, right = (np.load(f'{sys.argv[1]}/{n}.npy') for n in ('y', 'labels'))\n"
        "print(np.mean(y.argmax(1) == right))\n"
    )
    given = ["--data", "val.npz", "--float-model", "f.onnx"]
    own, top1 = _json("q.enf", *given, "--scorer", "s.py"), _json("q.enf", *given)
    assert own["values"] == top1["values"] and own["metric"] == "scorer"


def test_tflite_models_and_real_numbers_of_quantised_outputs(folder: Path) -> None:
    data = tflite_network()
    Path("m.tflite").write_bytes(data)
    x = RNG.integers(-128, 128, (5, 12, 12, 8)).astype(np.int8)
    np.save("x.npy", x)
    Path("s.py").write_text(
        "import sys, numpy as np\nprint(np.load(f'{sys.argv[1]}/b.npy').mean(dtype=float))\n"
    )
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    found = []
    for image in x:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    scale, zero_point = interpreter.get_output_details()[0]["quantization"]
    wanted = scale * (np.mean(found, dtype=float) - zero_point)
    given = ["m.tflite", "--batch-size", "2", "--data", "x.npy", "--source", "m.tflite"]
    values = _json(*given, "--scorer", "s.py")["values"]
    assert values["compiled"]["value"] == values["source"]["value"] == pytest.approx(wanted, rel=1e-6)
    same = _json(*given, "--metric", "sqnr", "--float-model", "m.tflite")
    assert same["values"]["compiled"]["value"] == "inf"


@pytest.mark.parametrize(
    ("code", "sentence", "arguments"),
    [
        (255, "short.npz: 'x': expected (1, 8) (float32) but got (4, 7) (float32)", "q.enf --data short.npz"),
        (255, "nan.npz, sample 2: 1 of 8 elements of input 0 are NaN or infinite", "q.enf --data nan.npz"),
        (255, "none.npz: input 'x' is missing; the file has 'labels'", "q.enf --data none.npz"),
        (255, "there is no sample in empty.npz", "q.enf --data empty.npz"),
        (255, "there are no labels; a .npz file has them in an array 'labels'", "q.enf --data bare.npz"),
        (255, "wide.npz, sample 0: a label is 9, but the output has the classes 0 to 4", "q.enf --data wide.npz"),
        (255, "it has 'y'", "q.enf --data val.npz --output nothing"),
        (255, "metric sqnr compares with the float model: name it by --float-model", "q.enf --data bare.npz --metric sqnr"),
        (255, "it has no drop, use --min", "q.enf --data val.npz --metric sqnr --float-model f.onnx --max-drop 1"),
        (255, "a drop is counted from another model", "q.enf --data val.npz --max-drop 0.1"),
        (255, "a drop is 0 or more", "q.enf --data val.npz --source q.onnx --max-drop -0.1"),
        (255, "two.onnx has 2 inputs, and the compiled model 1", "q.enf --data val.npz --float-model two.onnx"),
        (255, "q.enf is an ENF: an ONNX or TFLite model is expected here", "q.enf --data val.npz --float-model q.enf"),
        (255, "give them together as a .npz file", "two.onnx --data x.npy --metric agreement --float-model two.onnx"),
        (255, "shard 61 of 100 has no sample, as there are 60", "q.enf --data val.npz --shard 60/100"),
        (255, "'4/4' is not I/N", "q.enf --data val.npz --shard 4/4"),
        (255, "'nan' is not a number", "q.enf --data val.npz --min nan"),
        (255, "not allowed with argument", "q.enf --data val.npz --metric top1 --scorer s.py"),
        (255, "input 'x' of q.enf is float32, and the samples are int8", "q.enf --data bytes.npz --float-model i.onnx"),
        (13, "the scorer no.py ended with exit code 1", "q.enf --data bare.npz --scorer no.py"),
        (13, "the scorer gone cannot be started", "q.enf --data bare.npz --scorer gone"),
        (2, "gone.npz: No such file", "q.enf --data gone.npz"),
        (2, "does not exist, create it first", "q.enf --data val.npz --json no/r.json"),
        (4, "not an ONNX or TFLite file", "q.enf --data val.npz --float-model val.npz"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    folder: Path, capfd: pytest.CaptureFixture[str], code: int, sentence: str, arguments: str
) -> None:
    x, labels = np.ones((4, 8), np.float32), np.zeros(4, int)
    np.savez("short.npz", x=x[:, :7], labels=labels)
    np.savez("bare.npz", x=x)
    np.savez("none.npz", labels=labels)
    np.savez("wide.npz", x=x, labels=labels + 9)
    np.savez("empty.npz", x=x[:0], labels=labels[:0])
    np.savez("bytes.npz", x=x.astype(np.int8), labels=labels)
    np.save("x.npy", x)
    x[2, 3] = np.nan
    np.savez("nan.npz", x=x, labels=labels)
    capfd.readouterr()
    assert _accuracy(*arguments.split()) == code
    error = capfd.readouterr().err.splitlines()
    assert error[-1].startswith("ERROR: ") and sentence in error[-1], error
    assert len(error) == 1 or "scorer" in sentence


def test_one_sample_and_an_output_that_nobody_asks_for(folder: Path) -> None:
    np.savez(
        "one.npz",
        a=np.float32([[1, 2, 3, 4, 5, 6, 7, 8]]),
        b=np.zeros((1, 8), np.float32),
        labels=np.array([7]),
    )
    for output, value in ((["--output", "z"], 1.0), ([], 1.0)):
        found = _json("two.onnx", "--data", "one.npz", "--float-model", "two.onnx", *output)
        assert found["samples"] == 1 and found["values"]["compiled"]["value"] == value
    # of a constant output the signal is all that there is
    np.savez("zero.npz", a=np.zeros((3, 8), np.float32), b=np.zeros((3, 8), np.float32))
    found = _json(
        "two.onnx", "--data", "zero.npz", "--float-model", "two.onnx", "--metric", "sqnr", "--min", "40"
    )
    assert found["values"]["compiled"]["value"] == "inf"
