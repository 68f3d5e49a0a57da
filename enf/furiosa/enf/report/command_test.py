"""``furiosa enf report``: what it writes, and what it refuses in one sentence."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf import cli
from furiosa.enf.performance import analyze_enf
from furiosa.enf.report import html, loaded
from furiosa.enf.report.program import of_enf
from furiosa.enf.testing.reports import HOSTILE, host_and_npu, report

FILE = host_and_npu().to_bytes()
ENF = host_and_npu().load()
REPORT = report(ENF)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.enf").write_bytes(FILE)
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    return tmp_path


def test_it_writes_what_is_asked_for(folder, capsys):
    argv = ["report", "a.enf", "r.json"]
    assert (
        cli.main([*argv, "--report", "p.html", "--analyze-memory", "m.html", "--chrome-trace", "t.json"]) == 0
    )
    assert capsys.readouterr() == ("", "")
    assert sorted(os.listdir()) == ["a.enf", "m.html", "p.html", "r.json", "t.json"]
    assert (folder / "p.html").read_bytes().startswith(b"<!DOCTYPE html>")
    assert len((folder / "m.html").read_bytes()) < len((folder / "p.html").read_bytes())
    assert json.loads((folder / "t.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("argv", "status", "sentence"),
    [
        ([], 255, "nothing to write"),
        (["--report", "r.json"], 255, "r.json is named twice"),
        (["--report", "a", "--chrome-trace", "./a"], 255, "./a is named twice"),
        (["--report", "missing/p.html"], 2, "cannot write missing/p.html"),
    ],
)
def test_bad_arguments(argv, status, sentence, capsys):
    assert cli.main(["report", "a.enf", "r.json", *argv]) == status
    err = capsys.readouterr().err
    assert err.startswith("ERROR: ") and err.count("\n") == 1 and sentence in err
    assert sorted(os.listdir()) == ["a.enf", "r.json"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b'{"latency_us": NaN}', "it is no JSON"),
        (b"[]", "the report is no object"),
        (b"{}", "'model' of the report is not a string"),
        (json.dumps(REPORT | {"enf_bytes": 7}).encode(), "the report of another ENF: its enf_bytes is 7"),
        (json.dumps(REPORT | {"batch_size": True}).encode(), "'batch_size' of the report is not an integer"),
        (json.dumps(REPORT | {"latency_us": -1}).encode(), "'latency_us' of the report is not a number"),
        (json.dumps(REPORT | {"npu_coverage_of": "x"}).encode(), "'npu_coverage_of' of the report is not"),
        (json.dumps(REPORT | {"operators": 3}).encode(), "'operators' is no list"),
        (json.dumps(REPORT | {"operators": [{}]}).encode(), "'name' of an operator is not a string"),
    ],
)
def test_what_is_no_report_of_this_file(content, sentence, folder, capsys):
    (folder / "r.json").write_bytes(content)
    assert cli.main(["report", "a.enf", "r.json", "--report", "p.html"]) == 4
    err = capsys.readouterr().err
    assert err.startswith("ERROR: r.json: ") and err.count("\n") == 1 and sentence in err
    assert sorted(os.listdir()) == ["a.enf", "r.json"]


def test_a_report_that_is_too_large(folder, capsys, monkeypatch):
    monkeypatch.setattr(loaded, "MAX_BYTES", 100)
    assert cli.main(["report", "a.enf", "r.json", "--report", "p.html"]) == 4
    assert "101 bytes" in capsys.readouterr().err


def test_a_missing_report(capsys):
    assert cli.main(["report", "a.enf", "nowhere.json", "--report", "p.html"]) == 2
    assert "cannot read nowhere.json" in capsys.readouterr().err


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(HOSTILE),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(REPORT)), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(REPORT)), VALUES, max_size=3), st.integers(0, 3))
def test_any_report_is_refused_or_shown(changes, where):
    """At the top, in an operator, in a reason: one sentence, or a page."""
    content = json.loads(json.dumps(REPORT))
    operator = content["operators"][0]
    fields = sorted(operator["reasons"][0] if where == 2 else operator)
    target = (content, operator, operator["reasons"][0], content)[where]
    for i, (key, value) in enumerate(changes.items()):
        target[key if where in (0, 3) else fields[i % len(fields)]] = value
    try:
        parsed = loaded.parse(json.dumps(content).encode(), ENF)
    except loaded.ReportError as e:
        assert "\n" not in str(e)
        return
    for function in (html.page, html.memory_page):
        function(of_enf(ENF), analyze_enf(ENF), parsed)
