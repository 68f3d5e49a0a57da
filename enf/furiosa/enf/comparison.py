"""What changed between two compilations: a verdict in words, then figures, operators and layers, largest changes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from furiosa.enf.constant_use import constant_bytes
from furiosa.enf.diff import diff, label, operators, plain
from furiosa.enf.errors import printable
from furiosa.enf.performance import analyze_enf

if TYPE_CHECKING:
    from furiosa.enf.performance import Layer, Performance
    from furiosa.enf.reader import Enf

MAX_ROWS, MAX_NAME = 12, 60  # in text; JSON has all

# The fields of the metadata: what the compiler was told, what it read, and what came of it.
OPTIONS = ("target_npu", "batch_size", "compatibility", "optimize", "selection")
SOURCE = ("source_format", "source_sha256")
FIGURES = ("sram_peak_bytes", "dram_bytes", "working_dram_bytes", "npu_macs", "total_macs") + (
    "npu_operators",
    "host_operators",
    "unknown_macs",
)
ESTIMATES = ("latency_us", "throughput_per_s", "npu_us", "transfer_us", "host_us", "overhead_us", "setup_us")

_TOLD = ("metadata: ", "operators: ", "sections: ")  # lines of the details that are told in another way

Key = tuple[str, str, int]  # name, type and number of an operator among those of that name and type


class Change(NamedTuple):
    """A value before and after; None where there was, or is, none."""

    old: Any
    new: Any


class LayerChange(NamedTuple):
    """What one operator costs: ``busy_us`` of the NPU's time, and bytes of DRAM traffic of a run and of constants."""

    name: str
    op_type: str
    busy_us: Change
    dram_traffic_bytes: Change
    constant_bytes: Change

    @property
    def weight(self) -> tuple[float, int]:
        """How much it changed, for sorting."""
        return abs((self.busy_us.new or 0) - (self.busy_us.old or 0)), abs(
            (self.constant_bytes.new or 0) - (self.constant_bytes.old or 0)
        )


class Comparison(NamedTuple):
    """What changed from one file to another; each dictionary holds only what is not the same.

    ``moved`` are operators that came (old is None), went (new is None) or run elsewhere: "npu" or "host".  ``details`` are
    lines that say where exactly the files differ.
    """

    same: bool
    verdict: str
    source: dict[str, Change]
    options: dict[str, Change]
    compiler_version: Change | None
    figures: dict[str, Change]
    moved: dict[Key, Change]
    layers: list[LayerChange]
    sections: dict[str, Change]  # sizes in bytes of those whose content differs
    details: list[str]


def compare(a: Enf, b: Enf) -> Comparison:
    """What changed from ``a`` to ``b``."""
    if a.data == b.data:
        return Comparison(True, "the same, byte for byte", {}, {}, None, {}, {}, [], {}, [])
    source, options = _changed(a, b, SOURCE), _changed(a, b, OPTIONS)
    versions = Change(a.metadata.compiler_version, b.metadata.compiler_version)
    compiler = versions if versions.old != versions.new else None
    moved = {key: change for key, change in _pairs(operators(a), operators(b)) if change.old != change.new}
    performances = analyze_enf(a), analyze_enf(b)
    return Comparison(
        False,
        _verdict(a, b, source, options, compiler),
        source,
        options,
        compiler,
        _figures(a, b, *performances),
        moved,
        _layers(a, b, *performances),
        _sections(a, b),
        [line for line in diff(a, b) if not line.startswith(_TOLD)],
    )


def _changed(a: Enf, b: Enf, fields: tuple[str, ...]) -> dict[str, Change]:
    changes = {f: Change(getattr(a.metadata, f), getattr(b.metadata, f)) for f in fields}
    return {f: Change(*map(plain, c)) for f, c in changes.items() if c.old != c.new}


def _pairs(old: dict[Any, Any], new: dict[Any, Any]) -> Iterator[tuple[Any, Change]]:
    for key in {**old, **new}:
        yield key, Change(old.get(key), new.get(key))


def _sections(a: Enf, b: Enf) -> dict[str, Change]:
    sizes = [{s.name: s.size for s in enf.sections} for enf in (a, b)]
    return {name: c for name, c in _pairs(*sizes) if None in c or a.section(name) != b.section(name)}


def _verdict(
    a: Enf, b: Enf, source: dict[str, Change], options: dict[str, Change], compiler: Change | None
) -> str:
    """One line: what came of it where that is little, and what it comes from."""
    causes = {"source": bool(source), "options": bool(options), "compiler": bool(compiler)}
    same = [cause for cause, differs in causes.items() if not differs]
    other = []
    if source:
        other.append("source")
    if options:
        other.append(
            "options: " + ", ".join(f"{k} {_word(c.old)} -> {_word(c.new)}" for k, c in options.items())
        )
    if compiler:
        other.append(f"compiler: {_word(compiler.old)} -> {_word(compiler.new)}")
    words = [w for w in (same and f"same {_list(same)}", other and f"other {_list(other)}") if w]
    cause = ", ".join(words)
    if any(a.section(s) != b.section(s) for s in ("code", "plan", "interface", "memory")):
        return cause if other else f"{cause}, but another program"
    weights = all(a.section(s) == b.section(s) for s in ("constants", "host_models"))
    effect = "same program and weights" if weights else "same program, other weights"
    return f"{effect} ({cause})"


