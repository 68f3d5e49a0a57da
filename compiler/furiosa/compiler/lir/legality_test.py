"""Each rule of the lir, broken."""

from __future__ import annotations

import pytest

from furiosa.compiler.dfg.legality import Illegal
from furiosa.compiler.lir.legality import check
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.program import NpuStep
from furiosa.enf.isa import Command


@pytest.fixture
def compilation(quantized_model: bytes) -> Compilation:
    return Compilation(quantized_model, Options()).run("lir")


def run(c: Compilation) -> None:
    check(c.lir, c.steps, c.target)


def conv(c: Compilation) -> Command:
    return next(x for x in c.lir.commands if x.instruction.name == "CONV2D")


def test_legal(compilation):
    run(compilation)


def range_starts_late(c: Compilation) -> None:
    c.steps[0].first += 1


def range_too_short(c: Compilation) -> None:
    c.steps[0].count -= 1


def range_twice(c: Compilation) -> None:
    c.steps.append(NpuStep(0, c.steps[0].count))


def waits_for_a_later_command(c: Compilation) -> None:
    c.lir.commands[0].waits = (0, 0, 1, 0)


def waits_for_itself(c: Compilation) -> None:
    c.lir.commands[0].waits = (1, 0, 0, 0)


def operands_do_not_fit_together(c: Compilation) -> None:
    conv(c).operands[2].shape = (5,)


def outside_sram(c: Compilation) -> None:
    c.lir.sram[0].address = c.target.sram_bytes - 1


def before_sram(c: Compilation) -> None:
    c.lir.sram[0].address = -64


def life_backwards(c: Compilation) -> None:
    c.lir.sram[0].first = c.lir.sram[0].last + 1


def sram_shared(c: Compilation) -> None:
    first = c.lir.sram[0]
    second = next(x for x in c.lir.sram[1:] if x.first <= first.last)
    second.address = first.address + first.buffer.size - 1


def dram_shared(c: Compilation) -> None:
    a, b = c.lir.dram[:2]
    c.lir.addresses[b] = c.lir.addresses[a] + a.size - 1


def outside_dram(c: Compilation) -> None:
    c.lir.dram[-1].size += 1 << 20


CHANGES = [
    range_starts_late,
    range_too_short,
    range_twice,
    waits_for_a_later_command,
    waits_for_itself,
    operands_do_not_fit_together,
    outside_sram,
    before_sram,
    life_backwards,
    sram_shared,
    dram_shared,
    outside_dram,
]


@pytest.mark.parametrize("change", CHANGES)
def test_illegal(compilation, change):
    change(compilation)
    with pytest.raises(Illegal, match="illegal lir"):
        run(compilation)


def test_buffers_may_share_bytes_one_after_the_other(compilation):
    """The small model's buffers do: the check above is not simply "never"."""
    lives = compilation.lir.sram
    assert any(a.address == b.address and a.last < b.first for a in lives for b in lives)
