"""The rules of the program as a whole and of its plans: each is broken alone, and the verifier says so."""

from __future__ import annotations

import math
import re

import pytest

from furiosa.enf import enf_pb2
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.machine import Engine
from furiosa.enf.testing.cases import HUGE, Cases, Change, row
from furiosa.enf.testing.programs import Program, dram, lookup, ranged, resident, sram

LOAD, STORE, PE = range(Engine.COUNT)


CASES = Cases()

MEMORY_BYTES = 4 << 34  # 16 GiB of DRAM, 48 GiB of the host
CASES.each(
    "needs more memory than warboy-2pe has",
    {
        "too_much_dram": lambda p: p.metadata.update(
            working_dram_bytes=MEMORY_BYTES - 255, dram_bytes=MEMORY_BYTES + 1
        ),
        "huge_dram": lambda p: p.metadata.update(dram_bytes=HUGE),
        "too_much_sram": lambda p: p.metadata.update(sram_peak_bytes=(32 << 20) + 1),
    },
)
CASES.each(
    "is not the sum of constants and working memory",
    {
        "dram_sum": lambda p: p.metadata.update(dram_bytes=383),
        "huge_working_dram": lambda p: p.metadata.update(working_dram_bytes=HUGE),
    },
)
CASES.each(
    "batch size, source format or source digest",
    {
        "batch_0": lambda p: p.metadata.update(batch_size=0),
        "unknown_source": lambda p: p.metadata.update(source_format="caffe"),
        "short_digest": lambda p: p.metadata.update(source_sha256=b"abc"),
    },
)
CASES.each(
    "latency or number of multiply-accumulates",
    {
        "latency_nan": lambda p: p.metadata.update(latency_us=math.nan),
        "latency_infinite": lambda p: p.metadata.update(latency_us=math.inf),
        "latency_huge": lambda p: p.metadata.update(latency_us=1e30),
        "latency_negative": lambda p: p.metadata.update(latency_us=-1.0),
        "more_macs_than_all": lambda p: p.metadata.update(npu_macs=5),
    },
)
CASES.each(
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


def steps(*ranges: tuple[int, int]) -> Change:
    return lambda p: setattr(p, "steps", [ranged(first, count) for first, count in ranges])


CASES.each(
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
CASES.each("the plan runs 2 of 4 commands", {"plan_too_short": steps((0, 2))})
CASES.each("the plan runs 0 of 4 commands", {"plan_of_nothing": steps()})


@CASES.breaks("step 1 of the plan is empty")
def empty_step(p):
    p.steps = [ranged(0, 4), enf_pb2.Step()]


def setup(count: int) -> Change:
    return lambda p: setattr(p, "setup", count)


CASES.each(
    "setup are not the program's first",
    {"setup_too_long": setup(5), "setup_huge": setup(2**32 - 1)},
    resident,
)
CASES.each("of setup does not load constants", {"setup_loads_an_input": setup(2)}, resident)
CASES.each("a buffer of setup does not live to the end", {"setup_dies": row(0, 64, 256, 0, 2)}, resident)


@CASES.breaks("the commands of setup are not the program's first", resident)
def late_setup(p):
    messages = p.messages()
    messages["plan"].setup.first = 1
    p.messages = lambda: messages


@CASES.breaks("it writes to buffer '', which setup has filled for every run", resident)
def overwritten(p):
    p.add("LOAD", LOAD, dram(0, 1, 1, 1, 64), sram(64, 1, 1, 1, 64), waits=(0, 0, 1))
    row(0, 64, 256, 0, 4)(p)


def test_a_setup_is_verified():
    assert resident().load().plan.setup.count == 1


def column(name: str, *values: object) -> Change:
    """Sets a column of the memory plan."""

    def change(p: Program) -> None:
        messages = p.messages()
        del getattr(messages["memory"], name)[:]
        getattr(messages["memory"], name).extend(values)
        p.messages = lambda: messages

    return change


CASES.each(
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


CASES.each(
    "is not within the 33554432 bytes of SRAM",
    {
        "buffer_outside": column("sram_address", 0, 64, 32 << 20),
        "buffer_hangs_over": column("sram_size", 64, 256, 32 << 20),
        "buffer_of_nothing": column("sram_size", 64, 256, 0),
        "buffer_at_the_end_of_all": column("sram_address", 0, 64, HUGE),
        "buffer_that_wraps": column("sram_size", 64, 256, HUGE),
    },
)
CASES.each(
    "is not within the 128 bytes of working DRAM",
    {
        "dram_buffer_outside": column("dram_address", 0, 129),
        "dram_buffer_hangs_over": column("dram_size", 64, 65),
        "dram_buffer_of_nothing": column("dram_size", 64, 0),
        "dram_buffer_that_wraps": column("dram_address", 0, HUGE),
    },
)
CASES.each(
    "lives outside the program",
    {
        "buffer_dies_late": row(2, 320, 64, 2, 4),
        "buffer_dies_never": row(2, 320, 64, 2, 2**32 - 1),
        "buffer_dies_before_birth": row(2, 320, 64, 3, 2),
        "buffer_born_late": row(2, 320, 64, 4, 4),
    },
)
CASES.each(
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


test_rule = CASES.test()
