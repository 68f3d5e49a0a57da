"""Each rule of the gir, broken."""

from __future__ import annotations

import pytest

from furiosa.compiler.dfg.testing import Changes, assert_illegal
from furiosa.compiler.gir.legality import check
from furiosa.compiler.gir.tile import Work
from furiosa.compiler.lir.segment import Segment
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf.isa import Engine, Space
from furiosa.enf.target import load_target

WARBOY = load_target("warboy")


@pytest.fixture
def segment(quantized_model: bytes) -> Segment:
    (only,) = Compilation(quantized_model, Options("warboy")).run("gir").gir.values()
    return only


def conv(s: Segment) -> Work:
    return next(w for w in s.works if w.instruction == "CONV2D")


def run(s: Segment) -> None:
    check(s, WARBOY)


def test_legal(segment):
    run(segment)


changes = Changes()


@changes
def unknown_instruction(s: Segment) -> None:
    conv(s).instruction = "CONV5D"


@changes
def engine_of_another_kind(s: Segment) -> None:
    conv(s).engine = Engine.LOAD


@changes
def operand_too_few(s: Segment) -> None:
    conv(s).operands = conv(s).operands[1:]


@changes
def parameter_too_few(s: Segment) -> None:
    conv(s).params.popitem()


@changes
def rank(s: Segment) -> None:
    conv(s).operands[0].shape = (1, *conv(s).operands[0].shape)


@changes
def element_type(s: Segment) -> None:
    conv(s).operands[0].dtype = "float32"


@changes
def memory(s: Segment) -> None:
    conv(s).operands[0].buffer.space = Space.DRAM


@changes
def before_the_buffer(s: Segment) -> None:
    conv(s).operands[0].offset = -1


@changes
def behind_the_buffer(s: Segment) -> None:
    conv(s).operands[0].offset += 1


@changes
def smaller_buffer(s: Segment) -> None:
    conv(s).operands[-1].buffer.size -= 1


@changes
def empty_operand(s: Segment) -> None:
    conv(s).operands[0].shape = (1, 0, 8, 3)


@changes
def negative_stride(s: Segment) -> None:
    conv(s).operands[0].strides = (0, -24, 3, 1)


@changes
def life_too_short(s: Segment) -> None:
    s.lifetimes[0].last -= 1


@changes
def life_too_early(s: Segment) -> None:
    s.lifetimes[-1].first -= 1


@changes
def life_forgotten(s: Segment) -> None:
    del s.lifetimes[0]


@pytest.mark.parametrize("change", changes)
def test_illegal(segment, change):
    assert_illegal("gir", segment, change, run)
