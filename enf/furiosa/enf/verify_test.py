"""Every rule of the verifier: a program that breaks only that one is refused, and says so."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest

from furiosa.enf import enf_pb2
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.isa import Command
from furiosa.enf.machine import Engine, Region, Space
from furiosa.enf.testing.programs import Program, command, const, dram, lookup, ranged, sram, tensor, typical

HUGE = 2**64 - 1
LOAD, STORE, PE0, PE1 = range(Engine.COUNT)
RULES: list[tuple[str, str, Callable[[], Program]]] = []


def breaks(words: str, start: Callable[[], Program] = lookup) -> Callable:
    """A case: the decorated function breaks a program that is valid before; ``words`` must be in what is said."""

    def decorate(change: Callable[[Program], None]) -> Callable:
        def build() -> Program:
            p = start()
            p.load()  # valid before
            change(p)
            return p

        name = change.__name__
        assert name not in (n for n, *_ in RULES)
        RULES.append((name, words, build))
        return change

    return decorate


def each(
    words: str, changes: dict[str, Callable[[Program], object]], start: Callable[[], Program] = lookup
) -> None:
    """Several cases that break one rule."""
    for name, change in changes.items():
        change.__name__ = name
        breaks(words, start)(change)


def test_rules_are_all_broken_in_their_own_way():
    assert len(RULES) > 100


@pytest.mark.parametrize(("name", "words", "build"), RULES, ids=[r[0] for r in RULES])
def test_rule(name, words, build):
    with pytest.raises(EnfVerifyError, match=words):
        build().load()


def changed(c: Command, **facts: object) -> Command:
    values = {s: getattr(c, s) for s in Command.__slots__} | facts
    return Command(**values)


def operand(p: Program, number: int, place: int, **facts: object) -> None:
    """Changes an operand of a command."""
    c = p.commands[number]
    r = c.operands[place]
    r = Region(**({s: getattr(r, s) for s in Region.__slots__} | facts))
    operands = list(c.operands)
    operands[place] = r
    p.commands[number] = changed(c, operands=tuple(operands))


def waits(p: Program, number: int, *counts: int) -> None:
    p.commands[number] = changed(p.commands[number], waits=counts)


# -- the program as a whole ---------------------------------------------------------------------------------------------

DRAM_BYTES = 1 << 34
each(
    "needs more memory than warboy-2pe has",
    {
        "too_much_dram": lambda p: p.metadata.update(
            working_dram_bytes=DRAM_BYTES - 255, dram_bytes=DRAM_BYTES + 1
        ),
        "huge_dram": lambda p: p.metadata.update(dram_bytes=HUGE),
        "too_much_sram": lambda p: p.metadata.update(sram_peak_bytes=(32 << 20) + 1),
    },
)
each(
    "is not the sum of constants and working memory",
    {
        "dram_sum": lambda p: p.metadata.update(dram_bytes=383),
        "huge_working_dram": lambda p: p.metadata.update(working_dram_bytes=HUGE),
    },
)
each(
    "batch size, source format or source digest",
    {
        "batch_0": lambda p: p.metadata.update(batch_size=0),
        "unknown_source": lambda p: p.metadata.update(source_format="caffe"),
        "short_digest": lambda p: p.metadata.update(source_sha256=b"abc"),
    },
)
each(
    "latency or number of multiply-accumulates",
    {
        "latency_nan": lambda p: p.metadata.update(latency_us=math.nan),
        "latency_infinite": lambda p: p.metadata.update(latency_us=math.inf),
        "latency_negative": lambda p: p.metadata.update(latency_us=-1.0),
        "more_macs_than_all": lambda p: p.metadata.update(npu_macs=5),
    },
)
each(
    "debug map does not name one operator",
    {
        "debug_too_short": lambda p: p.debug.command_operator.pop(),
        "debug_too_long": lambda p: p.debug.command_operator.append(0),
        "debug_of_nothing": lambda p: p.debug.command_operator.__setitem__(2, 1),
        "debug_without_operators": lambda p: p.debug.ClearField("operators"),
    },
    lambda: debugged(),
)


def debugged() -> Program:
    p = lookup()
    p.debug.operators.add(name="f")
    p.debug.command_operator.extend([0] * 4)
    return p


def steps(*ranges: tuple[int, int]) -> Callable[[Program], None]:
    return lambda p: setattr(p, "steps", [ranged(first, count) for first, count in ranges])


each(
    "ranges of commands do not follow each other",
    {
        "plan_starts_late": steps((1, 3)),
        "plan_with_a_gap": steps((0, 2), (3, 1)),
        "plan_repeats": steps((0, 4), (0, 4)),
        "plan_overlaps": steps((0, 3), (2, 2)),
        "plan_too_long": steps((0, 5)),
        "plan_huge": steps((0, 2**32 - 1)),
        "plan_huge_start": steps((0, 4), (2**32 - 1, 2**32 - 1)),
        "plan_backwards": steps((2, 2), (0, 2)),
    },
)
each("the plan runs 2 of 4 commands", {"plan_too_short": steps((0, 2))})
each("the plan runs 0 of 4 commands", {"plan_of_nothing": steps()})


@breaks("step 1 of the plan is empty")
def empty_step(p):
    p.steps = [ranged(0, 4), enf_pb2.Step()]


def column(name: str, *values: object) -> Callable[[Program], None]:
    """Sets a column of the memory plan."""

    def change(p: Program) -> None:
        messages = p.messages()
        del getattr(messages["memory"], name)[:]
        getattr(messages["memory"], name).extend(values)
        p.messages = lambda: messages

    return change


each(
    "columns differ in length",
    {
        "sram_address_short": column("sram_address", 0, 64),
        "sram_size_long": column("sram_size", 64, 256, 64, 1),
        "sram_first_missing": column("sram_first"),
        "sram_last_short": column("sram_last", 2),
        "sram_names_short": column("sram_tensor", "a"),
        "dram_address_short": column("dram_address", 0),
        "dram_size_missing": column("dram_size"),
        "dram_names_long": column("dram_tensor", "a", "b", "c"),
    },
)


def row(place: int, address: int, size: int, first: int, last: int) -> Callable[[Program], None]:
    return lambda p: p.sram.__setitem__(place, (address, size, first, last))


each(
    "is not within the 33554432 bytes of SRAM",
    {
        "buffer_outside": column("sram_address", 0, 64, 32 << 20),
        "buffer_hangs_over": column("sram_size", 64, 256, 32 << 20),
        "buffer_of_nothing": column("sram_size", 64, 256, 0),
        "buffer_at_the_end_of_all": column("sram_address", 0, 64, HUGE),
        "buffer_that_wraps": column("sram_size", 64, 256, HUGE),
    },
)
each(
    "is not within the 128 bytes of working DRAM",
    {
        "dram_buffer_outside": column("dram_address", 0, 129),
        "dram_buffer_hangs_over": column("dram_size", 64, 65),
        "dram_buffer_of_nothing": column("dram_size", 64, 0),
        "dram_buffer_that_wraps": column("dram_address", 0, HUGE),
    },
)
each(
    "lives outside the program",
    {
        "buffer_dies_late": row(2, 320, 64, 2, 4),
        "buffer_dies_never": row(2, 320, 64, 2, 2**32 - 1),
        "buffer_dies_before_birth": row(2, 320, 64, 3, 2),
        "buffer_born_late": row(2, 320, 64, 4, 4),
    },
)
each(
    "overlap while both live",
    {
        "buffers_overlap": lambda p: p.sram.append((383, 1, 3, 3)),
        "buffers_nest": lambda p: p.sram.append((0, 1, 1, 1)),
        "dram_buffers_overlap": lambda p: p.dram.append((32, 8)),
    },
)


def test_names_of_buffers_are_said():
    p = lookup()
    column("sram_tensor", "first\n", "second", "third")(p)
    memory = p.messages()["memory"]
    memory.sram_size[0] = 65
    with pytest.raises(EnfVerifyError, match=re.escape(r"buffers 'first\n' and 'second' overlap")):
        p.load()


# -- engines and waits ----------------------------------------------------------------------------------------------------


def engine(number: int, code: int) -> Callable[[Program], None]:
    return lambda p: p.commands.__setitem__(number, changed(p.commands[number], engine=code))


each(
    "cannot run on engine",
    {
        "load_on_a_pe": engine(0, PE0),
        "load_on_store": engine(0, STORE),
        "store_on_load": engine(3, LOAD),
        "lookup_on_load": engine(2, LOAD),
        "no_such_engine": engine(2, 4),
        "last_engine_code": engine(2, 255),
    },
)


@breaks("cannot run on engine 3 of warboy")
def no_second_pe(p):
    p.target = "warboy"
    p.commands[2] = changed(p.commands[2], engine=PE1)
    waits(p, 3, 0, 0, 0, 1)


def test_a_second_pe_where_there_is_one():
    p = lookup()
    p.commands[2] = changed(p.commands[2], engine=PE1)
    waits(p, 3, 0, 0, 0, 1)
    p.load()


each(
    "not yet issued",
    {
        "waits_for_itself": lambda p: waits(p, 0, 1, 0, 0, 0),
        "waits_for_its_reader": lambda p: waits(p, 1, 0, 0, 1, 0),
        "waits_for_the_next": lambda p: waits(p, 2, 3, 0, 0, 0),
        "waits_for_ever": lambda p: waits(p, 3, 0, 0, 1, 2**32 - 1),
    },
)


@breaks("more than the 64 slices", lambda: typical("MAX_POOL2D"))
def too_many_slices(p):
    c = p.commands[-1]
    values = c.arguments | {"split_pixels": 5, "split_channels": 13}
    p.commands[-1] = changed(c, params=tuple(values.values()))


# -- operands -------------------------------------------------------------------------------------------------------------

each(
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
each(
    "is empty",
    {
        "no_elements": lambda p: operand(p, 2, 0, shape=(1, 1, 1, 0)),
        "no_rows": lambda p: operand(p, 2, 2, shape=(0, 1, 1, 64)),
        "no_elements_of_many": lambda p: operand(p, 2, 0, shape=(2**32 - 1, 0, 2**32 - 1, 1)),
        "no_constants": lambda p: operand(p, 1, 0, shape=(1, 1, 1, 0)),
    },
)
each(
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
each(
    "is outside working DRAM",
    {
        "dram_behind_the_end": lambda p: operand(p, 0, 0, address=128),
        "dram_over_the_end": lambda p: operand(p, 3, 1, address=65),
        "dram_address_wraps": lambda p: operand(p, 0, 0, address=HUGE),
        "dram_strides_leave": lambda p: operand(p, 3, 1, strides=(0, 0, 0, 3)),
    },
)
each(
    "is outside the constants",
    {
        "constants_behind_the_end": lambda p: operand(p, 1, 0, address=256),
        "constants_over_the_end": lambda p: operand(p, 1, 0, address=1),
        "constants_address_wraps": lambda p: operand(p, 1, 0, address=HUGE),
        "constants_strides_leave": lambda p: operand(p, 1, 0, strides=(0, 0, 0, 2)),
        "no_constants_at_all": lambda p: setattr(p, "constants", b""),
    },
)
each(
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
    p.add("COPY", PE0, source, target, waits=(1, 0, 0, 0))
    return p


each(
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
each(
    "written twice in the same place",
    {
        "broadcast_write": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 16, 0)),
        "interleaved_write": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 4, 4)),
        "rows_that_overlap": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 12, 4)),
        "elements_that_overlap": lambda p: operand(p, 1, 1, strides=(0, 0, 0, 0, 4, 2)),
    },
    wide,
)


@breaks("more elements than SRAM holds")
def everything_huge(p):
    operand(p, 2, 0, address=HUGE, shape=(2**32 - 1,) * 4, strides=(2**32 - 1,) * 4)


@breaks("more elements than SRAM holds", wide)
def stretched_by_strides_of_0(p):
    operand(p, 1, 0, shape=(1, 1, 1, 1 << 20, 8, 4), strides=(0, 0, 0, 0, 8, 2))


@breaks("the table has not 256 entries")
def what_does_not_fit_together(p):
    operand(p, 2, 1, shape=(128,))


@breaks("rounding is none of 0, 1", lambda: typical("QUANTIZE"))
def parameter_out_of_range(p):
    p.commands[-1] = changed(p.commands[-1], params=(0.5, 0, 2))


# -- writes before reads --------------------------------------------------------------------------------------------------


def without(number: int) -> Callable[[Program], None]:
    """Removes a command; what follows waits for one load less, and buffers live one command less."""

    def change(p: Program) -> None:
        del p.commands[number]
        p.commands[number:] = [
            changed(c, waits=tuple(min(w, 1) for w in c.waits)) for c in p.commands[number:]
        ]
        p.sram = [(a, n, max(f - (f > number), 0), last - (last >= number)) for a, n, f, last in p.sram]

    return change


each(
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


@breaks(r"command 3 \(STORE\): it reads .* which is not wholly written")
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
        p.add("COPY", PE0, source, target, waits=(1, 0, 0, 0))
    whole = (1, 1, 1, 1, 8, 8)
    p.add("COPY", PE0, sram(64, *whole), sram(128, *whole))
    p.add("COPY", PE0, sram(64, 1, 1, 1, 1, 3, 8, strides=(0, 0, 0, 0, 24, 1)), sram(192, 1, 1, 1, 1, 3, 8))
    return p


def one_row_less(p: Program) -> None:
    for place in (0, 1):
        operand(p, 2, place, shape=(1, 1, 1, 1, 7, 4))


def one_column_less(p: Program) -> None:
    for place in (0, 1):
        operand(p, 2, place, shape=(1, 1, 1, 1, 8, 3))


each(
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


@breaks("it writes where it reads", gathered)
def in_place_but_shifted(p):
    p.sram = [(0, 256, 0, 4)]
    operand(p, 3, 1, address=120)


# -- races ----------------------------------------------------------------------------------------------------------------

each(
    "races with command [12] of engine load in buffer ''",
    {
        "reads_before_the_loads": lambda p: waits(p, 2, 0, 0, 0, 0),
        "reads_before_the_second_load": lambda p: waits(p, 2, 1, 0, 0, 0),
    },
)
each("races with command 1 of engine pe0", {"stores_before_the_lookup": lambda p: waits(p, 3, 2, 0, 0, 0)})


def reused() -> Program:
    """The input's buffer is overwritten by a second load, once as the same buffer and once as another."""
    p = lookup()
    p.sram = [(0, 64, 0, 4), (64, 256, 1, 2), (320, 64, 2, 3), (64, 64, 5, 5)]
    p.add("LOAD", LOAD, dram(0, 1, 1, 1, 64), sram(0, 1, 1, 1, 64), waits=(0, 0, 1, 0))
    p.add("LOAD", LOAD, dram(64, 1, 1, 1, 64), sram(64, 1, 1, 1, 64), waits=(0, 1, 1, 0))
    return p


