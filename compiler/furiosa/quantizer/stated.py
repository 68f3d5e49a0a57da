"""Models that carry what quantises them in their metadata, as the vendor's quantizer (0.10) leaves them: ranges, types of inputs and outputs.

The ranges are YAML, tensor name to [min, max].  Of YAML only what states that is read: a line ``name: [min, max]``, or a name and two lines ``- number``; and JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx import wire
from furiosa.compiler.model_files import ModelFiles
from furiosa.compiler.selection import EVERYTHING, Selection
from furiosa.quantizer.affine import Range
from furiosa.quantizer.graph.load import load
from furiosa.quantizer.place.decide import plan
from furiosa.quantizer.place.plan import Plan

RANGES_KEY = wire.RANGES_KEY
TYPES_KEY = (
    "furiosa.quantizer.types"  # this project's, JSON: {name: {"type": "int8" | "uint8", "range": [min, max]}}
)
MAX_RANGES = 1 << 18


@dataclass(frozen=True, slots=True)
class Stated:
    """``ranges`` of tensors; ``types`` of inputs and outputs, "int8" or "uint8"; ``fixed`` ranges that win over all others."""

    ranges: Mapping[str, Range]
    types: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Range] = field(default_factory=dict)


def stated(model: bytes) -> Stated | None:
    """What a model's metadata say; None where they say nothing of ranges.

    Raises:
        InvalidModel: they are of another form.
    """
    properties = wire.properties(memoryview(model))
    if RANGES_KEY not in properties:
        return None
    ranges = parse_ranges(properties[RANGES_KEY])
    types, fixed = _parse_types(properties.get(TYPES_KEY, "{}"))
    return Stated(ranges, types, fixed)


def plan_stated(
    model: bytes, by: Stated, *, selection: Selection = EVERYTHING, files: ModelFiles | None = None
) -> Plan:
    """The plan of a float model with ranges that it states.

    Raises:
        InvalidModel: a range is missing.
        CompileError: as graph.load.
    """
    graph = load(model, selection=selection, files=files)
    return plan(graph, by.ranges, types=by.types, fixed=by.fixed)


# -- text -------------------------------------------------------------------------------------------------------------------


def format_ranges(ranges: Mapping[str, Range]) -> str:
    """The text of ranges, which any YAML reader takes."""
    return "".join(
        f"{json.dumps(n)}: [{float(low)!r}, {float(high)!r}]\n" for n, (low, high) in ranges.items()
    )


def parse_ranges(text: str) -> dict[str, Range]:
    """Reads ranges.

    Raises:
        InvalidModel: the text is of another form, or holds what is no range.
    """
    found: dict[str, Range] = {}
    for name, numbers in _entries(text):
        if len(found) == MAX_RANGES:
            raise InvalidModel(f"{RANGES_KEY} has more than {MAX_RANGES} tensors")
        found[name] = _range(name, numbers)
    return found


def _range(name: str, numbers: list[str]) -> Range:
    try:
        low, high = map(float, numbers)
    except ValueError:
        raise InvalidModel(
            f"{RANGES_KEY}: '{name}' has {', '.join(numbers)[:100]}, not two numbers"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InvalidModel(f"{RANGES_KEY}: {low:g} to {high:g} of '{name}' is no range")
    return Range(low, high)


_LINE = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'\[{?#-].*?|-[^\s].*?)\s*:(?:\s+\[(?P<pair>[^\]]*)\])?\s*"""
)


def _entries(text: str) -> Iterator[tuple[str, list[str]]]:
    """Names with the texts of their numbers."""
    if text.lstrip().startswith("{"):
        yield from _json_entries(text)
        return
    name, numbers = None, []
    for number, line in enumerate(text.splitlines(), 1):
        item = line.strip()
        if not item or item.startswith("#") or item == "---":
            continue
        if item.startswith("- ") and name is not None:
            numbers.append(item[2:].strip())
            continue
        if name is not None:
            yield name, numbers
        found = _LINE.fullmatch(item)
        if found is None:
            raise InvalidModel(
                f"{RANGES_KEY}: line {number} is not of the form name: [min, max]: {item[:100]}"
            )
        name, numbers = _unquoted(found["key"]), []
        if found["pair"] is not None:
            yield name, [n.strip() for n in found["pair"].split(",")]
            name = None
    if name is not None:
        yield name, numbers


def _json_entries(text: str) -> Iterator[tuple[str, list[str]]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidModel(f"{RANGES_KEY} begins with a brace, and is not JSON") from None
    for name, numbers in content.items():
        if not isinstance(numbers, list):
            raise InvalidModel(f"{RANGES_KEY}: '{name}' has no [min, max]")
        yield name, [str(n) for n in numbers]


def _unquoted(key: str) -> str:
    if key.startswith("'"):
        return key[1:-1].replace("''", "'")
    if key.startswith('"'):
        try:
            return json.loads(key)
        except ValueError:
            raise InvalidModel(
                f"{RANGES_KEY}: the name {key[:100]} has an escape that is not known"
            ) from None
    return key


def _parse_types(text: str) -> tuple[dict[str, str], dict[str, Range]]:
    types: dict[str, str] = {}
    fixed: dict[str, Range] = {}
    try:
        for name, entry in json.loads(text).items():
            types[name] = entry["type"]
            if entry["type"] not in ("int8", "uint8"):
                raise ValueError
            if entry.get("range") is not None:
                fixed[name] = _range(name, [str(n) for n in entry["range"]])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidModel(f"the metadata {TYPES_KEY} are of another form than ModelEditor writes") from None
    return types, fixed