def _word(value: object) -> str:
    return printable(str(value)) or "unknown"


def _list(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _figures(a: Enf, b: Enf, old: Performance, new: Performance) -> dict[str, Change]:
    values = [
        {
            **{f: getattr(p, f) for f in ESTIMATES},
            "dram_traffic_bytes": p.dram_bytes_read + p.dram_bytes_written,
            **{f: getattr(enf.metadata, f) for f in FIGURES},
            "enf_bytes": enf.size,
        }
        for enf, p in ((a, old), (b, new))
    ]
    return {name: change for name, change in _pairs(*values) if change.old != change.new}


def _layers(a: Enf, b: Enf, old: Performance, new: Performance) -> list[LayerChange]:
    rows = []
    for key, change in _pairs(_by_key(a, old), _by_key(b, new)):
        facts = [layer or (None, None, None) for layer in change]
        columns = [Change(*pair) for pair in zip(*facts, strict=True)]
        if any(c.old != c.new for c in columns):
            rows.append(LayerChange(key[0], key[1], *columns))
    return sorted(rows, key=lambda row: row.weight, reverse=True)


def _by_key(enf: Enf, performance: Performance) -> dict[Key, tuple[float, int, int]]:
    """(busy_us, bytes of DRAM traffic, bytes of constants) of each operator that has commands."""
    constants = constant_bytes(enf)
    keys = list(operators(enf))
    return {
        keys[layer.index]: (*_costs(layer), constants.get(layer.index, 0)) for layer in performance.layers
    }


def _costs(layer: Layer) -> tuple[float, int]:
    return layer.busy_us, layer.dram_bytes_read + layer.dram_bytes_written


def text(c: Comparison) -> Iterator[str]:
    """The comparison for people: the verdict, then what changed most."""
    yield c.verdict
    for name, change in c.source.items():
        yield f"{name}: {_word(change.old)} -> {_word(change.new)}"
    yield from _some(
        f"operator {label(key)}: {'new' if change.old is None else change.old} -> "
        f"{'gone' if change.new is None else change.new}"
        for key, change in c.moved.items()
    )
    yield from _table(
        "figures; times and throughput are estimates",
        [(name, *_cells(change)) for name, change in c.figures.items()],
    )
    rows = [
        (printable(row.op_type), *_cells(row.busy_us, " us"), _bytes(row), _cut(row.name)) for row in c.layers
    ]
    title = f"layers: the NPU's time, {len(rows)} changed, the most first"
    yield from _table(title, rows[:MAX_ROWS])
    if len(rows) > MAX_ROWS:
        yield f"  and {len(rows) - MAX_ROWS} more"
    rows = [(name, *_cells(size)) for name, size in c.sections.items()]
    yield from _table("sections, bytes", [row if row[4] else (*row[:4], "other content") for row in rows])
    if c.details:
        yield "details:"
        yield from (f"  {line}" for line in c.details)


def _bytes(row: LayerChange) -> str:
    changes = {"DRAM traffic": row.dram_traffic_bytes, "constants": row.constant_bytes}
    changed = [
        f"{what} {_number(c.old)} -> {_number(c.new)}" for what, c in changes.items() if c.old != c.new
    ]
    return ", ".join(changed)


def _some(lines: Iterable[str]) -> Iterator[str]:
    every = list(lines)
    yield from map(printable, every[:MAX_ROWS])
    if len(every) > MAX_ROWS:
        yield f"and {len(every) - MAX_ROWS} more"


def _cut(name: str) -> str:
    name = printable(name)
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 2]} …"


def _cells(change: Change, unit: str = "") -> tuple[str, str, str, str]:
    """Old, arrow, new, and by how much."""
    old, new = change
    by = ""
    if old is not None and new is not None and old != new:
        by = f"{100 * (new - old) / old:+.1f} %" if old else "from nothing"
    return _number(old) + unit * (old is not None), "->", _number(new) + unit * (new is not None), by


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _table(title: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield f"{title}:"
    columns = max(map(len, rows))
    padded = [row + ("",) * (columns - len(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*padded, strict=True)]
    for row in padded:
        aligned = zip(row, widths, range(columns), strict=True)
        cells = [cell.rjust(w) if i in (1, 3) else cell.ljust(w) for cell, w, i in aligned]
        yield ("  " + "  ".join(cells)).rstrip()


def as_json(c: Comparison) -> dict[str, Any]:
    """The whole comparison in types that JSON knows; a change is {"old": …, "new": …}."""
    return {
        "same": c.same,
        "verdict": c.verdict,
        "source": _changes(c.source),
        "options": _changes(c.options),
        "compiler_version": c.compiler_version and c.compiler_version._asdict(),
        "figures": _changes(c.figures),
        "moved": [
            {"name": name, "op_type": op_type, **change._asdict()}
            for (name, op_type, _), change in c.moved.items()
        ],
        "layers": [
            {k: v._asdict() if isinstance(v, Change) else v for k, v in row._asdict().items()}
            for row in c.layers
        ],
        "sections": _changes(c.sections),
        "details": c.details,
    }


def _changes(changes: dict[str, Change]) -> dict[str, Any]:
    return {name: change._asdict() for name, change in changes.items()}
