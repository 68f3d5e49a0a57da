"""The roofline plot: what each layer reaches, and what compute and DRAM allow, as SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from furiosa.enf.report.text import figure, microseconds, percent, short, text

if TYPE_CHECKING:
    from furiosa.enf.performance import Layer
    from furiosa.enf.target import Target

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 330, 44, 78, 14, 42
_LABELS = 4  # layers that are named in the plot
LARGEST = 2000  # layers that are drawn
COLOURS = {"compute": "npu", "DRAM": "load", "starting": "idle"}


def bound(layer: Layer) -> str:
    """What a layer is bound by: "compute", "DRAM", or "starting" where both together are less than half of its time."""
    most = max(layer.compute_bound_us, layer.memory_bound_us)
    if most < layer.busy_us / 2:
        return "starting"
    return "DRAM" if layer.memory_bound_us > layer.compute_bound_us else "compute"


def svg(layers: list[Layer], target: Target) -> str:
    """The plot, or an empty string where no layer does multiply-accumulates."""
    layers = sorted((x for x in layers if x.macs and x.busy_us), key=lambda x: (-x.busy_us, x.index))[
        :LARGEST
    ]
    if not layers:
        return ""
    peak = 2 * target.slices * target.mac_width * target.mac_height * target.clock_hz
    points = [_point(x) for x in layers]
    ridge = peak / target.dram_bytes_per_s
    reached = [p for p, _ in points if p is not None] + [ridge]
    x0, x1 = math.floor(math.log10(min(reached))), math.ceil(math.log10(max(reached)) + 0.3)
    y1 = math.log10(peak) + 0.15
    y0 = min(math.floor(math.log10(min(y for _, y in points))), math.floor(y1) - 1)

    def across(intensity: float) -> float:
        return _LEFT + (math.log10(intensity) - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT)

    def down(rate: float) -> float:
        return _TOP + (y1 - math.log10(rate)) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM)

    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    title = f"Roofline: {len(layers)} layers under a peak of {figure(peak / 1e12)} TOPS"
    out = [
        f'<svg class="roof" id="roofline" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(title)}">'
    ]
    out.append(f'<rect class="beyond" x="{right}" y="{_TOP}" width="{_RIGHT - 6}" height="{bottom - _TOP}"/>')
    for e in range(x0, x1 + 1):
        x = across(10.0**e)
        out.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
        anchor = "end" if e == x1 else "middle"
        out.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{_power(e)}</text>')
    for e in range(y0, math.floor(y1) + 1):
        y = down(10.0**e)
        out.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - 6}"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tops(e)}</text>')
    low = max(10.0**x0, 10.0**y0 / target.dram_bytes_per_s)
    roof = (
        f"M{across(low):.1f} {down(low * target.dram_bytes_per_s):.1f}L{across(ridge):.1f} {down(peak):.1f}"
    )
    out.append(f'<path class="line" d="{roof}H{_WIDTH - 6}"/>')
    out.append(f'<text x="{_LEFT}" y="{_HEIGHT - 6}">operations for each byte of DRAM traffic</text>')
    out.append(
        f'<text x="{right + (_RIGHT - 6) / 2}" y="{bottom - 8}" text-anchor="middle">no traffic</text>'
    )
    out.append(f'<text x="{_LEFT + 6}" y="{_TOP + 10}">TOPS</text>')
    out.append(
        f'<text x="{_WIDTH - 6}" y="{down(peak) - 5:.1f}" text-anchor="end">{figure(peak / 1e12)} TOPS</text>'
    )
    most = layers[0].busy_us
    placed: list[tuple[float, float]] = []
    labels = []
    for i, (layer, (intensity, rate)) in enumerate(zip(layers, points)):
        x, y = right + (_RIGHT - 6) / 2 if intensity is None else across(intensity), down(rate)
        radius = 2.5 + 8.5 * math.sqrt(layer.busy_us / most)
        out.append(_circle(layer, x, y, radius, rate))
        if (
            i < _LABELS
            and intensity is not None
            and all(abs(y - b) > 14 or abs(x - a) > 130 for a, b in placed)
        ):
            placed.append((x, y))
            end = x > (_LEFT + right) / 2
            at = x - radius - 4 if end else x + radius + 4
            anchor = "end" if end else "start"
            labels.append(
                f'<text class="label" x="{at:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{text(short(layer.name, 26))}</text>'
            )
    return "".join([*out, *labels, "</svg>"])


def _point(layer: Layer) -> tuple[float | None, float]:
    """Operations a byte (None without traffic) and operations a second; a product and a sum are two operations.

    The time is the layer's share of the NPU's time, but no less than what its traffic takes: transfers ahead of it count too.
    """
    traffic = layer.dram_bytes_read + layer.dram_bytes_written
    rate = 2e6 * layer.macs / max(layer.busy_us, layer.memory_bound_us)
    return 2 * layer.macs / traffic if traffic else None, rate


def _circle(layer: Layer, x: float, y: float, radius: float, rate: float) -> str:
    said = f"{layer.name}\n{layer.op_type}, {microseconds(layer.busy_us)}, {figure(rate / 1e12)} TOPS ({percent(layer.utilization)} of the peak)"
    colour = COLOURS[bound(layer)]
    return f'<circle class="c-{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{text(said)}</title></circle>'


def _power(e: int) -> str:
    return f"{10**e:,}" if 0 <= e <= 4 else f'10<tspan dy="-5" font-size="9">{e}</tspan>'


def _tops(e: int) -> str:
    return f"{10.0 ** (e - 12):g}"
