"""Findings as SARIF and JSON: what SARIF 2.1.0 requires, rule ids, sentences, and that nothing changes them but the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from furiosa.compiler.checks import lint
from furiosa.compiler.checks.testing import assert_sarif
from furiosa.compiler.cli.main import main as furiosa
from furiosa.compiler.ldfg import rules
from furiosa.compiler.ldfg.verdict import rule_id


@pytest.fixture
def report(quantized_model: bytes, tmp_path: Path) -> Path:
    (tmp_path / "m.onnx").write_bytes(quantized_model)
    path = tmp_path / "report.json"
    assert (
        furiosa(
            ["compile", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.enf"), "--report-json", str(path)]
        )
        == 0
    )
    return path


def linted(report: Path, source: str = "models/m.onnx") -> tuple[dict, dict]:
    sarif, own = report.with_suffix(".sarif"), report.with_suffix(".lint.json")
    arguments = [str(report), "--source", source, "--label", "//models:m_enf"]
    assert lint.main([*arguments, "--sarif", str(sarif), "--json", str(own)]) == 0
    return json.loads(sarif.read_text("ascii")), json.loads(own.read_text("ascii"))


def test_a_host_operator(report: Path) -> None:
    sarif, own = linted(report)
    assert_sarif(sarif)
    on_host = [o for o in json.loads(report.read_text())["operators"] if o["placed_on"] == "host"]
    assert own["findings"] == [
        {k: v for k, v in o.items() if k not in ("placed_on", "reasons")} | reason
        for o in on_host
        for reason in o["reasons"]
    ]
    assert (own["label"], own["source"], own["host_operators"]) == ("//models:m_enf", "models/m.onnx", 2)

    (run,) = sarif["runs"]
    beside, result = run["results"]
    assert [r["id"] for r in run["tool"]["driver"]["rules"]] == [beside["ruleId"], result["ruleId"]]
    assert (beside["ruleId"], result["ruleId"]) == ("beside-host", "operator-table")
    reason = on_host[1]["reasons"][0]
    text = result["message"]["text"]
    assert text.startswith("Sinh 'sinh' runs on the host. ")
    assert f"{reason['message']} Found: Sinh. Allowed: {reason['allowed']}. {reason['hint']}" in text
    place = result["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "models/m.onnx"
    assert place["logicalLocations"][0]["fullyQualifiedName"] == "//models:m_enf/sinh"
    assert result["level"] == "note"  # it does no multiply-accumulates


def locations(run: dict) -> list[dict]:
    """Where it names the model's file."""
    found = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in run["results"]]
    return [*found, *(artifact["location"] for artifact in run["artifacts"])]


def test_a_log_that_is_no_sarif_is_noticed(report: Path) -> None:
    """The check by the schema does check."""
    for change in (
        lambda run: run["results"][0].update(level="fatal"),
        lambda run: run["results"][0].pop("message"),
        lambda run: run["results"][0].update(rule="x"),
        lambda run: run["results"][0]["locations"][0]["physicalLocation"]["region"].update(startLine=0),
        lambda run: [location.update(uri="a b") for location in locations(run)],
        lambda run: run["results"][0].update(ruleIndex=5),
    ):
        sarif, _ = linted(report)
        assert_sarif(sarif)
        change(sarif["runs"][0])
        with pytest.raises((AssertionError, IndexError)):
            assert_sarif(sarif)


def test_rules_and_levels_of_many(report: Path) -> None:
    content = json.loads(report.read_text())
    content["operators"] = [
        {
            "name": name,
            "op_type": "Conv",
            "placed_on": "host",
            "macs": macs,
            "host_us": 1.0,
            "transfer_us": 0.0,
        }
        | {"reasons": [dict.fromkeys(lint.REASON, "t") | {"rule": rule} for rule in broken]}
        for name, macs, broken in (("a", 5, ["z-rule", "b-rule"]), ("b", 0, ["b-rule"]), ("c", 0, []))
    ]
    report.write_text(json.dumps(content))
    sarif, own = linted(report)
    assert_sarif(sarif)
    (run,) = sarif["runs"]
    assert [r["id"] for r in run["tool"]["driver"]["rules"]] == ["b-rule", "z-rule"]
    assert [(r["ruleId"], r["ruleIndex"], r["level"]) for r in run["results"]] == [
        ("z-rule", 1, "warning"),
        ("b-rule", 0, "warning"),
        ("b-rule", 0, "note"),
    ]
    assert len({r["partialFingerprints"]["operatorAndRule/v1"] for r in run["results"]}) == 3
    assert len(own["findings"]) == 3


def test_nothing_on_the_host(report: Path) -> None:
    content = json.loads(report.read_text())
    content["operators"] = [o for o in content["operators"] if o["placed_on"] == "npu"]
    report.write_text(json.dumps(content))
    sarif, own = linted(report)
    assert_sarif(sarif)
    assert sarif["runs"][0]["results"] == own["findings"] == []


def test_a_path_with_a_space(report: Path) -> None:
    sarif, _ = linted(report, "my models/é#1.onnx")
    assert sarif["runs"][0]["artifacts"][0]["location"]["uri"] == "my%20models/%C3%A9%231.onnx"
    assert_sarif(sarif)


def test_rule_ids_are_those_of_the_verdicts(report: Path) -> None:
    known = {rule_id(f) for f in vars(rules).values() if callable(f) and f.__module__ == rules.__name__}
    for finding in linted(report)[1]["findings"]:
        assert finding["rule"] in known
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", finding["rule"])


@pytest.mark.parametrize("content", ["{}", "[", '{"operators": [1]}', '{"operators": [{"reasons": [{}]}]}'])
def test_no_report(content: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "r.json"
    file.write_text(content)
    outputs = ["--sarif", str(tmp_path / "s"), "--json", str(tmp_path / "j")]
    assert lint.main([str(file), "--source", "m.onnx", "--label", "//:m", *outputs]) == 4
    assert "is not the report of a compilation" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]
