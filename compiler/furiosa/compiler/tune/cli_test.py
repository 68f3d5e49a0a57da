"""``furiosa tune``: its outputs, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from furiosa.compiler import __version__
from furiosa.compiler.cli.main import main
from furiosa.compiler.tune.arguments import batch_sizes, parse
from furiosa.compiler.tune.formats import Sweep, to_json
from furiosa.compiler.tune.testing import mixing, point
from furiosa.enf.command import PLEASE_REPORT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantized_model: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(quantized_model)
    Path("mixing.onnx").write_bytes(mixing())


def tune(*argv: str) -> int:
    return main(["tune", *argv])


def test_the_table(capfd):
    assert tune("m.onnx", "--max-batch", "4") == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith("m.onnx: predictions of the timing model in the steady state")
    for npu in ("warboy", "warboy-2pe"):
        start = lines.index(npu)
        assert [line.split()[0] for line in lines[start + 1 : start + 6]] == ["batch", "1", "2", "3", "4"]
        assert lines[start + 6].startswith("best: batch ")


def test_files_by_their_endings(capfd):
    outputs = ["-o", "t.json", "-o", "t.csv", "-o", "t.txt", "-o", "table"]
    assert tune("m.onnx", "--batch-sizes", "8,1,8", "--target-npu", "warboy", *outputs) == 0
    assert capfd.readouterr() == ("", "")
    content = json.loads(Path("t.json").read_text("ascii"))
    assert list(content) == [
        "model",
        "source_sha256",
        "compiler_version",
        "compatibility",
        "optimize",
        "selection",
        "note",
        "targets",
    ]
    assert (content["model"], content["compiler_version"]) == ("m.onnx", __version__)
    (target,) = content["targets"]
    assert [p["batch_size"] for p in target["points"]] == [1, 8]
    assert target["best_batch_size"] in (1, 8)
    with open("t.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [(r["model"], r["target_npu"], r["batch_size"]) for r in rows] == [
        ("m.onnx", "warboy", "1"),
        ("m.onnx", "warboy", "8"),
    ]
    for row, p in zip(rows, target["points"], strict=True):
        assert float(row["throughput_per_s"]) == p["throughput_per_s"] > 0
        assert int(row["traffic_bytes"]) == p["traffic_bytes"] > 0
    assert Path("t.txt").read_text().splitlines()[-len(target["explanation"]) :] == target["explanation"]
    assert Path("table").read_bytes() == Path("t.txt").read_bytes()


def test_options_reach_the_compiler(monkeypatch):
    seen = []

    def noted(data, options, points, **_):
        seen.append(options)
        return [point(1, 9.0)]

    monkeypatch.setattr("furiosa.compiler.tune.sweep.sweep", noted)
    assert tune("m.onnx", "--optimize", "0", "--compatibility", "0.6.3", "-o", "t.json") == 0
    (options,) = seen
    content = json.loads(Path("t.json").read_text())
    assert options.optimize == content["optimize"] == 0
    assert options.compatibility == content["compatibility"] == "0.6.3"


def test_a_format_whatever_the_ending(capfd):
    assert tune("m.onnx", "--batch-sizes", "1", "--format", "json", "-o", "t.txt") == 0
    assert tune("m.onnx", "--batch-sizes", "1", "--format", "json") == 0
    assert capfd.readouterr().out == Path("t.txt").read_text()


def test_the_same_bytes_in_another_process_and_with_other_jobs():
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Seoul",
    }
    for jobs in ("1", "3"):
        command = [sys.executable, "-m", "furiosa.compiler.cli.main", "tune", "m.onnx", "--max-batch", "3"]
        subprocess.run([*command, "--jobs", jobs, "-o", f"{jobs}.json"], env=environment, check=True)
    assert tune("m.onnx", "--max-batch", "3", "-o", "here.json") == 0
    assert Path("1.json").read_bytes() == Path("3.json").read_bytes() == Path("here.json").read_bytes()


def test_progress(capfd):
    assert tune("m.onnx", "--batch-sizes", "1,2", "--target-npu", "warboy", "--jobs", "1", "-v") == 0
    err = capfd.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in err] == ["[1/2] warboy, batch 1", "[2/2] warboy, batch 2"]
    assert all(line.endswith(" samples/s") for line in err)


def test_a_machine_with_too_little_memory(capfd, monkeypatch):
    """No table: another machine would write another one."""

    def starve(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("furiosa.compiler.tune.sweep.measure", starve)
    assert tune("m.onnx", "--batch-sizes", "1", "--target-npu", "warboy", "-o", "t.json") == 13
    assert capfd.readouterr().err == (
        "ERROR: m.onnx: batch size 1 on warboy: not enough memory to compile it\n"
    )
    assert not Path("t.json").exists()


def test_a_model_that_mixes_samples(capfd):
    """The batch sizes that it refuses are points; it is an error where nothing is left."""
    assert tune("mixing.onnx", "--max-batch", "4", "--target-npu", "warboy") == 0
    out, err = capfd.readouterr()
    assert err == "" and "batch 2 to 4: invalid-model: batch size 2 is impossible" in out
    assert tune("mixing.onnx", "--batch-sizes", "2,3", "-o", "t.json") == 1
    assert capfd.readouterr().err.startswith(
        "ERROR: mixing.onnx: no batch size compiles; warboy, batch 2: batch size 2 "
    )
    assert not Path("t.json").exists()


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ([], 255, "MODEL"),
        (["m.onnx", "--max-batch", "0"], 255, "batch size 0 is not between 1 and 65536"),
        (["m.onnx", "--max-batch", "65537"], 255, "batch size 65537"),
        (["m.onnx", "--batch-sizes", "1,0"], 255, "batch size 0"),
        (["m.onnx", "--batch-sizes", ""], 255, "'' is no list of numbers"),
        (["m.onnx", "--batch-sizes", "1;2"], 255, "'1;2' is no list of numbers"),
        (
            ["m.onnx", "--batch-sizes", ",".join(map(str, range(1, 67)))],
            255,
            "66 batch sizes are more than 64",
        ),
        (["m.onnx", "--batch-sizes", "1", "--max-batch", "2"], 255, "exclude each other"),
        (["m.onnx", "--target-npu", "warboy,renegade"], 255, "unknown target NPU 'renegade'"),
        (["m.onnx", "--compatibility", "0.7"], 255, "unknown compatibility '0.7'"),
        (["m.onnx", "--optimize", "3"], 255, "optimization level 3"),
        (["m.onnx", "--jobs", "0"], 255, "--jobs 0"),
        (["m.onnx", "--format", "xml"], 255, "xml"),
        (["m.onnx", "-o", "m.onnx"], 255, "m.onnx is named twice"),
        (["m.onnx", "-o", "a.json", "-o", "./a.json"], 255, "./a.json is named twice"),
        (["m.onnx", "-o", "missing/t.json"], 2, "does not exist"),
        (["missing.onnx"], 2, "missing.onnx"),
        (["broken.onnx"], 4, "broken.onnx: "),
    ],
)
def test_bad_input(capfd, quantized_model, argv, code, words):
    Path("broken.onnx").write_bytes(quantized_model[:-40])
    assert tune(*argv) == code
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("ERROR: ") and err.count("\n") == 1 and words in err
    assert sorted(os.listdir()) == ["broken.onnx", "m.onnx", "mixing.onnx"]


def test_an_internal_error_is_one_sentence(capfd, monkeypatch):
    """What a child meets is a point's outcome; here the command itself fails."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("furiosa.compiler.tune.sweep.sweep", fail)
    assert tune("m.onnx") == 13
    out, err = capfd.readouterr()
    assert out == ""
    assert "ERROR: m.onnx: internal compiler error, ZeroDivisionError (odd)" in err
    assert f"; {PLEASE_REPORT}\n" in err
    assert "Traceback" not in err


