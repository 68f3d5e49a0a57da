"""A comparison as text for people and as JSON for programs (docs/compare.md)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from furiosa.runtime.cli import plain
from furiosa.runtime.compare.difference import Example, Tally
from furiosa.runtime.compare.result import Comparison, EndToEnd, Row

_NAMED = 3  # of several outputs
VERSION = 2  # of the JSON; grows when a key changes its meaning or goes away


def to_json(c: Comparison) -> bytes:
    """The JSON document, ASCII; the same comparison gives the same bytes."""
    first, beyond = c.first_difference, c.first_wrong
    document = {
        "version": VERSION,
        "model": c.model,
        "source": c.source,
        "source_format": c.source_format,
        "source_sha256": c.source_sha256,
        "compiler_version": c.compiler_version,
        "target_npu": c.target_npu,
        "batch_size": c.batch_size,
        "reference": c.reference,
        "inputs": c.inputs,
        "seed": c.seed,
        "changed_sections": c.changed,
        "max_lsb": c.max_lsb,
        "within_max_lsb": c.is_right,
        "first_difference": None if first is None else _pointer(c, first),
        "first_beyond_max_lsb": None if beyond is None else _pointer(c, beyond),
        "layers": [_row(r) for r in c.layers],
        "outputs": [_row(r) for r in c.outputs],
    }
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode("ascii")


def _pointer(c: Comparison, r: Row) -> dict[str, Any]:
    index = c.rows.index(r)
    where, index = ("layers", index) if index < len(c.layers) else ("outputs", index - len(c.layers))
    return {"in": where, "index": index, "tensor": r.tensor, "largest_lsb": r.tally.largest if r.tally else 0}


def _row(r: Row) -> dict[str, Any]:
    row: dict[str, Any] = {
        "operator": r.operator,
        "op_type": r.op_type,
        "computes": list(r.computes),
        "placed_on": r.placed_on,
        "tensor": r.tensor,
        "dtype": r.dtype,
        "shape": list(r.shape),
        "compared": r.tally is not None,
    }
    if r.tally is None:
        row |= {"reason": r.reason, "unjudged": r.is_unjudged}
    else:
        row |= _tally(r.tally) | {
            "nearest": r.nearest,
            "as_unoptimised": r.unoptimised,
            "reference_itself": r.itself,
            "wrong": _tally(r.wrong),
        }
        if r.note:
            row["note"] = r.note
    if r.whole is not None:
        row["end_to_end"] = _end_to_end(r.whole)
    return row


def _tally(t: Tally) -> dict[str, Any]:
    return {
        "elements": t.elements,
        "differing": t.differing,
        "largest_lsb": t.largest,
        "histogram": [{"from": a, "to": b, "elements": n} for a, b, n in t.histogram()],
        "example": None if t.example is None else _example(t.example),
    }


def _example(e: Example) -> dict[str, Any]:
    return {
        "input": e.input,
        "position": list(e.position),
        "simulator": _number(e.simulator),
        "reference": _number(e.reference),
    }


def _end_to_end(e: EndToEnd) -> dict[str, Any]:
    tallies = {"optimised": e.optimised, "unoptimised": e.unoptimised, "reference_itself": e.itself}
    found: dict[str, Any] = {name: None if t is None else _tally(t) for name, t in tallies.items()}
    return found | {"other_model": e.is_other, "reason": e.reason}


def _number(value: float) -> float | str:
    """JSON knows neither infinity nor NaN."""
    return value if math.isfinite(value) else str(value)


def text(c: Comparison) -> Iterator[str]:
    """Lines for a terminal or a test's log."""
    number = len(c.inputs)
    kind = f"random, seed {c.seed}" if c.seed is not None else "given"
    yield f"{title(c)}; {_count(number, 'input')} ({kind})"
    if c.changed:
        yield f"The ENF is not what this compiler makes of the source: {', '.join(c.changed)} differ."
    yield f"Compared: {summary(c)}"
    for reason, n in Counter(r.reason for r in c.layers if r.tally is None and not r.is_unjudged).items():
        yield f"  {_count(n, 'tensor')} not: {reason}"
    for why, rows in explained(c):
        yield f"  {why}: {', '.join(rows)}"
    for line in ends(c, c.outputs):
        yield f"From end to end, {line}"
    yield from verdict(c)