@breaks("races with command 1 of engine pe0", reused)
def overwrites_what_is_read(p):
    waits(p, 4, 0, 0, 0, 0)


@breaks("races with command 1 of engine store", reused)
def loads_before_the_store(p):
    waits(p, 5, 0, 0, 1, 0)


@breaks("races with command 1 of engine pe0", reused)
def overwrites_the_memory_of_a_dead_buffer(p):
    """The load before it no longer waits for the lookup, so this one does not either; it reads DRAM of no store."""
    del p.commands[4:]
    p.sram[0] = (0, 64, 0, 2)
    p.sram[3] = (64, 64, 4, 4)
    p.add("LOAD", LOAD, dram(0, 1, 1, 1, 64), sram(64, 1, 1, 1, 64))


def halves() -> Program:
    """Two PEs fill one buffer each half, and one of them reads all of it."""
    p = Program()
    p.sram = [(0, 64, 0, 2), (64, 64, 2, 2)]
    p.add("FILL", PE0, sram(0, 1, 1, 1, 32))
    p.add("FILL", PE1, sram(32, 1, 1, 1, 32))
    p.add("COPY", PE0, sram(0, 1, 1, 1, 1, 1, 64), sram(64, 1, 1, 1, 1, 1, 64), waits=(0, 0, 0, 1))
    return p


