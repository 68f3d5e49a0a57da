"""A comparison as text for people and as JSON for programs (docs/compare.md)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from furiosa.runtime.cli import plain
from furiosa.runtime.compare.compare import Comparison, Row
from furiosa.runtime.compare.difference import Tally

VERSION = 1  # of the JSON; grows when a key changes its meaning or goes away


def to_json(c: Comparison) -> bytes:
    """The JSON document, ASCII; the same comparison gives the same bytes."""
    first, beyond = c.first_difference, c.first_over(c.max_lsb)
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
        "within_max_lsb": c.is_within,
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
        return row | {"reason": r.reason}
    row |= {
        "elements": r.tally.elements,
        "differing": r.tally.differing,
        "largest_lsb": r.tally.largest,
        "histogram": [{"from": a, "to": b, "elements": n} for a, b, n in r.tally.histogram()],
    }
    e = r.tally.example
    row["example"] = None
    if e is not None:
        row["example"] = {
            "input": e.input,
            "position": list(e.position),
            "simulator": _number(e.simulator),
            "reference": _number(e.reference),
        }
    return row


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
    for reason, n in Counter(r.reason for r in c.layers if r.tally is None).items():
        yield f"  {_count(n, 'tensor')} not: {reason}"
    first, beyond = c.first_difference, c.first_over(c.max_lsb)
    if first is None:
        yield "All elements are equal."
        return
    yield f"First difference: {sentence(c, first)}"
    if beyond is None:
        yield f"No element is more than {c.max_lsb} LSB off."
    else:
        if beyond is not first:
            yield f"First beyond {c.max_lsb} LSB: {sentence(c, beyond)}"
        n = sum(r.tally is not None and r.tally.largest > c.max_lsb for r in c.rows)
        yield f"FAILED: {_count(n, 'tensor')} with elements more than {c.max_lsb} LSB off."


def to_junit_xml(c: Comparison, name: str) -> bytes:
    """A test suite of one test, ASCII, as build systems show it: the first tensor beyond the limit is the failure."""
    from xml.sax.saxutils import escape, quoteattr

    beyond = c.first_over(c.max_lsb)
    failure = "" if beyond is None else f"<failure message={quoteattr(plain(sentence(c, beyond)))}/>"
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
    different = sum(bool(r.tally.differing) for r in c.rows if r.tally is not None)
    total = sum(r.tally.elements for r in c.rows if r.tally is not None)
    return (
        f"{len(compared)} of {_count(len(c.layers), 'layer')} and {_count(len(c.outputs), 'output')}, "
        f"{_count(total, 'element')}; {different or 'none'} of these tensors {'differs' if different < 2 else 'differ'}"
    )


def sentence(c: Comparison, r: Row) -> str:
    """One tensor that differs."""
    if r.op_type == "output" and not r.operator:
        what = f"output '{r.tensor}'"
    else:
        place = f" on the {r.placed_on}" if r.placed_on else ""
        what = f"layer {c.layers.index(r)}, {kind(r)} '{r.operator}'{place}, tensor '{r.tensor}'"
    t = r.tally
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
