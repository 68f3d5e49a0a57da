"""What the tests of the legality rules of all stages share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from furiosa.compiler.dfg.legality import Illegal

Change = Callable[[Any], None]


class Changes(list[Change]):
    """Functions that each break one rule of a stage; used as a decorator, collects them."""

    def __call__(self, change: Change) -> Change:
        self.append(change)
        return change


def assert_illegal(stage: str, subject: Any, change: Change, check: Callable[[Any], None]) -> None:
    """Asserts that ``check`` takes what ``stage`` made, and refuses it after ``change``."""
    check(subject)
    change(subject)
    with pytest.raises(Illegal, match=f"illegal {stage}") as e:
        check(subject)
    assert e.value.code == Illegal.code
