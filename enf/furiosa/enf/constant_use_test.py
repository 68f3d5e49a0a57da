"""Constants are counted for the operators that compute with them."""

from __future__ import annotations

import pytest

from furiosa.enf.constant_use import _Loaded, constant_bytes
from furiosa.enf.testing.programs import Program, lookup, resident, sram


def owned(p: Program, *owners: int) -> dict[int, int]:
    for name in "ab":
        p.debug.operators.add(name=name, op_type="Relu", placed_on="npu")
    p.debug.command_operator.extend(owners)
    return constant_bytes(p.load())


@pytest.mark.parametrize("make", [lookup, resident])
def test_the_operator_that_computes_counts_and_not_the_one_that_loads(make):
    assert owned(make(), 0, 0, 1, 1) == {1: 256}


def test_what_two_read_counts_once():
    p = lookup()
    again = p.commands[2]
    p.commands.insert(
        3, type(again)(again.instruction, again.engine, (0, 0, 0), again.operands, again.params)
    )
    p.commands[4].waits = (0, 0, 2)
    p.sram = [(0, 64, 0, 3), (64, 256, 1, 3), (320, 64, 2, 4)]
    assert owned(p, 0, 0, 0, 1, 1) == {0: 256}


def test_without_a_debug_map():
    assert constant_bytes(lookup().load()) == {}


def test_what_is_overwritten_is_no_constant_any_more():
    loaded = _Loaded()
    loaded.write(sram(0, 100), 1000)
    loaded.write(sram(200, 100), 2000)
    assert [loaded.place(sram(at, 10)) for at in (0, 90, 91, 100, 200, 290)] == [
        1000,
        1090,
        None,
        None,
        2000,
        2090,
    ]
    loaded.write(sram(90, 120), None)
    assert [loaded.place(sram(at, 10)) for at in (0, 90, 200)] == [None, None, None]
    loaded.write(sram(50, 10), 7)
    assert loaded.place(sram(50, 10)) == 7
    assert loaded.place(sram(50, 11)) is None
