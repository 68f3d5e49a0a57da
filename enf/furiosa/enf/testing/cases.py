"""Cases that break one rule each, and how programs are changed for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.isa import Command
from furiosa.enf.machine import Region
from furiosa.enf.testing.programs import Program, lookup

HUGE = 2**64 - 1
Change = Callable[[Program], object]


class Cases:
    """Programs that are valid but for one change, and words that the verifier must say of it."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[str, Change, Callable[[], Program]]] = {}

    def breaks(self, words: str, start: Callable[[], Program] = lookup) -> Callable[[Change], Change]:
        """A case: what the decorated function does to a program breaks it; ``words`` is a regular expression."""

        def decorate(change: Change) -> Change:
            self.each(words, {change.__name__: change}, start)
            return change

        return decorate

    def each(self, words: str, changes: dict[str, Change], start: Callable[[], Program] = lookup) -> None:
        """Several cases of which the same is said."""
        for name, change in changes.items():
            assert name not in self._rows, name
            self._rows[name] = words, change, start

    def test(self) -> Callable[..., None]:
        """The test of all cases."""

        @pytest.mark.parametrize("name", list(self._rows))
        def test_rule(name: str) -> None:
            words, change, start = self._rows[name]
            start().load()  # valid before
            p = start()
            change(p)
            with pytest.raises(EnfVerifyError, match=words):
                p.load()

        return test_rule


def changed(c: Command, **facts: object) -> Command:
    """A command with some of its attributes changed."""
    return Command(**({s: getattr(c, s) for s in Command.__slots__} | facts))


def operand(p: Program, number: int, place: int, **facts: object) -> None:
    """Changes an operand of a command."""
    c = p.commands[number]
    operands = list(c.operands)
    operands[place] = Region(**({s: getattr(operands[place], s) for s in Region.__slots__} | facts))
    p.commands[number] = changed(c, operands=tuple(operands))


def waits(p: Program, number: int, *counts: int) -> None:
    """Changes what a command waits for."""
    p.commands[number] = changed(p.commands[number], waits=counts)


def without(number: int) -> Change:
    """Removes a command; what follows waits for one load less, and buffers live one command less."""

    def change(p: Program) -> None:
        del p.commands[number]
        for i in range(number, len(p.commands)):
            waits(p, i, *(min(w, 1) for w in p.commands[i].waits))
        p.sram = [(a, n, max(f - (f > number), 0), last - (last >= number)) for a, n, f, last in p.sram]

    return change


def row(place: int, address: int, size: int, first: int, last: int) -> Change:
    """Changes a buffer in SRAM."""
    return lambda p: p.sram.__setitem__(place, (address, size, first, last))