def explained(c: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Why elements may differ, in a sentence, and how many of which kinds of layers do."""
    name = c.reference.split()[0]
    for count, why in (
        (
            "nearest",
            f"right though {name} differs, which rounds in floating point there: nearest to the real number, or as near",
        ),
        ("unoptimised", f"right though {name} differs: {name} without its optimiser makes the same"),
        ("itself", f"{name} disagrees with its own run without its optimiser"),
    ):
        found: dict[str, list[Row]] = {}
        for r in c.rows:
            if getattr(r, count):
                found.setdefault(kind(r), []).append(r)
        if found:
            yield why, [_share(k, rows, count) for k, rows in found.items()]
    notes = Counter(r.note for r in c.rows if r.note)
    for note, n in notes.items():
        yield _count(n, "tensor"), [note]


def _share(kind: str, rows: list[Row], count: str) -> str:
    n, total = (
        sum(getattr(r, count) for r in rows),
        sum(r.tally.elements for r in rows if r.tally is not None),
    )
    tensors = f" in {len(rows)} tensors" if len(rows) > 1 else ""
    return f"{kind} {n} of {_count(total, 'element')}{tensors}"


def ends(c: Comparison, outputs: Sequence[Row]) -> Iterator[str]:
    """What there is to say of outputs from end to end, once for all of which it is the same."""
    said: dict[str, list[str]] = {}
    for o in outputs:
        said.setdefault(_whole(c, o), []).append(o.tensor)
    for what, names in said.items():
        if len(names) == 1:
            yield f"output '{names[0]}' {what}"
        else:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield f"each of {len(names)} outputs ({', '.join(repr(n) for n in names[:_NAMED])}{more}) {what}"


def _whole(c: Comparison, o: Row) -> str:
    """How far an output is from the reference's own run of the file."""
    e, name = o.whole, c.reference.split()[0]
    assert e is not None
    if e.optimised is None:
        return f"is not compared: {e.reason}"
    if not e.optimised.differing:
        return f"equals {name}'s in all elements"
    text = f"differs from {name}'s in {_far(e.optimised)}"
    if e.itself is not None and e.unoptimised is not None:
        text += f"; {name}'s own run without its optimiser "
        text += f"differs from that in {_far(e.itself)}" if e.itself.differing else "makes the same"
        text += (
            f", from the simulator in {_far(e.unoptimised)}"
            if e.unoptimised.differing
            else " and equals the simulator's"
        )
    return text + (f". {e.reason}" if e.is_other else "")


def _far(t: Tally) -> str:
    return f"{t.differing} of {_count(t.elements, 'element')} by up to {t.largest} LSB"


def verdict(c: Comparison) -> Iterator[str]:
    """The last lines: what is wrong, or that nothing is."""
    if c.first_difference is None and c.is_right:
        yield "All elements are equal."
        return
    if c.is_right and not any(r.wrong.differing for r in c.rows):
        yield "All elements are right."
        return
    wrong = c.first_wrong or next((r for r in c.rows if r.wrong.differing), None)
    if wrong is not None:
        yield f"First difference that nothing explains: {sentence(c, wrong)}"
    if c.is_right:
        yield f"No other element is more than {c.max_lsb} LSB off."
    n = sum(r.wrong.largest > c.max_lsb for r in c.rows)
    if n:
        yield f"FAILED: {_count(n, 'tensor')} with elements more than {c.max_lsb} LSB off."
    reasons: dict[str, list[Row]] = {}
    for r in c.unjudged:
        reasons.setdefault(r.reason, []).append(r)
    for reason, rows in reasons.items():
        yield f"FAILED: {_count(len(rows), 'tensor')} could not be compared, the first '{rows[0].tensor}': {reason}"
    for line in ends(c, c.other_outputs):
        yield f"FAILED: {line}"


def to_junit_xml(c: Comparison, name: str) -> bytes:
    """A test suite of one test, ASCII, as build systems show it."""
    from xml.sax.saxutils import escape, quoteattr

    lines = list(verdict(c))
    failure = "" if c.is_right else f"<failure message={quoteattr(plain(lines[0]))}/>"
    log = escape("\n".join(plain(line) for line in text(c)))
    title = quoteattr(plain(name))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites><testsuite name={title} tests="1" failures="{int(bool(failure))}" errors="0">\n'
        f'<testcase name={title} classname="furiosa.compare">{failure}</testcase>\n'
        f"<system-out>{log}</system-out>\n"
        "</testsuite></testsuites>\n"
    ).encode("ascii")


def title(c: Comparison) -> str:
    """What was compared with what."""
    return f"{c.model} for {c.target_npu}, batch size {c.batch_size}, with {c.reference}"


def kind(r: Row) -> str:
    """What a tensor is the result of."""
    return f"{r.op_type} of {', '.join(r.computes)}" if r.computes else r.op_type


def summary(c: Comparison) -> str:
    """How many tensors were compared and how many differ."""
    compared = [r for r in c.layers if r.tally is not None]
    different = sum(r.differs for r in c.rows)
    total = sum(r.tally.elements for r in c.rows if r.tally is not None)
    return (
        f"{len(compared)} of {_count(len(c.layers), 'layer')} and {_count(len(c.outputs), 'output')}, each from the values that the "
        f"simulator has before it, {_count(total, 'element')}; {different or 'none'} of these tensors "
        f"{'differs' if different < 2 else 'differ'}"
    )


def sentence(c: Comparison, r: Row) -> str:
    """One tensor that differs."""
    if r.op_type == "output" and not r.operator:
        what = f"output '{r.tensor}'"
    else:
        place = f" on the {r.placed_on}" if r.placed_on else ""
        what = f"layer {c.layers.index(r)}, {kind(r)} '{r.operator}'{place}, tensor '{r.tensor}'"
    t = r.wrong if r.wrong.example is not None else r.tally
    assert t is not None and t.example is not None
    e = t.example
    return (
        f"{what}, {r.dtype}{list(r.shape)}: {t.differing} of {t.elements} elements, by up to {t.largest} LSB; "
        f"at {list(e.position)} of input {e.input} the simulator has {e.simulator}, the reference {e.reference}"
    )


def bucket(low: int, high: int) -> str:
    """The name of a range of a histogram."""
    return str(low) if low == high else f"{low}-{high}"


def joined(rows: list[Row]) -> list[tuple[int, int, int]]:
    """The histogram of several tensors together."""
    total = Tally()
    for r in rows:
        if r.tally is not None:
            total.elements += r.tally.elements
            total.differing += r.tally.differing
            total.buckets += [0] * (len(r.tally.buckets) - len(total.buckets))
            for i, n in enumerate(r.tally.buckets):
                total.buckets[i] += n
    return total.histogram()


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