@breaks("races with command 1 of engine pe1", halves)
def reads_before_the_other_pe(p):
    waits(p, 2, 0, 0, 1, 0)


@breaks("races with command 1 of engine pe0", halves)
def both_pes_write(p):
    operand(p, 1, 0, address=31, shape=(1, 1, 1, 33))


def test_a_step_is_a_barrier():
    """What must wait within a step need not across steps."""
    p = lookup()
    p.steps = [ranged(0, 2), ranged(2, 1), ranged(3, 1)]
    for number in (2, 3):
        waits(p, number, 0, 0, 0, 0)
    p.load()
    p.steps = [ranged(0, 2), ranged(2, 2)]
    with pytest.raises(EnfVerifyError, match=r"command 3 \(STORE\): it races"):
        p.load()


# -- users and host clusters ------------------------------------------------------------------------------------------------


def facts(which: str, **values: object) -> Callable[[Program], None]:
    def change(p: Program) -> None:
        t = getattr(p, which)[0]
        for name, value in values.items():
            if name == "scale":
                t.quantization.scale = value
            elif name == "shape":
                del t.shape[:]
                t.shape.extend(value)
            else:
                setattr(t, name, value)

    return change


each(
    "unknown element type, scale or rank",
    {
        "input_of_no_type": facts("inputs", dtype=13),
        "input_of_huge_type": facts("inputs", dtype=2**32 - 1),
        "input_of_rank_17": facts("inputs", shape=[1] * 16 + [64]),
        "output_scale_nan": facts("outputs", scale=math.nan),
        "output_scale_infinite": facts("outputs", scale=math.inf),
        "output_scale_negative": facts("outputs", scale=-1.0),
    },
)
each(
    "axes that do not fit",
    {"axes_too_few": facts("inputs", axes="NHW"), "axes_unknown": facts("outputs", axes="NHWX")},
)
each(
    "is too large",
    {
        "input_huge": facts("inputs", shape=[HUGE]),
        "input_product_huge": facts("inputs", shape=[2**32, 2**32]),
        "input_empty_but_huge": facts("inputs", shape=[0, 2**63]),
        "output_huge": facts("outputs", shape=[HUGE, HUGE, HUGE]),
    },
)
each(
    "is outside working DRAM",
    {
        "input_behind_the_end": facts("inputs", address=128),
        "input_over_the_end": facts("inputs", address=65),
        "input_address_wraps": facts("inputs", address=HUGE),
        "input_among_the_constants": facts("inputs", space=Space.CONST),
        "input_in_sram": facts("inputs", space=Space.SRAM),
        "output_in_sram": facts("outputs", space=Space.SRAM),
        "output_nowhere": facts("outputs", space=9),
        "empty_output_outside": facts("outputs", shape=[0], address=129),
    },
)
each(
    "is outside the constants",
    {
        "constant_output_over_the_end": facts("outputs", space=Space.CONST, address=193),
        "constant_output_wraps": facts("outputs", space=Space.CONST, address=HUGE),
    },
)
each(
    "does not lie in one buffer of the memory plan",
    {
        "input_over_two_buffers": facts("inputs", address=32),
        "output_in_no_buffer": lambda p: (
            p.metadata.update(working_dram_bytes=192, dram_bytes=448) or facts("outputs", address=128)(p)
        ),
    },
)
each(
    "is not aligned",
    {"output_not_aligned": lambda p: facts("outputs", dtype=3, shape=[15], address=65)(p)},
)


