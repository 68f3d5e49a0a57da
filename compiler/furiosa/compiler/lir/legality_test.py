"""Each rule of the lir, broken."""

from __future__ import annotations

import pytest

from furiosa.compiler.dfg.testing import Changes, assert_illegal
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


changes = Changes()


@changes
def range_starts_late(c: Compilation) -> None:
    c.steps[0].first += 1


@changes
def range_too_short(c: Compilation) -> None:
    c.steps[0].count -= 1


@changes
def range_twice(c: Compilation) -> None:
    c.steps.append(NpuStep(0, c.steps[0].count))


@changes
def waits_for_a_later_command(c: Compilation) -> None:
    c.lir.commands[0].waits = (0, 0, 1, 0)


@changes
def waits_for_itself(c: Compilation) -> None:
    c.lir.commands[0].waits = (1, 0, 0, 0)


@changes
def operands_do_not_fit_together(c: Compilation) -> None:
    conv(c).operands[2].shape = (5,)


@changes
def outside_sram(c: Compilation) -> None:
    c.lir.sram[0].address = c.target.sram_bytes - 1


@changes
def before_sram(c: Compilation) -> None:
    c.lir.sram[0].address = -64


@changes
def life_backwards(c: Compilation) -> None:
    c.lir.sram[0].first = c.lir.sram[0].last + 1


@changes
def sram_shared(c: Compilation) -> None:
    first = c.lir.sram[0]
    second = next(x for x in c.lir.sram[1:] if x.first <= first.last)
    second.address = first.address + first.buffer.size - 1


@changes
def dram_shared(c: Compilation) -> None:
    a, b = c.lir.dram[:2]
    c.lir.addresses[b] = c.lir.addresses[a] + a.size - 1


@changes
def outside_dram(c: Compilation) -> None:
    c.lir.dram[-1].size += 1 << 20


@pytest.mark.parametrize("change", changes)
def test_illegal(compilation, change):
    assert_illegal("lir", compilation, change, run)


def test_buffers_may_share_bytes_one_after_the_other(compilation):
    """The small model's buffers do: the check above is not simply "never"."""
    lives = compilation.lir.sram
    assert any(a.address == b.address and a.last < b.first for a in lives for b in lives)
