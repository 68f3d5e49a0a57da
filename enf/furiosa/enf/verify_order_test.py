"""Writes before reads, and no races: each missing write and each missing wait is found."""

from __future__ import annotations

import pytest

from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.machine import Engine
from furiosa.enf.testing.cases import Cases, operand, waits, without
from furiosa.enf.testing.programs import Program, const, dram, lookup, ranged, sram

LOAD, STORE, PE = range(Engine.COUNT)


CASES = Cases()


CASES.each(
    "not wholly written",
    {
        "input_not_loaded": without(0),
        "table_not_loaded": without(1),
        "output_never_stored": without(3),
        "table_loaded_in_part": lambda p: (
            operand(p, 1, 0, shape=(1, 1, 1, 255)),
            operand(p, 1, 1, shape=(1, 1, 1, 255)),
        ),
        "table_loaded_with_holes": lambda p: (
            operand(p, 1, 0, shape=(1, 1, 1, 128)),
            operand(p, 1, 1, shape=(1, 1, 1, 128), strides=(0, 0, 0, 2)),
        ),
        "input_too_short": lambda p: p.inputs[0].shape.__setitem__(3, 63),
        "output_too_long": lambda p: p.dram.__setitem__(1, (64, 65)) or p.outputs[0].shape.__setitem__(3, 65),
        "no_input": lambda p: p.inputs.clear(),
    },
)


@CASES.breaks(r"command 3 \(STORE\): it reads .* which is not wholly written")
def stale_bytes_of_a_dead_buffer(p):
    """A new buffer at the addresses of the one that was written: what is there belongs to nobody."""
    p.sram[2] = (320, 64, 2, 2)
    p.sram.append((320, 64, 3, 3))


def gathered() -> Program:
    """Two copies write the even and the odd columns of a tile, which is then copied as a whole and by rows."""
    p = Program()
    p.constants = bytes(range(64))
    p.sram = [(0, 64, 0, 4), (64, 64, 1, 4), (128, 64, 3, 4), (192, 64, 4, 4)]
    p.add("LOAD", LOAD, const(0, 1, 1, 1, 64), sram(0, 1, 1, 1, 64))
    half, columns = (1, 1, 1, 1, 8, 4), (0, 0, 0, 0, 8, 2)
    for start in (0, 1):
        source, target = (sram(at + start, *half, strides=columns) for at in (0, 64))
        p.add("COPY", PE, source, target, waits=(1, 0, 0))
    whole = (1, 1, 1, 1, 8, 8)
    p.add("COPY", PE, sram(64, *whole), sram(128, *whole))
    p.add("COPY", PE, sram(64, 1, 1, 1, 1, 3, 8, strides=(0, 0, 0, 0, 24, 1)), sram(192, 1, 1, 1, 1, 3, 8))
    return p


def one_row_less(p: Program) -> None:
    for place in (0, 1):
        operand(p, 2, place, shape=(1, 1, 1, 1, 7, 4))


def one_column_less(p: Program) -> None:
    for place in (0, 1):
        operand(p, 2, place, shape=(1, 1, 1, 1, 8, 3))


CASES.each(
    r"command 3 \(COPY\): it reads .* which is not wholly written",
    {"one_row_less": one_row_less, "one_column_less": one_column_less},
    gathered,
)


def test_rows_that_are_written_may_be_read_where_others_are_not():
    p = gathered()
    one_row_less(p)
    del p.commands[3]
    p.sram = [(0, 64, 0, 3), (64, 64, 1, 3), (192, 64, 3, 3)]
    p.load()


@CASES.breaks("it writes where it reads", gathered)
def in_place_but_shifted(p):
    p.sram = [(0, 256, 0, 4)]
    operand(p, 3, 1, address=120)


CASES.each(
    "races with command [12] of engine load in buffer ''",
    {
        "reads_before_the_loads": lambda p: waits(p, 2, 0, 0, 0),
        "reads_before_the_second_load": lambda p: waits(p, 2, 1, 0, 0),
    },
)
CASES.each("races with command 1 of engine pe", {"stores_before_the_lookup": lambda p: waits(p, 3, 2, 0, 0)})


def reused() -> Program:
    """The input's buffer is overwritten by a second load, once as the same buffer and once as another."""
    p = lookup()
    p.sram = [(0, 64, 0, 4), (64, 256, 1, 2), (320, 64, 2, 3), (64, 64, 5, 5)]
    p.add("LOAD", LOAD, dram(0, 1, 1, 1, 64), sram(0, 1, 1, 1, 64), waits=(0, 0, 1))
    p.add("LOAD", LOAD, dram(64, 1, 1, 1, 64), sram(64, 1, 1, 1, 64), waits=(0, 1, 1))
    return p


@CASES.breaks("races with command 1 of engine pe", reused)
def overwrites_what_is_read(p):
    waits(p, 4, 0, 0, 0)


@CASES.breaks("races with command 1 of engine store", reused)
def loads_before_the_store(p):
    waits(p, 5, 0, 0, 1)


@CASES.breaks("races with command 1 of engine pe", reused)
def overwrites_the_memory_of_a_dead_buffer(p):
    """The load before it no longer waits for the lookup, so this one does not either; it reads DRAM of no store."""
    del p.commands[4:]
    p.sram[0] = (0, 64, 0, 2)
    p.sram[3] = (64, 64, 4, 4)
    p.add("LOAD", LOAD, dram(0, 1, 1, 1, 64), sram(64, 1, 1, 1, 64))


def halves() -> Program:
    """A PE and a transfer write one buffer each half, and the PE reads all of it."""
    p = Program()
    p.sram = [(0, 64, 0, 2), (64, 64, 2, 2)]
    p.add("FILL", PE, sram(0, 1, 1, 1, 32))
    p.constants = bytes(64)
    p.add("LOAD", LOAD, const(0, 1, 1, 1, 32), sram(32, 1, 1, 1, 32))
    p.add("COPY", PE, sram(0, 1, 1, 1, 1, 1, 64), sram(64, 1, 1, 1, 1, 1, 64), waits=(1, 0, 0))
    return p


@CASES.breaks("races with command 1 of engine load", halves)
def reads_before_the_transfer(p):
    waits(p, 2, 0, 0, 0)


@CASES.breaks("races with command 1 of engine pe", halves)
def both_write(p):
    for number in (0, 1):
        operand(p, 1, number, address=31 * number, shape=(1, 1, 1, 33))


def test_a_step_is_a_barrier():
    """What must wait within a step need not across steps."""
    p = lookup()
    p.steps = [ranged(0, 2), ranged(2, 1), ranged(3, 1)]
    for number in (2, 3):
        waits(p, number, 0, 0, 0)
    p.load()
    p.steps = [ranged(0, 2), ranged(2, 2)]
    with pytest.raises(EnfVerifyError, match=r"command 3 \(STORE\): it races"):
        p.load()


test_rule = CASES.test()