def hosted() -> Program:
    """After the lookup a host cluster makes "z" of "y" and of a constant."""
    p = lookup()
    p.host_models = bytes(100)
    p.dram.append((128, 64))
    p.outputs = [tensor("z", 128, 16, dtype="float32")]
    call = enf_pb2.HostCall(format="tflite", offset=60, size=40)
    call.inputs.extend([tensor("y", 64, 64), tensor("c", 0, 64, dtype="int32", space=Space.CONST)])
    call.outputs.append(tensor("z", 128, 16, dtype="float32"))
    p.steps = [ranged(0, 4), enf_pb2.Step(host_call=call)]
    return p


def call(p: Program) -> enf_pb2.HostCall:
    return p.steps[1].host_call


each(
    "model is outside its section",
    {
        "model_behind_the_end": lambda p: setattr(call(p), "offset", 101),
        "model_over_the_end": lambda p: setattr(call(p), "size", 41),
        "model_offset_wraps": lambda p: setattr(call(p), "offset", HUGE),
        "model_size_wraps": lambda p: setattr(call(p), "size", HUGE),
    },
    hosted,
)
each("unknown format 'pickle'", {"unknown_format": lambda p: setattr(call(p), "format", "pickle")}, hosted)
each(
    "estimated time",
    {
        "host_time_nan": lambda p: setattr(call(p), "estimated_us", math.nan),
        "host_time_negative": lambda p: setattr(call(p), "estimated_us", -0.5),
    },
    hosted,
)
each(
    "host input 'y' is not wholly written",
    {
        "host_runs_too_early": lambda p: p.steps.reverse(),
        "host_input_too_long": lambda p: (
            p.dram.__setitem__(1, (64, 64))
            or without(3)(p)
            or setattr(p, "steps", [ranged(0, 3), p.steps[1]])
        ),
    },
    hosted,
)
each(
    "host input 'c' is outside the constants",
    {"host_constant_over_the_end": lambda p: setattr(call(p).inputs[1], "address", 4)},
    hosted,
)
each(
    "host output 'z' is outside working DRAM",
    {
        "host_writes_constants": lambda p: setattr(call(p).outputs[0], "space", Space.CONST),
        "host_writes_outside": lambda p: setattr(call(p).outputs[0], "address", 132),
        "host_writes_far_outside": lambda p: setattr(call(p).outputs[0], "address", HUGE - 3),
    },
    hosted,
)
each(
    "output 'z' is not wholly written",
    {
        "host_writes_nothing": lambda p: call(p).ClearField("outputs"),
        "host_writes_too_little": lambda p: call(p).outputs[0].shape.__setitem__(0, 15),
        "host_is_not_called": lambda p: p.steps.pop(),
    },
    hosted,
)


def test_constant_outputs_and_tensors_without_elements():
    p = lookup()
    p.outputs.append(tensor("c", 192, 64, space=Space.CONST))
    p.outputs.append(tensor("none", 128, 0, 7))
    p.outputs.append(tensor("scalar", 64))
    p.load()


def test_a_program_of_nothing():
    p = Program()
    p.load()
    p.steps = []
    p.load()


def test_strides_of_single_elements_do_not_matter():
    p = lookup()
    operand(p, 2, 0, strides=(2**32 - 1, 2**32 - 1, 7, 1))
    p.load()


def test_commands_are_named():
    p = lookup()
    p.commands[2] = command("TABLE_LOOKUP", PE0, *p.commands[2].operands)
    with pytest.raises(EnfVerifyError, match=r"^command 2 \(TABLE_LOOKUP\): it races"):
        p.load()
