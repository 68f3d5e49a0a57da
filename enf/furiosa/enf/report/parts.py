"""The parts of the page above its tables, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from furiosa.enf import selection
from furiosa.enf.report import roofline
from furiosa.enf.report.buffers import RESIDENT, Band, peak_bytes
from furiosa.enf.report.shares import Share
from furiosa.enf.report.text import count, figure, microseconds, nbytes, percent, short, text

if TYPE_CHECKING:
    from furiosa.enf.performance import Layer, Performance
    from furiosa.enf.report.program import Program
    from furiosa.enf.target import Target

_HEAVIEST = 6


def header(report: Mapping[str, Any], program: Program) -> str:
    """The model's name, what of it was compiled, and for what."""
    target, metadata = program.target, program.metadata
    facts = [
        f"{report['target_npu']} ({target.pes} PE{'s fused' * (target.pes > 1)})",
        f"batch size {report['batch_size']}",
        report["source_format"],
        f"{count(report['total_macs'])} MACs",
        f"furiosa-compiler {report['compiler_version']}",
    ]
    if metadata.HasField("selection"):
        facts.append(f"of the model: {selection.text(metadata.selection)}")
    spans = "".join(f"<span>{text(f)}</span>" for f in facts)
    return f'<header><h1>{text(report["model"])}</h1><p class="sub">{spans}</p></header>'


def figures(report: Mapping[str, Any], performance: Performance, target: Target) -> str:
    """The headline."""
    basis = "of the MACs; " if report["npu_coverage_of"] == "macs" else ""
    share = report["npu_coverage"]
    if share is None:
        basis = "the MACs of some operators cannot be known; "
    operators = (
        f"{report['npu_operators']:,} of {report['npu_operators'] + report['host_operators']:,} operators"
    )
    sram, dram = report["sram_peak_bytes"], report["dram_bytes"]
    traffic = performance.dram_bytes_read + performance.dram_bytes_written
    inferences = "samples" if report["batch_size"] > 1 else "runs"
    cards = [
        _figure("Latency", microseconds(report["latency_us"]), "one run, an estimate", "first"),
        _figure(
            "Throughput",
            f"{figure(performance.throughput_per_s)} / s",
            f"{inferences} of one card; host and PCIe overlap",
        ),
        _figure("On the NPU", "unknown" if share is None else percent(share), f"{basis}{operators}"),
        _figure(
            "SRAM",
            nbytes(sram),
            f"of {nbytes(target.sram_bytes)}; lower bound {nbytes(report['sram_lower_bound_bytes'])}",
            share=sram / target.sram_bytes,
        ),
        _figure("DRAM", nbytes(dram), f"used; {nbytes(traffic)} moved in a run"),
        _figure("ENF", nbytes(report["enf_bytes"]), f"{report['enf_bytes']:,} bytes"),
    ]
    host = " The host's part of it is not calibrated at all." if performance.host_us else ""
    note = f'<p class="note">Latency and throughput: {text(report["latency_note"])}.{host}</p>'
    return f'<dl class="figures">{"".join(cards)}</dl>{note}'


def _figure(name: str, value: str, note: str, kind: str = "", share: float | None = None) -> str:
    filled = "" if share is None else gauge(share)
    return (
        f'<div class="{kind}"><dt>{name}</dt><dd>{text(value)}{filled}<small>{text(note)}</small></dd></div>'
    )


def gauge(share: float, colour: str = "fill") -> str:
    """A bar that is as full as the share, 0 to 1."""
    width = 100 * min(max(share, 0), 1)
    return (
        '<svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="4"/>'
        f'<rect class="{colour}" width="{width:.2f}" height="4"/></svg>'
    )


def share_bar(parts: list[Share], said: str) -> str:
    """A bar of the parts of the latency with its legend."""
    total = sum(p.us for p in parts) or 1.0
    rects, items, x = [], [], 0.0
    for p in parts:
        if p.us <= 0:
            continue
        width = 1000 * p.us / total
        said_part = f"{p.name}: {microseconds(p.us)}, {percent(p.us / total)}"
        rects.append(
            f'<rect class="c-{p.key}" x="{x:.2f}" width="{width:.2f}" height="10"><title>{said_part}</title></rect>'
        )
        items.append(f"<li>{key(p.key)}{p.name} <b>{percent(p.us / total)}</b> {microseconds(p.us)}</li>")
        x += width
    return (
        f'<p class="verdict">{said}</p>'
        f'<svg class="shares" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{text(said)}">'
        f'{"".join(rects)}</svg><ul class="legend">{"".join(items)}</ul>'
    )


def key(colour: str) -> str:
    """A square of a colour, for a legend."""
    return f'<svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="c-{colour}" width="10" height="10" rx="2"/></svg>'


def utilization(performance: Performance, target: Target) -> float:
    """Multiply-accumulates over the peak of the whole run, 0 to 1."""
    peak = target.slices * target.mac_width * target.mac_height * target.clock_hz / 1e6
    done = sum(x.macs for x in performance.layers)
    return done / (peak * performance.latency_us) if performance.latency_us else 0.0


