"""Budgets: each figure at, below and above its limit, the table, and what is no report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from furiosa.compiler.checks import budget

REPORT = {
    "model": "m.onnx",
    "target_npu": "warboy",
    "batch_size": 2,
    "latency_us": 251.5,
    "latency_note": "an estimate, not calibrated",
    "throughput_per_s": 7952.25,
    "dram_bytes_read": 3 << 30,
    "dram_bytes_written": 1 << 30,
    "npu_coverage": 0.9,
    "npu_coverage_of": "macs",
    "host_operators": 2,
    "sram_peak_bytes": 1024,
    "dram_bytes": 3 << 30,
    "enf_bytes": 48_488,
    "operators": [],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(REPORT))
    return file


def test_a_coverage_that_nobody_can_tell(path: Path, capsys) -> None:
    unknown = [{"name": "while", "op_type": "Loop", "reason": "the data ends it"}]
    path.write_text(json.dumps(REPORT | {"npu_coverage": None, "unknown_macs": unknown}))
    assert budget.main([str(path), "--min-npu-coverage", "0"]) == 0
    assert budget.main([str(path), "--min-npu-coverage", "0.5"]) == 1
    out = capsys.readouterr().out
    assert "npu_coverage  unknown  >=     0.5  FAIL: it cannot be known" in out
    assert "npu_coverage cannot be known: Loop 'while': the data ends it." in out
    path.write_text(json.dumps(REPORT | {"npu_coverage": None, "unknown_macs": []}))
    assert budget.main([str(path), "--min-npu-coverage", "0"]) == 4


@pytest.mark.parametrize(
    ("option", "kept", "broken", "row"),
    [
        ("--max-latency-us", "251.5", "251", "latency_us   251.5  <=     251  FAIL: 0.5 over (0.2 %)"),
        (
            "--min-throughput-per-s",
            "7952",
            "8000",
            "throughput_per_s  7,952.25  >=   8,000  FAIL: 47.75 under (0.6 %)",
        ),
        ("--max-dram-traffic-bytes", str(4 << 30), str(2 << 30), "FAIL: 2,147,483,648 over (100.0 %)"),
        ("--max-sram-bytes", "1024", "1023", "sram_peak_bytes   1,024  <=   1,023  FAIL: 1 over (0.1 %)"),
        ("--max-dram-bytes", str(3 << 30), str((3 << 30) - 1), "FAIL: 1 over (0.0 %)"),
        ("--max-enf-bytes", "48488", "0", "enf_bytes  48,488  <=       0  FAIL: 48,488 over"),
        ("--max-host-operators", "2", "0", "host_operators       2  <=       0  FAIL: 2 over"),
        ("--min-npu-coverage", "0.9", "0.95", "npu_coverage     0.9  >=    0.95  FAIL: 0.05 under (5.3 %)"),
    ],
)
def test_each_limit(option: str, kept: str, broken: str, row: str, path: Path, capsys) -> None:
    assert budget.main([str(path), option, kept]) == 0
    assert "FAIL" not in capsys.readouterr().out
    assert budget.main([str(path), option, broken]) == 1
    assert row in capsys.readouterr().out


def test_all_at_once(path: Path, tmp_path: Path, capsys) -> None:
    arguments = tmp_path / "arguments"
    arguments.write_text(f"{path}\n--max-latency-us\n300\n--max-enf-bytes\n40000\n--min-npu-coverage\n0.5\n")
    assert budget.main([f"@{arguments}"]) == 1
    assert capsys.readouterr().out == (
        "m.onnx for warboy, batch size 2\n"
        "figure        actual      budget\n"
        "latency_us     251.5  <=     300  ok\n"
        "enf_bytes     48,488  <=  40,000  FAIL: 8,488 over (21.2 %)\n"
        "npu_coverage     0.9  >=     0.5  ok\n"
        "latency_us is an estimate, not calibrated.\n"
        "npu_coverage is a share of the model's macs.\n"
    )


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        ("[]", 4, "is not the report of a compilation"),
        ("{", 4, "is not the report of a compilation"),
        (json.dumps(REPORT | {"enf_bytes": "1"}), 4, "has no figure 'enf_bytes'"),
        (json.dumps({k: v for k, v in REPORT.items() if k != "enf_bytes"}), 4, "has no figure 'enf_bytes'"),
        (json.dumps(REPORT | {"enf_bytes": float("nan")}), 4, "has no figure 'enf_bytes'"),
        (None, 2, "No such file or directory"),
    ],
)
def test_no_report(content: str | None, status: int, sentence: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "r.json"
    if content is not None:
        file.write_text(content)
    assert budget.main([str(file), "--max-enf-bytes", "1"]) == status
    assert sentence in capsys.readouterr().err


def test_estimates_say_what_they_are_worth(path: Path, capsys) -> None:
    assert budget.main([str(path), "--max-latency-us", "300", "--min-throughput-per-s", "1"]) == 0
    assert "latency_us and throughput_per_s are an estimate, not calibrated.\n" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["much", "nan", "inf"])
def test_bad_arguments(value: str, path: Path, capsys) -> None:
    assert budget.main([str(path), "--max-enf-bytes", value]) == 255
    assert "invalid" in capsys.readouterr().err
