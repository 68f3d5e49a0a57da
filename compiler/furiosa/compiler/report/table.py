"""A short table of what runs where, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from furiosa.compiler.dfg.macs import macs

if TYPE_CHECKING:
    from furiosa.compiler.ldfg.lowering import Lowering
    from furiosa.compiler.ldfg.verdict import Reason

HOST_ROWS = 8  # kinds of host operators shown without -v


def placement(lowering: Lowering, *, everything: bool = False) -> list[str]:
    """Lines that count the operators and the work of NPU and host, then the host's operators.

    Host operators of one type and one first reason share a line; ``everything`` gives each its own, with every reason.
    """
    operators = lowering.graph.operators
    work = {op: macs(op) for op in operators}
    total = sum(work.values())
    lines = []
    for place, label in (("npu", "NPU"), ("host", "host")):
        here = [op for op in operators if lowering.verdicts[op].placed_on == place]
        count = sum(work[op] for op in here)
        share = f"{100 * count / total:5.1f} %" if total else "      -"
        lines.append(f"{label:<5}{len(here):>6} operators {count:>16,} MACs {share}")
    return lines + (_each(lowering) if everything else _kinds(lowering))


def no_npu(lowering: Lowering) -> str | None:
    """A sentence where every operator runs on the host, with the commonest first rule that failed; else None."""
    verdicts = lowering.verdicts.values()
    if not verdicts or any(v.placed_on == "npu" for v in verdicts):
        return None
    count: dict[str, int] = {}
    hint: dict[str, str] = {}
    for v in verdicts:
        for r in v.reasons[:1]:
            count[r.rule] = count.get(r.rule, 0) + 1
            hint.setdefault(r.rule, _rule(r))
    common = max(count, key=count.__getitem__, default=None)  # of equals the first
    why = f". {hint[common]}" if common else ""
    return f"nothing runs on the NPU, the whole model runs on the host{why}"


def _kinds(lowering: Lowering) -> list[str]:
    groups: dict[tuple[str, str], list[Reason]] = {}
    for op, v in lowering.verdicts.items():
        if v.placed_on == "host":
            first = v.reasons[:1]
            groups.setdefault((op.op_type, first[0].rule if first else ""), []).extend(first)
    rows = sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))
    lines = [
        f"  {len(reasons):>4} x {kind}: {_rule(reasons[0]) if reasons else ''}" for (kind, _), reasons in rows
    ]
    if len(lines) > HOST_ROWS:
        lines[HOST_ROWS:] = [f"  … and {len(lines) - HOST_ROWS} more kinds, -v shows all"]
    return lines


def _each(lowering: Lowering) -> list[str]:
    lines = []
    for op, v in lowering.verdicts.items():
        if v.placed_on == "host":
            lines.append(f"  {op.op_type} '{op.name}'")
            lines += [f"      {_sentence(r)}" for r in v.reasons]
    return lines


def _rule(r: Reason, found: str = "") -> str:
    hint = f" {r.hint}" if r.hint else ""
    return f"{r.message.rstrip('.')}{found}.{hint}"


def _sentence(r: Reason) -> str:
    return _rule(r, f" (found {r.actual}, allowed {r.allowed})")
