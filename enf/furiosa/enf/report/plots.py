"""The numbers behind the plots that the page's script draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from furiosa.enf.report.buffers import KINDS, Band
from furiosa.enf.report.text import bounded
from furiosa.enf.report.timeline import LANES, Timeline, lane
from furiosa.enf.timing import overhead_cycles

if TYPE_CHECKING:
    from furiosa.enf.performance import Performance
    from furiosa.enf.report.program import Program

LARGEST = 20_000  # marks and bands in one page; more commands than that are joined with their neighbours
_DIGITS = 4  # of a microsecond

# one mark: lane, start and end (cycles), step, layer, name, bytes written, commands
Mark = tuple[int, int, int, int, int, int, int, int]


class _Names:
    """Texts by number, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        name = bounded(name)
        if name not in self._numbers:
            self._numbers[name] = len(self.texts)
            self.texts.append(name)
        return self._numbers[name]


def content(
    program: Program, performance: Performance, timeline: Timeline, found: list[Band]
) -> dict[str, Any]:
    """What the script reads.  ``marks`` and ``bands`` are columns; names, layers and steps are indexes."""
    names = _Names()
    marks = _joined(_marks(program, performance, timeline, names))
    found = sorted(sorted(found, key=lambda b: -b.size * (b.end - b.start))[:LARGEST], key=lambda b: b.start)
    return {
        "total_us": round(timeline.end_us, _DIGITS),
        "cycles_per_us": program.target.clock_hz / 1e6,
        "starting_us": round(overhead_cycles(program.target) / program.target.clock_hz * 1e6, _DIGITS),
        "sram_bytes": program.target.sram_bytes,
        "lanes": list(LANES),
        "kinds": list(KINDS),
        "steps": [[s.cycle, round(s.start_us, _DIGITS)] for s in timeline.steps],
        "pieces": [
            [p.lane, names(p.name), round(p.start_us, _DIGITS), round(p.end_us, _DIGITS), p.nbytes]
            for p in timeline.pieces[:LARGEST]
        ],
        "marks": _columns(marks, 8),
        "layers": [[bounded(layer.name), bounded(layer.op_type)] for layer in performance.layers],
        "bands": _columns(
            [
                (
                    names(b.name),
                    b.kind,
                    b.address,
                    b.size,
                    b.start,
                    b.end,
                    round(b.start_us, _DIGITS),
                    round(b.end_us, _DIGITS),
                )
                for b in found
            ],
            8,
        ),
        "names": names.texts,
    }


def _columns(rows: list[tuple], width: int) -> list[list]:
    return [list(column) for column in zip(*rows)] if rows else [[] for _ in range(width)]


def _marks(program: Program, performance: Performance, timeline: Timeline, names: _Names) -> list[Mark]:
    """One mark a command, by lane and start."""
    layer_of = {layer.index: i for i, layer in enumerate(performance.layers)}
    owner = program.debug.command_operator
    out = []
    for number, step in enumerate(timeline.steps):
        for i in range(step.first, step.first + step.count):
            c = program.commands[i]
            start, end = performance.spans[i]
            layer = layer_of.get(owner[i], -1) if owner else -1
            name = names(c.instruction.name)
            out.append((lane(c), start, end, number, layer, name, c.operands[-1].nbytes, 1))
    return sorted(out)


def _joined(marks: list[Mark]) -> list[Mark]:
    """At most LARGEST marks: neighbours in a lane become one, over ever wider gaps, first those of one layer."""
    gap = 1
    while len(marks) > LARGEST and gap < 1 << 60:
        marks = _join(marks, gap, any_layer=gap > 1 << 40)
        gap *= 4
    return marks[:LARGEST]


def _join(marks: list[Mark], gap: int, *, any_layer: bool) -> list[Mark]:
    out = marks[:1]
    for m in marks[1:]:
        last = out[-1]
        if last[0] == m[0] and last[3] == m[3] and m[1] - last[2] <= gap and (any_layer or last[4] == m[4]):
            layer = last[4] if last[4] == m[4] else -1
            out[-1] = (
                *last[:2],
                max(last[2], m[2]),
                last[3],
                layer,
                *last[5:6],
                last[6] + m[6],
                last[7] + m[7],
            )
        else:
            out.append(m)
    return out
