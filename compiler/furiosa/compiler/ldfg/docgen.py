"""docs/operators.md, from what decides: ``python -m furiosa.compiler.ldfg.docgen > docs/operators.md``.

Which operators the NPU takes are the keys of the two tables ``LOWERINGS``; the rules of each are those that its lowering
function declares, and is held to (``Lowering.apply``).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable

import onnx
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.ldfg import rules, vendor
from furiosa.compiler.ldfg.onnx import lower as onnx_lower
from furiosa.compiler.ldfg.onnx.units import qoperators
from furiosa.compiler.ldfg.tflite import lower as tflite_lower
from furiosa.compiler.ldfg.verdict import Rule, rule_id, rule_text

_INTRODUCTION = f"""\
# Operators

Where an operator of a model runs, on the NPU or on the host, is decided for each operator by rules: on the NPU if its type is in
the tables below and all rules of its row hold. Everything else runs on the host, by the format's reference runtime, with the same
numbers. `furiosa compile` and the [report](report.md) name every rule that an operator breaks, what was found, what is allowed, what
to change, and what running it on the host is estimated to cost.

This page is generated from the tables that the compiler itself uses (`python -m furiosa.compiler.ldfg.docgen >
docs/operators.md`); a test fails where it is stale.

The column *since* is the release of the vendor's SDK whose table of accelerated operators has the operator for the first time, *vendor's
limits* what that table says of it. The option `compatibility` of the compiler chooses the table: `{vendor.RELEASES[0]}` restricts
the NPU to what that release took, `{vendor.LATEST}` (or `latest`, the default) is the last one. *as X*: the vendor's table does not
name the operator, it is taken as a form of X. *–*: an operator that the vendor's table has nothing like, taken by this
compiler in `{vendor.LATEST}`.
"""

_HOST = "All other operators run on the host, if the reference runtime has a kernel for them"

# numbers of the schema that are no operators of their own
_NO_OPERATORS = ("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES")


def markdown() -> str:
    """The page."""
    schemas = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
    builtins = {n for n in vars(schema.BuiltinOperator) if not n.startswith("_")}.difference(_NO_OPERATORS)
    builtins = {n for n in builtins if not n.startswith("STABLEHLO_")}
    parts = [
        _INTRODUCTION,
        "## ONNX\n",
        _table(onnx_lower.LOWERINGS, vendor.ROWS, schemas, _onnx_name),
        _rest(schemas.difference(onnx_lower.LOWERINGS, vendor.ROWS), "."),
        "## TFLite\n",
        _table(tflite_lower.LOWERINGS, vendor.COUNTERPARTS, builtins, _tflite_name),
        _rest(builtins.difference(tflite_lower.LOWERINGS, vendor.COUNTERPARTS), ", `STABLEHLO_*`."),
        "## Rules\n",
        "Those of every operator:\n",
        *map(_rule, rules.EVERY),
        "Those of some:\n",
        *(_group(name, rule_set) for name, rule_set in rules.GROUPS.items()),
        *(_rule(r) for r in all_rules() if r not in rules.EVERY),
    ]
    return "\n".join(parts)


def all_rules() -> list[Rule]:
    """Every rule, in the order of rules.py."""
    public = [f for name, f in vars(rules).items() if not name.startswith("_")]
    functions = [f for f in public if inspect.isfunction(f) and f.__module__ == rules.__name__]
    return [f for f in functions if list(inspect.signature(f).parameters) == ["f"]]


def _onnx_name(name: str) -> str:
    return f"`{name}`" + "".join(f", `{q}`" for q in qoperators(name))


def _tflite_name(name: str) -> str:
    return f"`{name}`"


def _table(
    lowerings: dict[str, Callable[..., None]],
    known: Iterable[str],
    existing: set[str],
    shown: Callable[[str], str],
) -> str:
    lines = ["| operator | runs on | since | vendor's limits | rules |", "|---|---|---|---|---|"]
    for name in sorted({*lowerings, *(n for n in known if n in existing)}):
        function = lowerings.get(name)
        place = "NPU" if function else "host"
        links = ", ".join(_links(function.rules)) if function else ""
        lines.append(f"| {shown(name)} | {place} | {_since(name)} | {_limits(name)} | {links} |")
    return "\n".join(lines) + "\n"


def _since(name: str) -> str:
    first = vendor.since(name)
    return "–" if first is None else first or "always"


def _limits(name: str) -> str:
    found = vendor.row(name)
    if found is None:
        return ""
    onnx_name, row = found
    forms = [f"as `{n}`" for n in (onnx_name if onnx_name != name else "", row.like) if n]
    return "; ".join([*forms, *([row.note] if row.note else [])])


def _rest(names: set[str], end: str) -> str:
    return f"{_HOST}: {', '.join(f'`{n}`' for n in sorted(names))}{end}\n"


def _links(rule_set: tuple[Rule, ...]) -> list[str]:
    """Links to the rules, those of a group together by its name."""
    rest, names = list(rule_set), []
    for name, group in rules.GROUPS.items():
        if set(group) <= set(rest):
            rest = [r for r in rest if r not in group]
            names.append(name)
    return [f"[{name}](#{name})" for name in names + [rule_id(r) for r in rest]]


def _group(name: str, rule_set: tuple[Rule, ...]) -> str:
    links = [link for r in rule_set for link in _links((r,))]
    return f"### {name}\n\nAll of {', '.join(links)}.\n"


def _rule(rule: Rule) -> str:
    sentence, hint = rule_text(rule)
    return f"### {rule_id(rule)}\n\n{sentence}\n\n*What to change:* {hint}\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