def heaviest(report: Mapping[str, Any], performance: Performance, starting: Mapping[int, float]) -> str:
    """The layers and operators of the host that take most of the time."""
    rows: list[tuple[float, str, str, str, str]] = []  # µs, name, type, colour, words
    for layer in performance.layers:
        kind = roofline.bound(layer, starting.get(layer.index, 0.0))
        rows.append((layer.busy_us, layer.name, layer.op_type, roofline.COLOURS[kind], _words(layer, kind)))
    for op in report["operators"]:
        if op["placed_on"] == "host":
            why = "; ".join(["on the host", *(r["rule"] for r in op["reasons"])])
            rows.append((op["host_us"] + op["transfer_us"], op["name"], op["op_type"], "host", why))
    rows = sorted(rows, key=lambda r: -r[0])[:_HEAVIEST]
    total = report["latency_us"] or 1.0
    most = rows[0][0] if rows and rows[0][0] else 1.0
    items = "".join(
        f'<li><div class="row"><span title="{text(name)}"><b>{text(short(name, 48))}</b> <span class="kind">{text(kind)}</span></span>'
        f'<span class="num">{microseconds(us)} <span class="kind">{percent(us / total)}</span></span></div>'
        f'{gauge(us / most, f"c-{colour}")}<div class="note">{text(words)}</div></li>'
        for us, name, kind, colour, words in rows
    )
    return f'<section class="card"><h2>What takes longest</h2><ol class="heavy">{items}</ol></section>'


def _words(layer: Layer, kind: str) -> str:
    """What bounds a layer, and what it wastes."""
    bound = {
        "compute": "bound by compute",
        "DRAM": "bound by DRAM",
        "starting": "bound by starting its commands",
    }[kind]
    used = f", {percent(layer.utilization)} of the peak" if layer.macs else ""
    return "; ".join([bound + used, *layer.waste[:2]])


def roof(performance: Performance, target: Target, starting: Mapping[int, float]) -> str:
    """The roofline plot; nothing where no layer on the NPU does multiply-accumulates."""
    plot = roofline.svg(performance.layers, target, starting)
    if not plot:
        return ""
    legend = "".join(
        f"<li>{key(colour)}{word}</li>"
        for colour, word in (
            ("npu", "bound by compute"),
            ("load", "bound by DRAM"),
            ("idle", "bound by starting"),
        )
    )
    return (
        '<section class="card"><h2>Roofline</h2><p class="note">A layer is a circle, as large as its time. Under the slope DRAM is '
        f'the limit, under the flat line the multipliers are; beside it stand layers that need no DRAM, in their order.</p><div class="scroll">{plot}</div><ul class="legend">{legend}</ul></section>'
    )


def busy(parts: list[Share]) -> str:
    """How much of the NPU's time its PE is busy, in one sentence."""
    us = {p.key: p.us for p in parts}
    working = us["npu"] + us["idle"]
    total = working + us["load"]
    if not total:
        return ""
    said = f"For {microseconds(working)} of the {microseconds(total)} that the NPU takes, {percent(working / total)}, it is busy"
    return f'<p class="note">{said}; else it waits for DRAM.</p>'


def time_and_memory(program: Program, found: list[Band]) -> str:
    """The frame of what the script draws."""
    kinds = (
        ("static", "constants that stay (static)"),
        ("load", "constants of this run"),
        ("npu", "activations (dynamic)"),
    )
    legend = "".join(f"<li>{key(colour)}{word}</li>" for colour, word in kinds)
    static = sum(b.size for b in found if b.kind == RESIDENT)
    said = (
        f"Of {nbytes(program.target.sram_bytes)} at most {nbytes(peak_bytes(found))} live at one time, {nbytes(static)} of it "
        f"constants that stay. Buffers reach up to address {max((b.address + b.size for b in found), default=0):,}."
    )
    memory = (
        f'<h2 class="space">What lies in SRAM</h2><p class="note">{said}</p><ul class="legend">{legend}</ul>'
        '<div class="plot"><canvas id="memory" tabindex="0" role="img" aria-describedby="tip" '
        f'aria-label="Memory map: addresses of SRAM, {nbytes(program.target.sram_bytes)}, over the time of a run"></canvas></div>'
        if program.commands
        else ""
    )
    return (
        '<section class="card" id="time"><div class="bar"><h2>One run over time</h2>'
        '<div class="buttons" role="group" aria-label="Zoom"><button type="button" id="in" aria-label="Zoom in">+</button>'
        '<button type="button" id="out" aria-label="Zoom out">−</button><button type="button" id="all">Whole run</button></div></div>'
        '<p class="note">Drag to zoom, double-click for the whole run. Keys: arrows move from mark to mark, + − 0 zoom.</p>'
        '<div class="plot"><canvas id="lanes" tabindex="0" role="img" aria-describedby="tip" '
        'aria-label="Timeline: what host, PCIe, DMA and NPU do in one run"></canvas></div>'
        f'{memory}<div id="tip" role="status" aria-live="polite" hidden></div>'
        "<noscript><p>These two plots need the page's script.</p></noscript></section>"
    )


def footer(report: Mapping[str, Any]) -> str:
    """Where the figures come from."""
    return (
        "<footer><p>Cycles and times are those of the NPU simulator's timing model, not of a card. Compute bound: what the commands "
        "of a layer keep the NPU busy. Memory bound: its DRAM traffic at full bandwidth. Simulated: from the start of its first "
        f"command to the end of its last. On the host: {text(report['host_cost_note'])}.</p>"
        f"<p>SHA-256 of the model: {text(report['source_sha256'])}</p></footer>"
    )
