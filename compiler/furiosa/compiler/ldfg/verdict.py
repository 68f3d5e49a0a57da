"""Verdicts: where an operator runs, and all the rules that keep it off the NPU, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

MOST_CHARACTERS = 1000  # of what a reason says about one operator


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
    """Where one source operator runs; ``reasons`` is empty on the NPU.

    ``host_us`` and ``transfer_us`` estimate what running it on the host costs in one run, in microseconds: the operator
    itself, and the transfers between it and the NPU; 0 on the NPU (furiosa.compiler.ldfg.coverage).
    """

    placed_on: str  # "npu" or "host"
    reasons: list[Reason] = field(default_factory=list)
    host_us: float = 0.0
    transfer_us: float = 0.0


class Failure(Exception):
    """Raised by a rule: what was found and what is allowed; ``hint`` where a better one than the rule's own is known."""

    def __init__(self, actual: object, allowed: object, hint: str = ""):
        super().__init__(actual, allowed, hint)
        self.actual, self.allowed, self.hint = _short(str(actual)), _short(str(allowed)), _short(hint)


def _short(text: str) -> str:
    """An operator may have thousands of inputs, and names of any length."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


Rule = Callable[[Any], None]
Function = TypeVar("Function", bound=Callable[..., None])


def rule_id(rule: Rule) -> str:
    """The rule's name for users: "group-limit"."""
    return rule.__name__.replace("_", "-")


def rule_text(rule: Rule) -> tuple[str, str]:
    """A rule's sentence and hint: the first and the second paragraph of its docstring, each on one line."""
    sentence, *more = [" ".join(p.split()) for p in (rule.__doc__ or rule_id(rule)).split("\n\n")]
    return sentence, more[0] if more else ""


def failures(rules: Iterable[Rule], subject: Any) -> list[Reason]:
    """Applies every rule and collects all that fail."""
    out = []
    for rule in rules:
        try:
            rule(subject)
        except Failure as f:
            sentence, hint = rule_text(rule)
            out.append(Reason(rule_id(rule), sentence, f.actual, f.allowed, f.hint or hint))
    return out


def requires(rules: tuple[Rule, ...]) -> Callable[[Function], Function]:
    """Declares the rules of a lowering function: it must check all of them, and no others, before it emits anything.

    ``Lowering.apply`` holds it to that; docs/operators.md is made from the declarations.
    """

    def declare(function: Function) -> Function:
        function.rules = rules
        return function

    return declare


class Refused(Exception):
    """The operator goes to the host, for these reasons."""

    def __init__(self, reasons: list[Reason]):
        super().__init__(reasons)
        self.reasons = reasons
