"""The command ``furiosa bench``: what it runs, prints, writes and refuses."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from furiosa.enf.testing.traces import rows_of
from furiosa.runtime import program, recording, session
from furiosa.runtime.bench.cli import main
from furiosa.runtime.testing.enf_files import table_enf

X = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a.enf and x.npy, and in it the test."""
    monkeypatch.chdir(tmp_path)
    for name in ("FURIOSA_DEVICES", "NPU_DEVNAME", "FURIOSA_PROFILER_OUTPUT_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "a.enf").write_bytes(table_enf())
    (tmp_path / "b2.enf").write_bytes(table_enf(batch_size=2))
    np.save("x.npy", X)
    yield tmp_path
    assert recording.active == ()


@pytest.fixture
def runs(monkeypatch):
    """The arrays of all inferences."""
    seen = []
    for name in ("run", "run_timed"):
        original = getattr(program.Program, name)

        def counted(self, inputs, *rest, original=original):
            seen.append(inputs)
            return original(self, inputs, *rest)

        monkeypatch.setattr(program.Program, name, counted)
    return seen


def result(*arguments: str) -> dict:
    assert main(["a.enf", "-o", "r.json", *arguments]) == 0
    with open("r.json", encoding="ascii") as f:
        return json.load(f)


def test_latency(runs, capsys):
    r = result("-n", "20")
    assert len(runs) == 21  # one to warm up
    with open("a.enf", "rb") as f:
        data = f.read()
    assert r["model_data"] == {
        "path": "a.enf",
        "md5": hashlib.md5(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    measured = r["result"]
    assert (measured["mode"], measured["total num queries"], measured["batch size"]) == ("latency", 20, 1)
    stats = measured["latency stats"]
    order = ["min", "50th percentile", "90th percentile", "95th percentile", "99th percentile", "max"]
    assert [stats[key] for key in order] == sorted(stats[key] for key in order)
    assert 0 < stats["min"] <= stats["mean"] <= stats["max"]
    assert measured["total run time"] >= 20 * stats["min"]
    assert measured["qps"] == pytest.approx(20 / measured["total run time"] * 1e6, rel=1e-3)
    assert 0 < r["measured"]["simulator_us"] < stats["mean"] and r["measured"]["host_clusters_us"] == 0
    out = capsys.readouterr().out
    assert "latency-workload: one query at a time" in out
    assert "20 queries executed with batch size 1, after 1 to warm up, which are not counted" in out
    assert "99.9th percentile (us)" in out


def test_simulated_time_is_the_models_and_kept_apart(capsys):
    r = result()
    with session.create("a.enf") as s:
        performance = s.performance()
    simulated = r["simulated"]
    assert simulated["latency_us"] == performance.latency_us
    assert simulated["throughput_per_s"] == performance.throughput_per_s
    assert "estimate" in simulated["note"] and "not measured" in simulated["note"]
    for part in ("result", "measured"):
        assert "no NPU time" in r[part]["note"]
        assert not {"latency_us", "npu_us", "throughput_per_s"} & set(r[part])
    estimated, measured = capsys.readouterr().out.split("Measured on this machine")
    assert "Setup, once (us)" in estimated and "QPS" in measured and "QPS" not in estimated


def test_throughput(runs, capsys):
    r = result("-n", "50", "-w", "3", "-t", "2", "--workload", "T")
    assert len(runs) == 53  # each worker warms up
    assert (r["result"]["mode"], r["result"]["total num queries"]) == ("throughput", 50)
    assert (r["measured"]["workers"], r["measured"]["io_threads"]) == (3, 2)
    assert "workers, 3; I/O threads: 2" in capsys.readouterr().out


@pytest.mark.parametrize("workload", ["L", "T"])
def test_duration(workload):
    r = result("--duration", "0.2", "--workload", workload)
    assert r["result"]["total num queries"] > 1
    assert r["result"]["total run time"] >= 0.2e6


def test_samples_of_a_batch():
    assert main(["b2.enf", "-n", "3", "-o", "r.json", "-b", "2"]) == 0
    with open("r.json", encoding="ascii") as f:
        r = json.load(f)
    assert r["result"]["batch size"] == 2
    assert r["measured"]["samples_per_s"] == pytest.approx(2 * r["result"]["qps"], rel=1e-3)


def test_inputs(runs):
    assert result("--seed", "7")["inputs"] == "random, seed 7"
    seeded = runs[-1][0].copy()
    result("--seed", "7")
    assert np.array_equal(runs[-1][0], seeded)
    result("--seed", "8")
    assert not np.array_equal(runs[-1][0], seeded)
    assert result("-i", "x=x.npy")["inputs"] == "given"
    assert np.array_equal(runs[-1][0], X)


@pytest.mark.parametrize("workload", ["L", "T"])
def test_a_trace(workload):
    assert main(["a.enf", "-n", "3", "-w", "2", "--workload", workload, "--trace-output", "t.json"]) == 0
    with open("t.json", encoding="ascii") as f:
        processes, names, rows = rows_of(f.read())
    assert "no NPU time" in processes[1]
    assert processes[2] == "simulated, one run (an estimate): a.enf on warboy, batch size 1"
    events = [e for (pid, _), row in rows.items() if pid == 1 for e in row]
    warm = next(e for e in events if e["name"] == "warm up, not counted")
    inferences = [e for e in events if e["name"] == "Inference"]
    counted = [e for e in inferences if e["ts"] >= warm["ts"] + warm["dur"]]
    assert len(counted) == 3 and len(inferences) == (4 if workload == "L" else 5)
    if workload == "T":
        assert {name for (pid, _), name in names.items() if pid == 1} <= {
            "MainThread",
            "worker-0",
            "worker-1",
        }


def test_options_without_effect_are_told(capsys):
    assert main(["a.enf", "-w", "2"]) == 0
    assert capsys.readouterr().err == (
        "NOTE: --workers and --io-threads are for --workload T: workload L runs one query at a time\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["a.enf", "-n", "0"], 255, "argument --queries/-n: '0' is not a whole number from 1 to 10000000"),
        (["a.enf", "-n", "x"], 255, "'x' is not a whole number"),
        (["a.enf", "-n", "9" * 5000], 255, "is not a whole number"),
        (["a.enf", "-w", "257"], 255, "argument --workers/-w: '257' is not a whole number from 1 to 256"),
        (["a.enf", "-t", "-1"], 255, "'-1' is not a whole number from 1 to 256"),
        (["a.enf", "-b", "0"], 255, "'0' is not a whole number from 1 to 65536"),
        (["a.enf", "--duration", "nan"], 255, "'nan' is not a number of seconds from 0 to 86400"),
        (["a.enf", "--duration", "-1"], 255, "'-1' is not a number of seconds"),
        (["a.enf", "--workload", "X"], 255, "invalid choice: 'X'"),
        (["a.enf", "--seed", "1", "-i", "x.npy"], 255, "not allowed with argument"),
        (["a.enf", "-i", "a.enf"], 255, "a.enf is not a whole .npy file"),
        (["a.enf", "-i", "z=x.npy"], 255, "'z' not found in model"),
        (["a.enf", "-i", "x.npy", "-i", "x.npy"], 255, "1 tensors are expected, but 2"),
        (["a.enf", "-o", "no/r.json"], 255, "--output no/r.json: no file can be written there"),
        (["a.enf", "-o", "."], 255, "--output .: no file can be written there"),
        (["a.enf", "-T", "./a.enf"], 255, "--trace-output ./a.enf: the file is named twice"),
        (["a.enf", "-o", "r", "-T", "r"], 255, "--trace-output r: the file is named twice"),
        (["v.tar#a", "-o", "v.tar"], 255, "--output v.tar: the file is named twice"),
        (["a.enf", "-i", "x=x.npy", "-o", "x.npy"], 255, "--output x.npy: the file is named twice"),
        (["a.enf", "-i", "x.npy", "-o", "x.npy"], 255, "--output x.npy: the file is named twice"),
        (["a.enf", "-d", "gpu0"], 255, "gpu0"),
        (["a.enf", "-b", "4"], 4, "a.enf is compiled for batch size 1, but batch_size is 4"),
        (["no.enf"], 2, "no.enf: No such file or directory"),
        (["x.npy"], 4, ""),
        ([], 255, "the following arguments are required: MODEL"),
    ],
)
def test_what_is_refused(arguments, status, sentence, capsys):
    before = sorted(os.listdir())
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("ERROR: ") and err.count("\n") == 1 and sentence in err
    assert sorted(os.listdir()) == before


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "they are no NPU times" in " ".join(capsys.readouterr().out.split())