def test_every_field_is_documented():
    """docs/tune.md has a row for each field of a point, and names each key of the JSON."""
    pages = (folder / "docs" / "tune.md" for folder in Path(__file__).absolute().parents)
    page = next(p for p in pages if p.exists()).read_text("utf-8")
    content = json.loads(to_json(Sweep("m", "0", "latest", 1, None, [point(1, 9.0)])))
    (target,) = content["targets"]
    for key in (*content, *target, *target["points"][0], *point(1, 9.0).row()):
        assert f"`{key}`" in page, key


def test_batch_sizes():
    assert batch_sizes(64) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64] == parse(["m.onnx"]).sizes
    assert batch_sizes(1) == [1] and batch_sizes(5) == [1, 2, 3, 4] and batch_sizes(7) == [1, 2, 3, 4, 6]
    assert batch_sizes(96)[-2:] == [64, 96]
    assert parse(["m.onnx"]).npus == ["warboy", "warboy-2pe"]
    assert parse(["m.onnx", "--target-npu", "warboy-2pe,warboy,warboy-2pe"]).npus == ["warboy-2pe", "warboy"]


def test_no_spreadsheet_takes_a_name_for_a_formula():
    Path("=1+1\n.onnx").write_bytes(Path("m.onnx").read_bytes())
    assert tune("=1+1\n.onnx", "--batch-sizes", "1", "--target-npu", "warboy", "-o", "t.csv") == 0
    header, line = Path("t.csv").read_text("utf-8").splitlines()
    assert header.startswith("model,") and line.startswith("'=1+1\\n.onnx,warboy,1,")
