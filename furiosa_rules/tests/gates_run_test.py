"""What the test rules say when they are run and what the lint aspect writes: on real models, kept and broken."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from runfiles import Runfiles

from furiosa.compiler.checks.testing import assert_sarif

HERE = "furiosa_rules/furiosa_rules/tests"


def _runfile(name: str) -> Path:
    return Path(Runfiles.Create().Rlocation(f"{HERE}/{name}"))


def _run(name: str) -> subprocess.CompletedProcess[str]:
    """Runs a test target as Bazel does: from the folder of its repository in its runfiles."""
    path = _runfile(name)
    folder = path.parents[2]
    return subprocess.run([path], cwd=folder, check=False, capture_output=True, text=True)


def test_a_budget_that_is_kept() -> None:
    done = _run("gate_budget_kept")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  ok\n") == 6


def test_a_budget_that_is_broken() -> None:
    done = _run("gate_budget_broken")
    assert done.returncode == 1, done.stdout + done.stderr
    verdicts = {line.split()[0]: "FAIL" in line for line in done.stdout.splitlines() if "=" in line}
    assert verdicts == {
        "latency_us": True,
        "enf_bytes": True,
        "host_operators": True,
        "npu_coverage": True,
        "dram_bytes": False,
    }
    assert "latency_us is an estimate, off by at most " in done.stdout


def test_a_compiler_that_leaks() -> None:
    done = _run("gate_leaking")
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.endswith(": DIFFERS")] == ["time zone Asia/Seoul: DIFFERS"]
    assert any("leaky.enf: " in line and line.endswith("section 'metadata'") for line in lines), done.stdout
    assert any("compiler_version: " in line and line.endswith("Asia/Seoul") for line in lines)


@pytest.mark.parametrize(("model", "is_on_host"), [("gate", False), ("gate_float", True)])
def test_findings(model: str, is_on_host: bool) -> None:
    sarif = json.loads(_runfile(f"{model}.sarif").read_text("ascii"))
    own = json.loads(_runfile(f"{model}.lint.json").read_text("ascii"))
    assert_sarif(sarif)
    assert bool(own["findings"]) == is_on_host
    assert len(sarif["runs"][0]["results"]) == len(own["findings"])
    assert own["label"] == f"//furiosa_rules/tests:{model}_enf"
    assert own["source"] == f"examples/models/tiny_{'float32' if is_on_host else 'int8'}.onnx"
    if is_on_host:
        assert {f["rule"] for f in own["findings"]} >= {"eight-bit-activations", "eight-bit-weights"}
