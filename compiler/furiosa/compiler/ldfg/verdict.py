"""Verdicts: where an operator runs, and all the rules that keep it off the NPU, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reason:
    """One failed rule: its id, its sentence, the value found, the values allowed, and what a user can change."""

    rule: str
    message: str
    actual: str
    allowed: str
    hint: str


@dataclass(slots=True)
class Verdict:
    """Where one source operator runs; ``reasons`` is empty on the NPU."""

    placed_on: str  # "npu" or "host"
    reasons: list[Reason] = field(default_factory=list)


class Failure(Exception):
    """Raised by a rule: what was found and what is allowed."""

    def __init__(self, actual: object, allowed: object, hint: str = ""):
        super().__init__(actual, allowed, hint)
        self.actual, self.allowed, self.hint = str(actual), str(allowed), hint


Rule = Callable[[Any], None]


def failures(rules: tuple[Rule, ...], subject: Any) -> list[Reason]:
    """Applies every rule and collects all that fail; a rule's docstring is its sentence, its name its id."""
    out = []
    for rule in rules:
        try:
            rule(subject)
        except Failure as f:
            message = " ".join((rule.__doc__ or rule.__name__).split())
            out.append(Reason(rule.__name__.replace("_", "-"), message, f.actual, f.allowed, f.hint))
    return out


class Refused(Exception):
    """The operator goes to the host, for these reasons."""

    def __init__(self, reasons: list[Reason]):
        super().__init__(reasons)
        self.reasons = reasons


def unknown_operator(op_type: str, known: Iterable[str]) -> Reason:
    """The reason for an operator that has no lowering."""
    return Reason(
        "operator-table",
        "This compiler does not place the operator on the NPU.",
        op_type,
        ", ".join(sorted(known)),
        "replace the operator, or leave it to the host",
    )
