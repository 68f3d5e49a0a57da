"""A short table of what runs where and why, for the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from furiosa.compiler.ldfg.coverage import coverage, unknown_macs

if TYPE_CHECKING:
    from furiosa.compiler.dfg.graph import Operator
    from furiosa.compiler.ldfg.lowering import Lowering
    from furiosa.compiler.ldfg.verdict import Reason, Verdict

HOST_ROWS, RULE_ROWS = 8, 4  # kinds of host operators, and rules, shown without -v
UNKNOWN_ROWS = 4  # kinds of operators whose multiply-accumulates cannot be known


class _Placed(NamedTuple):
    op: Operator
    verdict: Verdict


def placement(lowering: Lowering, *, everything: bool = False) -> list[str]:
    """Lines that count the operators and the work of NPU and host, then why operators run on the host.

    Host operators of one type that break the same rules share a line; each rule is said once, with the first operator
    that breaks it.  ``everything`` gives each operator its own line, with all that was found.
    """
    sums = coverage(lowering)
    host_macs = sums.total_macs - sums.npu_macs
    on_host = [_Placed(op, v) for op, v in lowering.verdicts.items() if v.placed_on == "host"]
    lines = [_sum("NPU", sums.npu_operators, sums.npu_macs, sums.total_macs)]
    lines.append(_sum("host", sums.host_operators, host_macs, sums.total_macs) + _cost_note(on_host))
    if sums.unknown_macs:
        lines += _unknown(lowering)
    if not on_host:
        return lines
    return lines + (_each(on_host) if everything else [*_kinds(on_host), *_rules(on_host)])


def no_npu(lowering: Lowering, *, why: bool = True) -> str | None:
    """A sentence where every operator runs on the host, with the commonest first rule that failed; else None."""
    verdicts = lowering.verdicts.values()
    if not verdicts or any(v.placed_on == "npu" for v in verdicts):
        return None
    count: dict[str, int] = {}
    said: dict[str, str] = {}
    for v in verdicts:
        for r in v.reasons[:1]:
            count[r.rule] = count.get(r.rule, 0) + 1
            said.setdefault(r.rule, _sentence(r))
    common = max(count, key=count.__getitem__, default=None)  # of equals the first
    reason = f". {said[common]}" if common and why else ""
    return f"nothing runs on the NPU, the whole model runs on the host{reason}"


def _sum(place: str, operators: int, macs: int, total: int) -> str:
    share = f"{100 * macs / total:5.1f} %" if total else "      -"
    return f"{place:<5}{operators:>6} operators {macs:>16,} MACs {share}"


def _unknown(lowering: Lowering) -> list[str]:
    """A line for each kind of operator whose multiply-accumulates are not in the sums."""
    kinds = Counter((op.written_type, reason) for op, reason in unknown_macs(lowering.graph))
    return [
        f"  not counted: the multiply-accumulates of {n} {kind}: {reason}"
        for (kind, reason), n in kinds.most_common(UNKNOWN_ROWS)
    ]


def _cost_note(placed: list[_Placed]) -> str:
    if not placed:
        return ""
    transfers = sum(p.verdict.transfer_us for p in placed)
    return f", about {_us(placed)}, {transfers:,.1f} us of it transfers (an estimate, not calibrated)"


def _us(placed: list[_Placed]) -> str:
    return f"{sum(p.verdict.host_us + p.verdict.transfer_us for p in placed):,.1f} us"


def _kinds(on_host: list[_Placed]) -> list[str]:
    groups: dict[tuple[str, str], list[_Placed]] = {}
    for p in on_host:
        broken = ", ".join(r.rule for r in p.verdict.reasons)
        groups.setdefault((p.op.written_type, broken), []).append(p)
    rows = sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))
    lines = [f"  {len(ps):>4} x {kind:<24} {_us(ps):>14}  {broken}" for (kind, broken), ps in rows]
    if len(lines) > HOST_ROWS:
        lines[HOST_ROWS:] = [f"  … and {len(lines) - HOST_ROWS} more, -v shows all"]
    return lines


def _rules(on_host: list[_Placed]) -> list[str]:
    """The rules by how often they are broken, each with the hint that most operators get, and the first of those."""
    broken: dict[str, list[tuple[Operator, Reason]]] = {}
    for p in on_host:
        for r in p.verdict.reasons:
            broken.setdefault(r.rule, []).append((p.op, r))
    lines = []
    for rule, cases in sorted(broken.items(), key=lambda b: -len(b[1]))[:RULE_ROWS]:
        hints = [r.hint for _, r in cases]
        op, reason = cases[hints.index(Counter(hints).most_common(1)[0][0])]
        lines.append(f"  {rule}: {_sentence(reason)}")
        lines.append(
            f"      {op.written_type} '{_short(op.name, 40)}': found {_short(reason.actual, 100)}; allowed {reason.allowed}"
        )
    if len(broken) > RULE_ROWS:
        lines.append(f"  … and {len(broken) - RULE_ROWS} more, -v shows all")
    return lines


def _each(on_host: list[_Placed]) -> list[str]:
    """Every operator on the host under each rule that it breaks; what a rule says and advises stands once for all of them."""
    said: dict[tuple[str, str], list[tuple[_Placed, Reason]]] = {}
    for p in on_host:
        for r in p.verdict.reasons:
            said.setdefault((r.rule, _sentence(r)), []).append((p, r))
    lines = []
    for (rule, sentence), cases in sorted(said.items(), key=lambda c: -len(c[1])):
        count = f" ({len(cases)} operators)" if len(cases) > 1 else ""
        lines.append(f"  {rule}: {sentence}{count}")
        for p, r in cases:
            where = f"{p.op.written_type} '{p.op.name}', about {_us([p])}"
            lines.append(f"      {where}: found {r.actual}; allowed {r.allowed}")
    return lines


def _sentence(r: Reason) -> str:
    return f"{r.message} {r.hint}".rstrip()


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
