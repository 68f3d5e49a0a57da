"""The rules of what users and host clusters hand over and get: each is broken alone, and the verifier says so."""

from __future__ import annotations

import math

import pytest

from furiosa.enf import enf_pb2
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.machine import Engine, Space
from furiosa.enf.testing.cases import HUGE, Cases, Change, operand, without
from furiosa.enf.testing.programs import Program, command, lookup, ranged, tensor

LOAD, STORE, PE = range(Engine.COUNT)


CASES = Cases()


def facts(which: str, **values: object) -> Change:
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


CASES.each(
    "unknown element type, scale or rank",
    {
        "input_of_no_type": facts("inputs", dtype=15),
        "input_of_huge_type": facts("inputs", dtype=2**32 - 1),
        "input_of_rank_17": facts("inputs", shape=[1] * 16 + [64]),
        "output_scale_nan": facts("outputs", scale=math.nan),
        "output_scale_infinite": facts("outputs", scale=math.inf),
        "output_scale_negative": facts("outputs", scale=-1.0),
    },
)
CASES.each(
    "axes that do not fit",
    {"axes_too_few": facts("inputs", axes="NHW"), "axes_unknown": facts("outputs", axes="NHWX")},
)
CASES.each(
    "is too large",
    {
        "input_huge": facts("inputs", shape=[HUGE]),
        "input_product_huge": facts("inputs", shape=[2**32, 2**32]),
        "input_empty_but_huge": facts("inputs", shape=[0, 2**63]),
        "output_huge": facts("outputs", shape=[HUGE, HUGE, HUGE]),
    },
)
CASES.each(
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
CASES.each(
    "is outside the constants",
    {
        "constant_output_over_the_end": facts("outputs", space=Space.CONST, address=193),
        "constant_output_wraps": facts("outputs", space=Space.CONST, address=HUGE),
    },
)
CASES.each(
    "does not lie in one buffer of the memory plan",
    {
        "input_over_two_buffers": facts("inputs", address=32),
        "output_in_no_buffer": lambda p: (
            p.metadata.update(working_dram_bytes=192, dram_bytes=448) or facts("outputs", address=128)(p)
        ),
    },
)
CASES.each(
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


CASES.each(
    "model is outside its section",
    {
        "model_behind_the_end": lambda p: setattr(call(p), "offset", 101),
        "model_over_the_end": lambda p: setattr(call(p), "size", 41),
        "model_offset_wraps": lambda p: setattr(call(p), "offset", HUGE),
        "model_size_wraps": lambda p: setattr(call(p), "size", HUGE),
    },
    hosted,
)
CASES.each(
    "unknown format 'pickle'", {"unknown_format": lambda p: setattr(call(p), "format", "pickle")}, hosted
)
CASES.each(
    "estimated time",
    {
        "host_time_nan": lambda p: setattr(call(p), "estimated_us", math.nan),
        "host_time_huge": lambda p: setattr(call(p), "estimated_us", 1e30),
        "host_time_negative": lambda p: setattr(call(p), "estimated_us", -0.5),
    },
    hosted,
)
CASES.each(
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
CASES.each(
    "host input 'c' is outside the constants",
    {"host_constant_over_the_end": lambda p: setattr(call(p).inputs[1], "address", 4)},
    hosted,
)
CASES.each(
    "host output 'z' is outside working DRAM",
    {
        "host_writes_constants": lambda p: setattr(call(p).outputs[0], "space", Space.CONST),
        "host_writes_outside": lambda p: setattr(call(p).outputs[0], "address", 132),
        "host_writes_far_outside": lambda p: setattr(call(p).outputs[0], "address", HUGE - 3),
    },
    hosted,
)
CASES.each(
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
    p.commands[2] = command("TABLE_LOOKUP", PE, *p.commands[2].operands)
    with pytest.raises(EnfVerifyError, match=r"^command 2 \(TABLE_LOOKUP\): it races"):
        p.load()


test_rule = CASES.test()
