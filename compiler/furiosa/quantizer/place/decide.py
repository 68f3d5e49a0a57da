"""Decides what is quantised: everything at first, then what the compiler says that the NPU takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from furiosa.compiler import quantizable
from furiosa.compiler.dfg.graph import Graph, Operator
from furiosa.compiler.errors import InvalidConfig
from furiosa.compiler.ldfg.verdict import Reason
from furiosa.compiler.selection import unknown
from furiosa.quantizer.affine import Range
from furiosa.quantizer.place.constants import operands
from furiosa.quantizer.place.plan import Form, Plan
from furiosa.quantizer.place.units import Unit, find
from furiosa.quantizer.place.unlike import unlike
from furiosa.quantizer.place.write import write


def plan(
    graph: Graph,
    ranges: Mapping[str, Range],
    *,
    exclude: Iterable[str] = (),
    types: Mapping[str, str] | None = None,
    fixed: Mapping[str, Range] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Plan:
    """The plan with everything quantised that the NPU takes.

    Args:
        graph: a clean graph (graph.load).
        ranges: of every float tensor, by name.
        exclude: names or types of operators that stay in float.
        types: "int8" or "uint8" for inputs and outputs that are integers, by name.
        fixed: ranges that win over ``ranges``, and over scales that an operator or a neighbour gives.
        tell: hears how far it is.

    Raises:
        InvalidModel: a range is missing.
        InvalidConfig: an exclusion that is no operator's name or type; a type for what is no input or output, or not quantised.
    """
    excluded = _excluded(graph, exclude)
    units = [u for u in find(graph)]
    types = dict(types or {})
    for name in types:
        if name not in (known := [t.name for t in (*graph.inputs, *graph.outputs)]):
            raise unknown("type", name, "input or output", known)
    apart = unlike(graph, ranges)
    made = Plan(graph, [], {}, ranges, excluded, dict(fixed or {}), apart, types)
    excluded = excluded | apart.keys()
    for unit in units:
        parts = [unit] if excluded.isdisjoint(unit.operators) else [Unit([op]) for op in unit.operators]
        for part in parts:
            made.units.append(part)
            made.forms[part] = Form.FLOAT if part.operators[0] in excluded else Form.PLAIN
    rounds = 0
    while True:
        rounds += 1
        tell(f"asking what the NPU takes, round {rounds}")
        refused = quantizable.host_operators(write(made))
        moved = [
            u
            for u in made.units
            if made.forms[u] != Form.FLOAT and any(op.name in refused for op in u.operators)
        ]
        if not moved:
            _check_types(made)
            return made
        for unit in moved:
            _next(made, unit, refused)


def _next(made: Plan, unit: Unit, refused: dict[str, list[Reason]]) -> None:
    """The next form of a unit that the NPU refuses; at last its operators one by one, and in float."""
    if made.forms[unit] == Form.PLAIN and any(operands(op) for op in unit.operators):
        made.forms[unit] = Form.CONSTANTS
        return
    if len(unit.operators) > 1:
        at = made.units.index(unit)
        parts = [Unit([op]) for op in unit.operators]
        made.units[at : at + 1] = parts
        del made.forms[unit]
        made.forms |= dict.fromkeys(parts, Form.PLAIN)
        return
    made.forms[unit] = Form.FLOAT
    made.reasons[unit.operators[0]] = refused.get(unit.operators[0].name, [])


def _check_types(made: Plan) -> None:
    """Refuses integers where the model has none: an input that goes to the host, an output that comes from there."""
    if not made.types:
        return
    quantized = {t.name for t in made.affines()}
    for name, kind in made.types.items():
        if name not in quantized:
            raise InvalidConfig(f"type: '{name}' cannot be {kind}, for what makes or reads it stays in float")


def _excluded(graph: Graph, exclude: Iterable[str]) -> set[Operator]:
    found: set[Operator] = set()
    for wanted in exclude:
        named = {op for op in graph.operators if wanted in (op.name, op.op_type)}
        if not named:
            known = [n for op in graph.operators for n in (op.name, op.op_type)]
            raise unknown("--exclude", wanted, "operator or type of operators", dict.fromkeys(known))
        found |= named
    return found
