"""The rules of engines, waits and operands: each is broken alone, and the verifier says so."""

from __future__ import annotations

from furiosa.enf.machine import Engine, Space
from furiosa.enf.testing.cases import HUGE, Cases, Change, changed, operand, row, waits
from furiosa.enf.testing.programs import Program, const, sram, typical

LOAD, STORE, PE = range(Engine.COUNT)


CASES = Cases()


def engine(number: int, code: int) -> Change:
    return lambda p: p.commands.__setitem__(number, changed(p.commands[number], engine=code))


CASES.each(
    "cannot run on engine",
    {
        "load_on_a_pe": engine(0, PE),
        "load_on_store": engine(0, STORE),
        "store_on_load": engine(3, LOAD),
        "lookup_on_load": engine(2, LOAD),
        "no_such_engine": engine(2, Engine.COUNT),
        "last_engine_code": engine(2, 255),
    },
)


CASES.each(
    "not yet issued",
    {
        "waits_for_itself": lambda p: waits(p, 0, 1, 0, 0),
        "waits_for_its_reader": lambda p: waits(p, 1, 0, 0, 1),
        "waits_for_the_next": lambda p: waits(p, 2, 3, 0, 0),
        "waits_for_ever": lambda p: waits(p, 3, 0, 2**32 - 1, 1),
    },
)


@CASES.breaks("more than the 128 slices", lambda: typical("MAX_POOL2D"))
def too_many_slices(p):
    c = p.commands[-1]
    values = c.arguments | {"split_pixels": 3, "split_channels": 43}
    p.commands[-1] = changed(c, params=tuple(values.values()))


CASES.each(
    "wrong memory or element type",
    {
        "load_from_sram": lambda p: operand(p, 0, 0, space=Space.SRAM),
        "load_to_dram": lambda p: operand(p, 0, 1, space=Space.DRAM),
        "lookup_in_dram": lambda p: operand(p, 2, 0, space=Space.DRAM),
        "lookup_in_constants": lambda p: operand(p, 2, 1, space=Space.CONST),
        "store_to_constants": lambda p: operand(p, 3, 1, space=Space.CONST),
        "no_such_memory": lambda p: operand(p, 0, 0, space=3),
        "last_memory_code": lambda p: operand(p, 2, 2, space=255),
        "table_of_int8": lambda p: operand(p, 2, 1, dtype="int8"),
        "lookup_of_float": lambda p: operand(p, 2, 0, dtype="float32"),
    },
)
CASES.each(
    "is empty",
    {
        "no_elements": lambda p: operand(p, 2, 0, shape=(1, 1, 1, 0)),
        "no_rows": lambda p: operand(p, 2, 2, shape=(0, 1, 1, 64)),
        "no_elements_of_many": lambda p: operand(p, 2, 0, shape=(2**32 - 1, 0, 2**32 - 1, 1)),
        "no_constants": lambda p: operand(p, 1, 0, shape=(1, 1, 1, 0)),
    },
)
CASES.each(
    "is outside SRAM",
    {
        "sram_behind_the_end": lambda p: operand(p, 2, 0, address=32 << 20),
        "sram_over_the_end": lambda p: operand(p, 2, 0, address=(32 << 20) - 63),
        "sram_address_wraps": lambda p: operand(p, 2, 0, address=HUGE),
        "sram_address_wraps_to_0": lambda p: operand(p, 2, 0, address=HUGE - 63),
        "sram_strides_leave": lambda p: operand(p, 2, 0, strides=(0, 0, 0, 2**32 - 1)),
        "sram_shape_leaves": lambda p: operand(p, 2, 0, shape=(1, 1, 2, 64), strides=(0, 0, 32 << 20, 1)),
    },
)
CASES.each(
    "is outside working DRAM",
    {
        "dram_behind_the_end": lambda p: operand(p, 0, 0, address=128),
        "dram_over_the_end": lambda p: operand(p, 3, 1, address=65),
        "dram_address_wraps": lambda p: operand(p, 0, 0, address=HUGE),
        "dram_strides_leave": lambda p: operand(p, 3, 1, strides=(0, 0, 0, 3)),
    },
)
CASES.each(
    "is outside the constants",
    {
        "constants_behind_the_end": lambda p: operand(p, 1, 0, address=256),
        "constants_over_the_end": lambda p: operand(p, 1, 0, address=1),
        "constants_address_wraps": lambda p: operand(p, 1, 0, address=HUGE),
        "constants_strides_leave": lambda p: operand(p, 1, 0, strides=(0, 0, 0, 2)),
        "no_constants_at_all": lambda p: setattr(p, "constants", b""),
    },
)
CASES.each(
    "does not lie in one live buffer",
    {
        "beside_its_buffer": lambda p: operand(p, 2, 2, address=384),
        "over_two_buffers": lambda p: operand(p, 2, 0, address=32),
        "before_birth": row(0, 0, 64, 1, 2),
        "after_death": row(0, 0, 64, 0, 1),
        "buffer_too_small": row(2, 320, 63, 2, 3),
        "over_two_dram_buffers": lambda p: operand(p, 0, 0, address=32),
        "beside_its_dram_buffer": lambda p: p.dram.__setitem__(1, (64, 32)) or p.metadata.update(FULL_DRAM),
    },
)
FULL_DRAM = {"working_dram_bytes": 128, "dram_bytes": 384}


def wide() -> Program:
    """Loads 16-bit elements, and copies them with a stride."""
    p = Program()
    p.constants = bytes(64)
    p.sram = [(0, 64, 0, 1), (64, 128, 1, 1)]
    p.add("LOAD", LOAD, const(0, 1, 1, 1, 32, dtype="int16"), sram(0, 1, 1, 1, 32, dtype="int16"))
    shape, strides = (1, 1, 1, 1, 8, 4), (0, 0, 0, 0, 16, 4)
    source, target = sram(0, *shape, dtype="int16"), sram(64, *shape, dtype="int16", strides=strides)
    p.add("COPY", PE, source, target, waits=(1, 0, 0))
    return p


CASES.each(
    "not aligned to its elements",
    {
        "odd_address": lambda p: operand(p, 1, 1, address=65),
        "odd_constant": lambda p: (
            operand(p, 0, 0, address=1, shape=(1, 1, 1, 31)) or operand(p, 0, 1, shape=(1, 1, 1, 31))
        ),
        "odd_stride": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 15, 4)),
        "odd_inner_stride": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 16, 5)),
    },
    wide,
)
CASES.each(
    "written twice in the same place",
    {
        "broadcast_write": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 16, 0)),
        "interleaved_write": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 4, 4)),
        "rows_that_overlap": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 12, 4)),
        "elements_that_overlap": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 4, 2)),
    },
    wide,
)


@CASES.breaks("more elements than SRAM holds")
def everything_huge(p):
    operand(p, 2, 0, address=HUGE, shape=(2**32 - 1,) * 4, strides=(2**32 - 1,) * 4)


@CASES.breaks("more elements than SRAM holds", wide)
def stretched_by_strides_of_0(p):
    operand(p, 1, 0, shape=(1, 1, 1, 1 << 20, 8, 4), strides=(0, 0, 0, 0, 8, 2))


@CASES.breaks("a table has not 256 entries")
def what_does_not_fit_together(p):
    operand(p, 2, 1, shape=(1, 128))


@CASES.breaks("rounding is none of 0, 1", lambda: typical("QUANTIZE"))
def parameter_out_of_range(p):
    p.commands[-1] = changed(p.commands[-1], params=(0.5, 0, 2))


test_rule = CASES.test()
