"""The tables of the page, as HTML; the script sorts and filters them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from furiosa.enf.report import roofline
from furiosa.enf.report.buffers import KINDS, Band
from furiosa.enf.report.parts import gauge
from furiosa.enf.report.text import count, figure, microseconds, nbytes, percent, short, text

if TYPE_CHECKING:
    from furiosa.enf.performance import Layer, Performance
    from furiosa.enf.target import Target

_LAYERS, _NAMES, _BUFFERS = 5000, 200, 200  # rows in a table, names in a list
_PLACES = {
    "resident": "constant, stays",
    "constants": "constant, loaded in each run",
    "activations": "activation",
}


def layer_table(performance: Performance, starting: Mapping[int, float]) -> str:
    """A row for each layer on the NPU."""
    layers = performance.layers[:_LAYERS]
    if not layers:
        return ""
    head = _head(
        ("Layer", ""),
        ("Time, µs", "num"),
        ("Simulated, µs", "num"),
        ("Compute bound, µs", "num"),
        ("Memory bound, µs", "num"),
        ("Bound by", ""),
        ("Utilisation", "num"),
        ("MACs", "num"),
        ("DRAM bytes", "num"),
        ("Waste", ""),
    )
    most = max(x.busy_us for x in layers) or 1.0
    rows = "".join(_layer(i, x, most, starting.get(x.index, 0.0)) for i, x in enumerate(layers))
    cut = _cut(len(performance.layers), _LAYERS, "layers")
    return (
        '<section class="card"><div class="bar"><h2>Layers on the NPU</h2>'
        '<input type="search" id="filter" placeholder="Name or type" aria-label="Show layers with this in their name or type"></div>'
        "<p class=\"note\">Time is the layer's share of the NPU's time; the shares add up. A layer's name shows it in the plots above.</p>"
        f'<div class="scroll"><table id="layers"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{cut}</section>'
    )


def _layer(i: int, x: Layer, most: float, starting: float) -> str:
    bound = roofline.bound(x, starting)
    traffic = x.dram_bytes_read + x.dram_bytes_written
    cells = [
        f'<td class="name" title="{text(x.name)}"><button type="button" data-layer="{i}">{text(short(x.name, 64)) or "(no name)"}</button> <small>{text(x.op_type)}</small></td>',
        _number(x.busy_us, figure(x.busy_us), gauge(x.busy_us / most, f"c-{roofline.COLOURS[bound]}")),
        _number(x.simulated_us, figure(x.simulated_us)),
        _number(x.compute_bound_us, figure(x.compute_bound_us)),
        _number(x.memory_bound_us, figure(x.memory_bound_us)),
        f"<td class='bound'>{bound}</td>",
        _number(x.utilization, percent(x.utilization) if x.macs else "–"),
        _number(x.macs, count(x.macs) if x.macs else "–"),
        _number(traffic, nbytes(traffic) if traffic else "–"),
        f'<td class="words">{text("; ".join(x.waste))}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: float, shown: str, more: str = "") -> str:
    return f'<td class="num" data-v="{value:.6g}">{more}{shown}</td>'


def _head(*columns: tuple[str, str]) -> str:
    return "".join(
        f'<th scope="col"{f" class={kind}" if kind else ""}><button type="button">{name}</button></th>'
        for name, kind in columns
    )


def _cut(n: int, shown: int, what: str) -> str:
    return (
        f'<p class="note">The first {shown:,} of {n:,} {what}; the JSON report has all.</p>'
        if n > shown
        else ""
    )


def buffer_table(found: list[Band], target: Target) -> str:
    """The largest buffers in SRAM."""
    if not found:
        return ""
    head = _head(
        ("Tensor", ""),
        ("What", ""),
        ("Bytes", "num"),
        ("Addresses", "num"),
        ("Cycles", "num"),
        ("Lives, µs", "num"),
    )
    largest = sorted(found, key=lambda b: (-b.size, b.start, b.address))[:_BUFFERS]
    rows = "".join(
        f'<tr><td class="name">{text(b.name)}</td><td>{_PLACES[KINDS[b.kind]]}</td>'
        + _number(b.size, f"{b.size:,}", gauge(b.size / target.sram_bytes))
        + _number(b.address, f"[{b.address:,}, {b.address + b.size:,})")
        + _number(b.start, f"[{b.start:,}, {b.end:,})")
        + _number(b.end_us - b.start_us, figure(b.end_us - b.start_us))
        + "</tr>"
        for b in largest
    )
    more = (
        f'<p class="note">The largest {_BUFFERS} of {len(found):,} buffers.</p>'
        if len(found) > _BUFFERS
        else ""
    )
    return (
        '<section class="card"><h2>Largest buffers</h2><div class="scroll"><table id="buffers">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}</section>"
    )


def on_host(report: Mapping[str, Any]) -> str:
    """What runs on the host and why: a paragraph for all operators that break the same rules and get the same hints."""
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for op in report["operators"]:
        if op["placed_on"] == "host":
            said = tuple((r["rule"], r["message"], r["hint"], r["allowed"]) for r in op["reasons"])
            groups.setdefault(said, []).append(op)
    total = report["npu_operators"]
    if groups:
        ordered = sorted(groups.items(), key=lambda g: (-_cost(g[1]), g[0]))
        shown = "".join(_group(said, ops) for said, ops in ordered[:_NAMES])
    else:
        said = f"Nothing: all {total:,} operators run on the NPU." if total else "The model has no operators."
        shown = f'<p class="note">{said}</p>'
    return f'<section class="card"><h2>What runs on the host, and why</h2>{shown}</section>'


def _cost(ops: list[Mapping[str, Any]]) -> float:
    return sum(op["host_us"] + op["transfer_us"] for op in ops)


def _group(said: tuple[tuple[str, str, str, str], ...], ops: list[Mapping[str, Any]]) -> str:
    rules = "".join(
        f"<p><b>{text(rule)}</b>: {text(message)} {text(hint)} "
        f'<span class="note">Allowed: {text(allowed)}.</span></p>'
        for rule, message, hint, allowed in said
    )
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for op in ops:
        kinds.setdefault(op["op_type"], []).append(op)
    ordered = sorted(kinds.items(), key=lambda k: (-_cost(k[1]), k[0]))
    shown = "".join(_kind(kind, own) for kind, own in ordered[:_NAMES])
    return f'<div class="reason">{rules}{shown}</div>'


def _kind(kind: str, ops: list[Mapping[str, Any]]) -> str:
    moved = sum(op["transfer_us"] for op in ops)
    transfers = f", {microseconds(moved)} of it transfers" if moved else ""
    names = "".join(f"<li>{_named(op)}</li>" for op in ops[:_NAMES])
    rest = f"<li>… and {len(ops) - _NAMES:,} more</li>" if len(ops) > _NAMES else ""
    return (
        f"<details><summary><b>{len(ops):,} × {text(kind)}</b> about {microseconds(_cost(ops))}{transfers}</summary>"
        f"<ul>{names}{rest}</ul></details>"
    )


def _named(op: Mapping[str, Any]) -> str:
    found = "; ".join(r["actual"] for r in op["reasons"])
    return (text(op["name"]) or "(no name)") + (
        f', <span class="kind">found {text(found)}</span>' if found else ""
    )
