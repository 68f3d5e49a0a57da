"""The pages and the trace: strangers' names stay names, nothing is fetched, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from furiosa.enf.performance import analyze_enf
from furiosa.enf.report import html, plots, roofline, trace
from furiosa.enf.report.program import of_enf
from furiosa.enf.report.timeline import Timeline
from furiosa.enf.testing.programs import Program, tensor
from furiosa.enf.testing.reports import HOSTILE, host_and_npu, named, report
from furiosa.enf.testing.traces import rows_of


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def made(function, program: Program | None = None) -> bytes:
    enf = (program or host_and_npu()).load()
    return function(named(enf), analyze_enf(enf), report(enf))


def nothing() -> Program:
    """A program that hands its input back."""
    p = Program()
    p.inputs = p.outputs = [tensor("x", 0, 64)]
    p.dram, p.steps = [(0, 64)], []
    return p


@pytest.mark.parametrize("function", [html.page, html.memory_page])
@pytest.mark.parametrize("program", [host_and_npu, nothing])
def test_the_markup_is_the_pages_own(function, program):
    """Nothing but the page's own two scripts, one of them data; no address; no element and no handler of a stranger's."""
    page = made(function, program()).decode()
    parser = Elements()
    parser.feed(page)
    names = {name for name, _ in parser.found}
    assert not names & {"a", "iframe", "img", "object", "embed", "base", "form", "frame", "audio", "video"}
    assert [a for name, a in parser.found if name == "script"] == [
        {"type": "application/json", "id": "data"},
        {},
    ]
    assert page.count("<style") == 1
    attributes = {key for _, a in parser.found for key in a}
    assert not [key for key in attributes if key.startswith("on") or key in ("src", "style", "action")]
    assert [a["href"] for _, a in parser.found if "href" in a] == ["data:,"]
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    assert "url(" not in style and "@import" not in style
    assert "\x1b" not in page and "\u202e" not in page and "\u2028" not in page


@pytest.mark.parametrize("function", [html.page, html.memory_page])
def test_the_policy_allows_the_pages_own_script_and_style_only(function):
    page = made(function).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy


def test_the_data_of_the_plots():
    page = made(html.page).decode()
    (text,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(text)
    lanes, starts, ends, steps, layers, names, _, commands = data["marks"]
    assert [data["lanes"][i] for i in lanes] == ["load", "load", "store", "npu"]
    assert all(a < b for a, b in zip(starts, ends)) and steps == [0] * 4 and commands == [1] * 4
    assert [data["names"][i] for i in names] == ["LOAD", "LOAD", "STORE", "TABLE_LOOKUP"]
    assert [data["layers"][i][0] for i in layers] == [HOSTILE[1], HOSTILE[1], HOSTILE[2], HOSTILE[1]]
    assert [len(column) for column in data["bands"]] == [3] * 8
    assert data["total_us"] == pytest.approx(analyze_enf(host_and_npu().load()).latency_us, abs=1e-3)


def test_a_file_that_says_nothing_of_where_it_comes_from():
    """Without debug map and names of buffers all commands and buffers are drawn all the same."""
    p = host_and_npu()
    p.debug.Clear()
    enf = p.load()
    assert not enf.memory.sram_tensor
    program, performance = of_enf(enf), analyze_enf(enf)
    for function in (html.page, html.memory_page):
        (text,) = re.findall(
            r'id="data">(.*?)</script>', function(program, performance, report(enf)).decode()
        )
        data = json.loads(text)
        assert data["marks"][4] == [-1] * 4 and data["layers"] == []
        assert len(data["bands"][0]) == 3
    rows_of(trace.chrome_trace(program, performance, "m").decode())


@pytest.mark.parametrize("function", [html.page, html.memory_page])
def test_same_input_same_bytes(function):
    assert made(function) == made(function)


def test_many_commands_are_joined(monkeypatch):
    """Every command stays in some mark, and every mark in its lane; how many there are is bounded."""
    enf = host_and_npu().load()
    program, performance = named(enf), analyze_enf(enf)
    timeline = Timeline(program, performance)
    for most in (1, 2, 3, 4):
        monkeypatch.setattr(plots, "LARGEST", most)
        marks = plots.content(program, performance, timeline, [])["marks"]
        assert len(marks[0]) <= max(most, 1)
        if most >= 3:
            assert sum(marks[7]) == 4 and len(set(marks[0])) == 3


def test_a_roofline_stays_below_its_roof():
    enf = host_and_npu().load()
    layers = analyze_enf(enf).layers
    circles = re.findall(r'<circle [^>]*cy="([\d.]+)"', roofline.svg(layers, enf.target, {}))
    assert len(circles) == len(layers)
    assert all(14 <= float(y) <= 330 - 42 for y in circles)
    assert roofline.svg([], enf.target, {}) == ""


def test_the_trace():
    enf = host_and_npu().load()
    performance = analyze_enf(enf)
    text = trace.chrome_trace(named(enf), performance, "m").decode("ascii")
    content = json.loads(text)
    counters = [e for e in content["traceEvents"] if e["ph"] == "C"]
    assert max(sum(e["args"].values()) for e in counters) == 256 + 2 * (1 << 16)
    assert sum(counters[-1]["args"].values()) == 0
    processes, names, rows = rows_of(text)
    assert list(processes) == [1]
    by_name = {names[row]: [e["name"] for e in events] for row, events in rows.items()}
    assert by_name["host"][-1] == "operators on the host"
    assert by_name["PCIe"] == ["made to the NPU", "y from the NPU"]
    assert by_name["DMA load"] == ["LOAD", "LOAD"] and by_name["NPU"] == ["TABLE_LOOKUP"]
    assert by_name["layers"] == [HOSTILE[1]]
    ends = [e["ts"] + e["dur"] for events in rows.values() for e in events]
    assert max(ends) == pytest.approx(performance.latency_us, abs=2e-3)
