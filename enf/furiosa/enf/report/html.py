"""One self-contained page of a compiled model.  It needs no network, and says so to the browser by its content policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from furiosa.enf import resources
from furiosa.enf.report import parts, plots, tables
from furiosa.enf.report.buffers import bands
from furiosa.enf.report.shares import shares, starting_us, verdict
from furiosa.enf.report.text import data, text
from furiosa.enf.report.timeline import Timeline

if TYPE_CHECKING:
    from furiosa.enf.performance import Performance
    from furiosa.enf.report.program import Program


def page(program: Program, performance: Performance, report: Mapping[str, Any]) -> bytes:
    """The whole report, UTF-8; the same program and the same report give the same bytes.

    Args:
        report: the compiler's JSON report of the program (docs/report.md).
    """
    timeline = Timeline(program, performance)
    found = bands(program, timeline, performance.spans)
    divided = shares(program, performance, timeline)
    said = verdict(divided, parts.utilization(performance, program.target))
    starting = starting_us(program)
    body = [
        parts.header(report, program),
        '<section class="card">' + parts.figures(report, performance, program.target),
        '<h2 class="space">Where the time goes</h2>' + parts.share_bar(divided, said) + "</section>",
        '<div class="two">' + parts.heaviest(report, performance, starting),
        parts.roof(performance, program.target, starting) + "</div>",
        parts.time_and_memory(program, found),
        tables.layer_table(performance, starting),
        tables.on_host(report),
        parts.footer(report),
    ]
    return _document(report, "".join(body), plots.content(program, performance, timeline, found))


def memory_page(program: Program, performance: Performance, report: Mapping[str, Any]) -> bytes:
    """The part about memory: what lies where in SRAM when, and the largest buffers."""
    timeline = Timeline(program, performance)
    found = bands(program, timeline, performance.spans)
    body = [
        parts.header(report, program),
        parts.busy(shares(program, performance, timeline)),
        parts.time_and_memory(program, found),
        tables.buffer_table(found, program.target),
        parts.footer(report),
    ]
    return _document(report, "".join(body), plots.content(program, performance, timeline, found))


def _document(report: Mapping[str, Any], body: str, content: dict[str, Any]) -> bytes:
    style, script = _file("page.css"), _file("page.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    out = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{text(report['model'])} for {text(report['target_npu'])}</title>",
        f"<style>{style}</style></head><body>",
        f"<main>{body}</main>",
        f'<script type="application/json" id="data">{data(content)}</script>',
        f"<script>{script}</script></body></html>\n",
    ]
    return "\n".join(out).encode("utf-8", "backslashreplace")


def _digest(content: str) -> str:
    """By their digests the page's own style and script are allowed, and nothing that a name might smuggle in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return resources.read(f"report/{name}")
