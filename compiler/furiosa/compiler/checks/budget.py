"""Compares a compilation's report with a budget; what the rule npu_budget_test runs."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

from furiosa.compiler.checks.common import Parser, read_report
from furiosa.enf import command
from furiosa.enf.command import DIFFERENT, INVALID_FORMAT, CommandError
from furiosa.enf.errors import visible


class Limit(NamedTuple):
    """A figure, the option that limits it, whether the limit is the most or the least, and the keys of the report that add up to it."""

    figure: str
    option: str
    is_least: bool = False
    keys: tuple[str, ...] = ()

    def actual(self, report: dict[str, Any]) -> float | None:
        """The figure of a report; None where it cannot be known.

        Raises:
            CommandError: the report lacks a key.
        """
        total: float = 0
        for key in self.keys or (self.figure,):
            value = report.get(key)
            if key == "npu_coverage" and value is None and report.get("unknown_macs"):
                return None
            if type(value) not in (int, float) or not math.isfinite(value):
                raise CommandError(INVALID_FORMAT, f"the report has no figure '{key}'; see docs/report.md")
            total += value
        return total


LIMITS = (
    Limit("latency_us", "--max-latency-us"),
    Limit("throughput_per_s", "--min-throughput-per-s", is_least=True),
    Limit("dram_bytes", "--max-dram-bytes"),
    Limit("dram_traffic_bytes", "--max-dram-traffic-bytes", keys=("dram_bytes_read", "dram_bytes_written")),
    Limit("sram_peak_bytes", "--max-sram-bytes"),
    Limit("enf_bytes", "--max-enf-bytes"),
    Limit("host_operators", "--max-host-operators"),
    Limit("npu_coverage", "--min-npu-coverage", is_least=True),
)


def _number(text: str) -> float:
    """An integer stays one, so that bytes are compared and shown exactly."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def check(report: dict[str, Any], limits: dict[str, float]) -> tuple[bool, list[str]]:
    """Whether all figures keep their limits, and a table of them.

    Args:
        report: see docs/report.md.
        limits: by figure.

    Raises:
        CommandError: the report lacks a figure.
    """
    rows = [("figure", "actual", "", "budget", "")]
    kept = True
    for limit in LIMITS:
        if limit.figure not in limits:
            continue
        actual, allowed = limit.actual(report), limits[limit.figure]
        if actual is None:
            kept &= allowed <= 0
            verdict = "ok" if allowed <= 0 else "FAIL: it cannot be known"
            rows.append((limit.figure, "unknown", ">=", _text(allowed), verdict))
            continue
        excess = allowed - actual if limit.is_least else actual - allowed
        word = "under" if limit.is_least else "over"
        verdict = f"FAIL: {_text(excess)} {word}{_share(excess, allowed)}" if excess > 0 else "ok"
        kept &= excess <= 0
        sign = ">=" if limit.is_least else "<="
        rows.append((limit.figure, _text(actual), sign, _text(allowed), verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = []
    for figure, actual, sign, allowed, verdict in rows:
        cells = f"{figure:<{widths[0]}}  {actual:>{widths[1]}}  {sign:<{widths[2]}}  {allowed:>{widths[3]}}  {verdict}"
        lines.append(cells.rstrip())
    return kept, lines


def _text(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{round(number, 6):,}"


def _share(excess: float, allowed: float) -> str:
    return f" ({100 * excess / allowed:.1f} %)" if allowed else ""


def notes(report: dict[str, Any], limits: dict[str, float]) -> list[str]:
    """What the figures are worth, in the words of the report."""
    lines = []
    estimated = [figure for figure in ("latency_us", "throughput_per_s") if figure in limits]
    if estimated:
        verb = "are" if len(estimated) > 1 else "is"
        lines.append(f"{' and '.join(estimated)} {verb} {report.get('latency_note', 'an estimate')}.")
    if "npu_coverage" in limits and report.get("npu_coverage", 0) is None:
        first = report["unknown_macs"][0]
        lines.append(
            f"npu_coverage cannot be known: {first.get('op_type')} '{first.get('name')}': {first.get('reason')}."
        )
    elif "npu_coverage" in limits:
        lines.append(f"npu_coverage is a share of the model's {report.get('npu_coverage_of', 'work')}.")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Prints the table.

    Returns:
        0; 1: a figure does not keep its limit; 2, 4: the report cannot be read, or is none; 255: bad arguments.
    """
    return command.run(_run, "budget", argv)


def _run(argv: list[str]) -> int:
    p = Parser("budget", __doc__)
    p.add_argument("report", metavar="REPORT")
    for limit in LIMITS:
        p.add_argument(limit.option, dest=limit.figure, type=_number, metavar="N")
    options = vars(p.parse_args(argv))
    report = read_report(options["report"])
    limits = {x.figure: options[x.figure] for x in LIMITS if options[x.figure] is not None}
    kept, lines = check(report, limits)
    head = f"{report.get('model')} for {report.get('target_npu')}, batch size {report.get('batch_size')}"
    sys.stdout.writelines(f"{visible(line)}\n" for line in (head, *lines, *notes(report, limits)))
    return 0 if kept else DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
