"""The roofline plot: what each layer reaches, and what compute and DRAM allow, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from furiosa.enf.report.text import figure, microseconds, percent, short, text

if TYPE_CHECKING:
    from furiosa.enf.performance import Layer
    from furiosa.enf.target import Target

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 330, 44, 6, 14, 42  # units of the drawing
_BESIDE = (
    72,
    300,
)  # width of the part for layers without traffic: where there are none, where there are no others
_LABELS = 4  # layers that are named in the plot
LARGEST = 2000  # layers that are drawn
COLOURS = {"compute": "npu", "DRAM": "load", "starting": "idle"}


def bound(layer: Layer, starting_us: float) -> str:
    """What takes most of a layer's time: "compute", "DRAM", or "starting" its commands."""
    working = max(layer.compute_bound_us - starting_us, 0.0)
    if starting_us > max(working, layer.memory_bound_us):
        return "starting"
    return "DRAM" if layer.memory_bound_us > working else "compute"


class _Frame:
    """Where a point stands: logarithmic axes, and beside them the layers without DRAM traffic in the order of the graph."""

    def __init__(self, points: list[tuple[float | None, float]], target: Target):
        self.peak = 2 * target.slices * target.mac_width * target.mac_height * target.clock_hz
        self.bandwidth = target.dram_bytes_per_s
        self.ridge = self.peak / self.bandwidth
        reached = [x for x, _ in points if x is not None]
        self.beside = len(points) - len(reached)
        narrow, wide = _BESIDE
        self.right = round(_WIDTH - _RIGHT - narrow - (wide - narrow) * self.beside / len(points))
        self.bottom = _HEIGHT - _BOTTOM
        low, high = min([*reached, self.ridge / 4]), max([*reached, self.ridge * 4])
        self.x0, self.x1 = math.floor(math.log10(low)), math.ceil(math.log10(high))
        self.y1 = math.log10(self.peak) + 0.15
        lowest = math.floor(math.log10(min(y for _, y in points)))
        self.y0 = min(lowest, math.floor(self.y1) - 1)

    def across(self, intensity: float) -> float:
        return _LEFT + (math.log10(intensity) - self.x0) / (self.x1 - self.x0) * (self.right - _LEFT)

    def aside(self, number: int) -> float:
        return self.right + (number + 0.5) / self.beside * (_WIDTH - _RIGHT - self.right)

    def down(self, rate: float) -> float:
        return _TOP + (self.y1 - math.log10(rate)) / (self.y1 - self.y0) * (self.bottom - _TOP)


def svg(layers: list[Layer], target: Target, starting: Mapping[int, float]) -> str:
    """The plot, or an empty string where no layer does multiply-accumulates.

    Args:
        starting: for each layer's index what starting its commands takes, in microseconds.
    """
    layers = sorted((x for x in layers if x.macs and x.busy_us), key=lambda x: -x.busy_us)[:LARGEST]
    if not layers:
        return ""
    points = [_point(x) for x in layers]
    frame = _Frame(points, target)
    order = sorted(x.index for x, (intensity, _) in zip(layers, points) if intensity is None)
    places = {index: i for i, index in enumerate(order)}
    largest = 9 if frame.beside < 30 else 5
    circles: list[tuple[float, float, float]] = []  # x, y, radius
    for layer, (intensity, rate) in zip(layers, points):
        x = frame.aside(places[layer.index]) if intensity is None else frame.across(intensity)
        radius = 2 + largest * math.sqrt(layer.busy_us / layers[0].busy_us)
        circles.append((x, frame.down(rate), radius))
    drawn = [
        _circle(layer, circle, rate, starting.get(layer.index, 0.0))
        for layer, circle, (_, rate) in zip(layers, circles, points)
    ]
    labels = _labels([layer.name for layer in layers], circles, frame.right)
    title = f"Roofline: {len(layers)} layers under a peak of {figure(frame.peak / 1e12)} TOPS"
    head = (
        f'<svg class="roof" id="roofline" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
    )
    return "".join([head, *_axes(frame), *drawn, *labels, "</svg>"])


def _labels(names: list[str], circles: list[tuple[float, float, float]], right: float) -> list[str]:
    """The names of the first circles beside which there is room, left of ``right``."""
    out = []
    taken = [(x - r, y - r, x + r, y + r) for x, y, r in circles]
    for name, (x, y, r) in zip(names, circles):
        if x >= right:
            continue
        shown = short(name, 26)
        width = 6.5 * len(shown)
        for left, anchor, at in ((x + r + 4, "start", x + r + 4), (x - r - 4 - width, "end", x - r - 4)):
            box = (left, y - 7, left + width, y + 7)
            if box[0] > _LEFT and box[2] < right and not any(_meet(box, other) for other in taken):
                taken.append(box)
                words = f'text-anchor="{anchor}">{text(shown)}</text>'
                out.append(f'<text class="label" x="{at:.1f}" y="{y + 4:.1f}" {words}')
                break
        if len(out) == _LABELS:
            break
    return out


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _axes(f: _Frame) -> list[str]:
    end, out = _WIDTH - _RIGHT, []
    out.append(
        f'<rect class="beyond" x="{f.right}" y="{_TOP}" width="{end - f.right}" height="{f.bottom - _TOP}"/>'
    )
    for e in range(f.x0, f.x1 + 1):
        x, anchor = f.across(10.0**e), "end" if e == f.x1 else "middle"
        out.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{f.bottom}"/>')
        out.append(f'<text x="{x:.1f}" y="{f.bottom + 16}" text-anchor="{anchor}">{_power(e)}</text>')
    for e in range(f.y0, math.floor(f.y1) + 1):
        y = f.down(10.0**e)
        out.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{end}"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** (e - 12):g}</text>')
    low = max(10.0**f.x0, 10.0**f.y0 / f.bandwidth)
    slope = (
        f"M{f.across(low):.1f} {f.down(low * f.bandwidth):.1f}L{f.across(f.ridge):.1f} {f.down(f.peak):.1f}"
    )
    out.append(f'<path class="line" d="{slope}H{end}"/>')
    for x, y, anchor, words in (
        (_LEFT, _HEIGHT - 6, "start", "operations for each byte of DRAM traffic"),
        (end - 6, f.bottom - 8, "end", "no traffic"),
        (_LEFT + 6, _TOP + 10, "start", "TOPS"),
        (end - 6, round(f.down(f.peak)) + 15, "end", f"peak {figure(f.peak / 1e12)}"),
    ):
        out.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>')
    return out


def _point(layer: Layer) -> tuple[float | None, float]:
    """Operations a byte (None without traffic) and operations a second; a product and a sum are two operations.

    The time is the layer's share of the NPU's time, but no less than what its traffic takes: transfers ahead of it count too.
    """
    traffic = layer.dram_bytes_read + layer.dram_bytes_written
    rate = 2e6 * layer.macs / max(layer.busy_us, layer.memory_bound_us)
    return 2 * layer.macs / traffic if traffic else None, rate


def _circle(layer: Layer, circle: tuple[float, float, float], rate: float, starting: float) -> str:
    of_peak = f"{figure(rate / 1e12)} TOPS ({percent(layer.utilization)} of the peak)"
    said = text(f"{layer.name}\n{layer.op_type}, {microseconds(layer.busy_us)}, {of_peak}")
    x, y, r = circle
    colour = COLOURS[bound(layer, starting)]
    return f'<circle class="c-{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"><title>{said}</title></circle>'


def _power(e: int) -> str:
    return f"{10**e:,}" if 0 <= e <= 4 else f'10<tspan dy="-5" font-size="9">{e}</tspan>'
