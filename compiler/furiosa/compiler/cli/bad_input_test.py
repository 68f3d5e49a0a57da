"""What is wrong with the input gets one sentence, the right exit status, no traceback, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, conv_model

REPORTS = ("--report-json", "--report", "--analyze-memory", "--chrome-trace")
IO_ERROR, INVALID_FORMAT, INVALID_MODEL, OTHER, BAD_ARGUMENTS = 2, 4, 5, 13, 255


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the test, and where output.enf would be."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(argv: list[str], status: int, capfd: pytest.CaptureFixture[str], *words: str) -> None:
    """Runs the command; it must fail with this status and one line that has these words, and leave no new file."""
    before = sorted(Path().rglob("*"))
    assert main(argv) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("ERROR: ") and err.endswith("\n") and err.count("\n") == 1, err
    for word in words:
        assert word in err
    assert sorted(Path().rglob("*")) == before


def small(
    nodes: list[onnx.NodeProto], shape: list[int | str], constants: list[onnx.TensorProto]
) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], constants)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("strange", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_empty_file(capfd):
    Path("empty.onnx").write_bytes(b"")
    check(["compile", "empty.onnx"], INVALID_FORMAT, capfd, "empty.onnx", "empty")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_model(capfd, quantized_model, part):
    Path("cut.onnx").write_bytes(quantized_model[: int(len(quantized_model) * part)])
    check(["compile", "cut.onnx"], INVALID_FORMAT, capfd, "cut.onnx")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_tflite(capfd, part):
    data = conv_model(np.random.default_rng(0))
    Path("cut.tflite").write_bytes(data[: int(len(data) * part)])
    check(["compile", "cut.tflite"], INVALID_FORMAT, capfd, "cut.tflite")


@pytest.mark.parametrize("name", ["text.onnx", "text.tflite"])
def test_another_format_under_a_models_name(capfd, name):
    Path(name).write_bytes(b"#!/bin/sh\necho this is no model\n" * 40)
    check(["compile", name], INVALID_FORMAT, capfd, name)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "run git lfs pull"),
        (b"<!DOCTYPE html><html></html>\n", "an HTML page"),
        (b"PK\x03\x04" + bytes(60), "a ZIP archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
        (b"\x18\0\0\0ORTM" + bytes(60), "onnxruntime's own format"),
    ],
)
@pytest.mark.parametrize("name", ["m.onnx", "m.tflite"])
def test_what_people_have_in_the_place_of_a_model(capfd, name, data, words):
    Path(name).write_bytes(data)
    check(["compile", name], INVALID_FORMAT, capfd, f"{name}: not an ONNX or TFLite file: it is ", words)


def test_only_the_content_decides_on_the_format(quantized_model):
    Path("model.tflite").write_bytes(quantized_model)
    assert main(["compile", "model.tflite"]) == 0


def test_dynamic_shape(capfd):
    node = helper.make_node("Abs", ["x"], ["y"])
    Path("dynamic.onnx").write_bytes(small([node], [1, "width"], []).SerializeToString())
    check(["compile", "dynamic.onnx"], INVALID_MODEL, capfd, "dynamic.onnx", "x")


def test_unknown_custom_operator(capfd):
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="strange")
    Path("custom.onnx").write_bytes(small([node], [1, 4], []).SerializeToString())
    check(["compile", "custom.onnx"], INVALID_MODEL, capfd, "Frobnicate")


def test_unknown_custom_operator_of_tflite(capfd):
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 4], "float32")
    b.operator("CUSTOM:fake-op-double", [x], [y])
    Path("custom.tflite").write_bytes(b.build([x], [y]))
    check(["compile", "custom.tflite"], INVALID_MODEL, capfd, "fake-op-double")


def external(location: str) -> bytes:
    """A model with a constant of four float32 in a file of its own."""
    constant = numpy_helper.from_array(np.ones(4, np.float32), "c")
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value=location)
    return small([helper.make_node("Add", ["x", "c"], ["y"])], [1, 4], [constant]).SerializeToString()


@pytest.mark.parametrize("place", ["../outside.bin", "inside/../../outside.bin", "link.bin", "ABSOLUTE"])
def test_external_data_outside_the_folder(capfd, folder, place):
    (folder / "outside.bin").write_bytes(np.ones(4, np.float32).tobytes())
    inner = folder / "models"
    (inner / "inside").mkdir(parents=True)
    (inner / "link.bin").symlink_to("../outside.bin")
    (inner / "m.onnx").write_bytes(external(str(folder / "outside.bin") if place == "ABSOLUTE" else place))
    check(
        ["compile", "models/m.onnx"],
        INVALID_MODEL,
        capfd,
        "outside.bin" if place != "link.bin" else "link.bin",
    )


def test_external_data_missing(capfd):
    Path("m.onnx").write_bytes(external("gone.bin"))
    check(["compile", "m.onnx"], IO_ERROR, capfd, "gone.bin")


def test_external_data_inside_the_folder(folder):
    """The same model is fine where its data are."""
    (folder / "data").mkdir()
    (folder / "data" / "c.bin").write_bytes(np.ones(4, np.float32).tobytes())
    Path("m.onnx").write_bytes(external("data/c.bin"))
    assert main(["compile", "m.onnx"]) == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--batch-size", "0"], "batch size 0"),
        (["--batch", "-3"], "-3"),
        (["--batch-size", "1", "--auto-batch-size"], "exclude each other"),
        (["--batch-size", "two"], "two"),
        (["--batch-size", "9999999999999"], "9999999999999"),
        (["--target-npu", "warb"], "warboy-2pe"),
        (["--target-ir", "sass"], "sass"),
        (["--no-such-option"], "--no-such-option"),
        (["-o"], "-o"),
        (["second.onnx"], "second.onnx"),
        (["-o", "m.onnx"], "m.onnx"),
        (["-o", "./m.onnx"], "m.onnx"),
        (["-o", "a", "--dot-graph", "a"], "named twice"),
        (["--report", "a", "--chrome-trace", "./a"], "named twice"),
        *(([option, "r", "--target-ir", "dfg"], option) for option in REPORTS),
    ],
)
def test_bad_arguments(capfd, quantized_model, arguments, word):
    Path("m.onnx").write_bytes(quantized_model)
    check(["compile", "m.onnx", *arguments], BAD_ARGUMENTS, capfd, word)
    assert Path("m.onnx").read_bytes() == quantized_model


def test_no_source(capfd):
    check(["compile"], BAD_ARGUMENTS, capfd, "SOURCE")


@pytest.mark.parametrize("argv", [["@missing.params"], ["compile", "m.onnx", "@missing.params"], ["@a\0b"]])
def test_missing_argument_file(capfd, argv):
    check(argv, BAD_ARGUMENTS, capfd, "argument file")


def test_missing_source(capfd):
    check(["compile", "nowhere/m.onnx"], IO_ERROR, capfd, "nowhere/m.onnx")


def test_source_is_a_folder(capfd, folder):
    (folder / "m.onnx").mkdir()
    check(["compile", "m.onnx"], IO_ERROR, capfd, "m.onnx")


def test_unreadable_source(folder, quantized_model):
    Path("m.onnx").write_bytes(quantized_model)
    Path("m.onnx").chmod(0)
    command = [sys.executable, "-m", "furiosa.compiler.cli.main", "compile", "m.onnx"]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root reads every file, and there is no program setpriv to take that right away")
        command = [setpriv, "--bounding-set=-dac_override,-dac_read_search", *command]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (IO_ERROR, "")
    assert done.stderr.startswith("ERROR: ") and "m.onnx: Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1 and os.listdir() == ["m.onnx"]


@pytest.mark.parametrize("option", ["-o", "--dot-graph", *REPORTS])
@pytest.mark.parametrize("path", ["missing/out", "folder", "new/", "socket", "m.onnx/out", ""])
def test_output_that_cannot_be_written(capfd, folder, quantized_model, option, path):
    Path("m.onnx").write_bytes(quantized_model)
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
    check(["compile", "m.onnx", option, path], IO_ERROR, capfd, "cannot write")


def test_a_failure_leaves_an_older_output(capfd):
    Path("empty.onnx").write_bytes(b"")
    Path("output.enf").write_bytes(b"of yesterday")
    check(["compile", "empty.onnx"], INVALID_FORMAT, capfd)
    assert Path("output.enf").read_bytes() == b"of yesterday"


def test_a_full_disk(capfd, quantized_model, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    Path("m.onnx").write_bytes(quantized_model)
    monkeypatch.setattr("furiosa.enf.container.write", full)
    check(["compile", "m.onnx", "--report-json", "r.json"], IO_ERROR, capfd, "No space left on device")


def test_a_report_that_fails_leaves_no_enf(capfd, quantized_model, monkeypatch):
    monkeypatch.setattr("furiosa.compiler.report.report.to_json", lambda _: 1 / 0)
    Path("m.onnx").write_bytes(quantized_model)
    check(["compile", "m.onnx", "--report-json", "r.json"], OTHER, capfd, "ZeroDivisionError")


def test_too_little_memory(capfd, quantized_model, monkeypatch):
    def greedy(*_: object) -> None:
        raise MemoryError

    Path("m.onnx").write_bytes(quantized_model)
    monkeypatch.setattr("furiosa.compiler.pipeline.Compilation.run", greedy)
    check(["compile", "m.onnx"], OTHER, capfd, "not enough memory")


def test_names_with_line_breaks_stay_on_one_line(capfd):
    node = helper.make_node("Frobnicate\nERROR: forged \x1b[31m", ["x"], ["y"], domain="strange")
    Path("m.onnx").write_bytes(small([node], [1, 4], []).SerializeToString())
    check(["compile", "m.onnx"], INVALID_MODEL, capfd, "Frobnicate\\nERROR", "\\x1b")


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["compile", "missing.onnx"], IO_ERROR),
        (["compile", "--target-npu", "warb", "m.onnx"], BAD_ARGUMENTS),
        ([], BAD_ARGUMENTS),
    ],
)
def test_the_process_itself(argv, status):
    """What the shell sees."""
    command = [sys.executable, "-m", "furiosa.compiler.cli.main", *argv]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr.startswith("ERROR: ") and done.stderr.count("\n") == 1 and not done.stdout
