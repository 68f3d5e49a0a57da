"""A comparison as one HTML page that needs nothing but itself: no script, no other file, no network."""

from __future__ import annotations

import math
from html import escape

from furiosa.runtime.compare import report
from furiosa.runtime.compare.result import Comparison, Row

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2330; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { padding: .6rem .9rem; border-left: .4rem solid; border-radius: .2rem; }
.equal { background: #e8f5ec; border-color: #2c8a4b; } .close { background: #fdf6e0; border-color: #c79a18; }
.far { background: #fdeaea; border-color: #c23434; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; }
th, td { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid #dde2ea; vertical-align: top; }
th { background: #f3f5f9; position: sticky; top: 0; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
td.name { overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: .8rem; }
tr.differs { background: #fff3f3; } tr.first { background: #ffd9d9; font-weight: 600; } tr.skipped { color: #8a93a3; }
.bar { display: inline-block; height: .8rem; background: #4a78c2; vertical-align: middle; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dt { color: #5b6577; } dd { margin: 0; overflow-wrap: anywhere; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def to_html(c: Comparison) -> bytes:
    """The page, UTF-8; the same comparison gives the same bytes."""
    first = c.first_wrong or c.first_difference
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>furiosa compare: {_text(c.model)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(report.title(c))}</h1>",
        _verdict(c),
        _facts(c),
        _explained(c),
    ]
    if first is not None:
        of = first.wrong if first.wrong.differing else first.tally
        parts.append("<h2>How far the first one is off</h2>" + _histogram(of.histogram()))
        parts.append("<h2>How far all of them are off</h2>" + _histogram(report.joined(c.rows)))
    parts.append("<h2>Outputs</h2>" + _table(c.outputs, first) + _whole(c))
    parts.append(
        "<h2>Layers</h2><p>Each is compared with what the reference makes of the values that the simulator has before it.</p>"
    )
    parts.append(_table(c.layers, first) + "</body></html>\n")
    return "\n".join(parts).encode("utf-8", "backslashreplace")


def _verdict(c: Comparison) -> str:
    kind = "far" if not c.is_right else "close" if any(r.wrong.differing for r in c.rows) else "equal"
    lines = "<br>".join(_text(line) for line in report.verdict(c))
    return f'<p class="verdict {kind}" id="verdict">{lines}</p>'


def _explained(c: Comparison) -> str:
    items = "".join(f"<li>{_text(why)}: {_text(', '.join(rows))}</li>" for why, rows in report.explained(c))
    return f"<h2>Why elements differ</h2><ul>{items}</ul>" if items else ""


def _whole(c: Comparison) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in report.ends(c, c.outputs))
    return f"<p>From end to end, all layers in a row:</p><ul>{items}</ul>"


def _facts(c: Comparison) -> str:
    facts = {
        "source": c.source,
        "SHA-256 of the source": c.source_sha256,
        "compiler": c.compiler_version,
        "inputs": ", ".join(c.inputs) + (f" (seed {c.seed})" if c.seed is not None else ""),
        "allowed": f"{c.max_lsb} LSB",
        "compared": report.summary(c),
    }
    if c.changed:
        facts["differs from this compiler's"] = ", ".join(c.changed)
    return "<dl>" + "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts.items()) + "</dl>"


def _histogram(rows: list[tuple[int, int, int]]) -> str:
    """Bars on a logarithmic scale, so that one element among millions is still seen."""
    top = max((math.log1p(n) for _, _, n in rows), default=0) or 1
    body = "".join(
        f'<tr><td class="n">{report.bucket(low, high)}</td><td class="n">{n}</td>'
        f'<td><span class="bar" style="width:{30 * math.log1p(n) / top:.2f}rem"></span></td></tr>'
        for low, high, n in rows
    )
    return (
        '<table class="histogram"><tr><th>LSB off</th><th>elements</th><th>logarithmic</th></tr>'
        f"{body}</table>"
    )


def _table(rows: list[Row], first: Row | None) -> str:
    head = "".join(
        f"<th>{h}</th>"
        for h in (
            "#",
            "operator",
            "on",
            "tensor",
            "type",
            "elements",
            "differing",
            "largest LSB",
            "LSB off: elements",
            "of these right",
        )
    )
    return (
        f"<table><tr>{head}</tr>" + "".join(_line(i, r, r is first) for i, r in enumerate(rows)) + "</table>"
    )


def _line(i: int, r: Row, is_first: bool) -> str:
    kind = (
        "skipped"
        if r.tally is None
        else "first"
        if is_first
        else "differs"
        if r.tally.differing
        else "equal-row"
    )
    cells = [
        f'<td class="n">{i}</td>',
        f"<td>{_text(report.kind(r))}</td><td>{_text(r.placed_on)}</td>",
        f'<td class="name">{_text(r.tensor)}</td><td>{_text(r.dtype)}{_text(str(list(r.shape)))}</td>',
    ]
    if r.tally is None:
        cells.append(f'<td colspan="5">not compared: {_text(r.reason)}</td>')
    else:
        t = r.tally
        counts = ", ".join(f"{report.bucket(a, b)}: {n}" for a, b, n in t.histogram()[1:] if n)
        cells.append(
            f'<td class="n">{t.elements}</td><td class="n">{t.differing}</td><td class="n">{t.largest}</td><td>{counts}</td>'
            f"<td>{_text(_right(r))}</td>"
        )
    return f'<tr class="{kind}">' + "".join(cells) + "</tr>"


def _right(r: Row) -> str:
    reasons = (
        (r.nearest, "nearest to the real number"),
        (r.unoptimised, "as without the reference's optimiser"),
    )
    parts = [f"{n}: {why}" for n, why in reasons if n]
    return ", ".join(parts + [r.note] if r.note else parts)


def _text(text: str) -> str:
    """Names out of a stranger's file, as text and nothing else."""
    return escape("".join(x if x.isprintable() else repr(x)[1:-1] for x in text))
