"""From a model file to a benchmark, a trace and a comparison of two compilations, by the command line alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from furiosa.compiler.cli.main import main
from furiosa.enf.testing.traces import rows_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, tiny_model: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("FURIOSA_DEVICES", "NPU_DEVNAME", "FURIOSA_PROFILER_OUTPUT_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tiny.onnx").write_bytes(tiny_model)
    return tmp_path


def read(path: str) -> dict:
    return json.loads(Path(path).read_text("ascii"))


def test_a_benchmark_agrees_with_the_report(folder: Path) -> None:
    assert (
        main(["compile", "tiny.onnx", "-o", "tiny.enf", "--batch-size", "2", "--report-json", "r.json"]) == 0
    )
    arguments = ["-n", "4", "-w", "2", "--workload", "T", "-o", "b.json", "--trace-output", "t.json"]
    assert main(["bench", "tiny.enf", *arguments]) == 0
    bench, report = read("b.json"), read("r.json")
    assert bench["simulated"]["latency_us"] == pytest.approx(report["latency_us"])
    assert bench["result"]["total num queries"] == 4 and bench["result"]["batch size"] == 2
    processes, _, rows = rows_of(Path("t.json").read_text("ascii"))
    assert ["simulated, setup" in processes[2], "simulated, one run" in processes[3]] == [True, True]
    commands = [e for (pid, tid), row in rows.items() if pid > 1 for e in row if "operator" in e["args"]]
    assert {e["args"]["operator"] for e in commands} <= {o["name"] for o in report["operators"]}
    ends = {
        pid: max(e["ts"] + e["dur"] for (p, _), row in rows.items() if p == pid for e in row)
        for pid in (2, 3)
    }
    simulated = bench["simulated"]
    assert ends[2] == pytest.approx(simulated["setup_us"], abs=2e-3)
    assert ends[3] == pytest.approx(simulated["latency_us"], abs=2e-3)


def test_a_model_file_is_compiled_first(folder: Path) -> None:
    assert main(["bench", "tiny.onnx", "-b", "3", "-o", "b.json"]) == 0
    bench = read("b.json")
    assert bench["measured"]["compiled"] is True and bench["result"]["batch size"] == 3


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ([], "the same, byte for byte"),
        (["--batch-size", "4"], "same source and compiler, other options: batch_size 1 -> 4"),
        (
            ["--target-npu", "warboy", "--compatibility", "0.6.3"],
            "same source and compiler, other options: target_npu warboy-2pe -> warboy, compatibility 0.10 -> 0.6.3",
        ),
    ],
)
def test_what_changed_between_two_compilations(
    folder: Path, options: list[str], verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "tiny.onnx", "-o", "a.enf"]) == 0
    assert main(["compile", "tiny.onnx", "-o", "b.enf", *options]) == 0
    capsys.readouterr()
    assert main(["enf", "diff", "a.enf", "b.enf"]) == (1 if options else 0)
    assert capsys.readouterr().out.splitlines()[0] == verdict
    main(["enf", "diff", "a.enf", "b.enf", "--json"])
    changes = json.loads(capsys.readouterr().out)
    assert changes["verdict"] == verdict
    if options:
        assert {"latency_us", "throughput_per_s"} <= changes["figures"].keys() and changes["layers"]
