"""What the verifier lets through, the simulator can run: no exception, whatever is in the file."""

from __future__ import annotations

import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf import reader
from furiosa.enf.errors import EnfError
from furiosa.enf.machine import Engine, Rounding
from furiosa.enf.testing.programs import (
    COMPUTING,
    Program,
    around,
    command,
    lookup,
    seal,
    sram,
    table,
    typical,
)
from furiosa.runtime.simulator.machine import Simulator


def simulate(data: bytes) -> bool:
    """Runs a program's commands where it is valid; returns whether it is."""
    try:
        enf = reader.load(data)
    except EnfError:
        return False
    simulator = Simulator(enf)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # scales and exponentials that are no numbers are data
        for step in enf.plan.steps:
            simulator.run(step.commands.first, step.commands.count)
    return True


def _with_noise(p: Program, draw: random.Random) -> bytes:
    p.constants = draw.randbytes(len(p.constants))
    return p.to_bytes()


@pytest.mark.parametrize("name", COMPUTING)
def test_typical_programs_on_any_data(name):
    for seed in range(20):
        assert simulate(_with_noise(typical(name), random.Random(seed)))


def test_the_lookup():
    assert simulate(lookup().to_bytes())


@pytest.mark.parametrize("name", COMPUTING)
@pytest.mark.parametrize("seed", range(4))
def test_damaged_programs(name, seed):
    """Some bytes of the last command or of its buffers changed, checksums made right: refused, or run to the end."""
    draw = random.Random(f"{name} {seed}")
    p = typical(name)
    whole = _with_noise(p, draw)
    rows = {r[0].rstrip(b"\0"): r for r in table(whole)}
    size = p.commands[-1].instruction.struct.size
    code_end = rows[b"code"][3] + rows[b"code"][4]
    places = [*range(code_end - size, code_end)]
    ran = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            at = draw.choice(places)
            damaged[at] = draw.choice((0, 1, 2, 3, 5, 0x7F, 0x80, 0xFF, damaged[at] ^ 1, draw.randrange(256)))
        ran += simulate(seal(damaged))
    assert ran > 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_windows_of_any_kind(data):
    """Kernels, strides, dilations and paddings in all relations that the table allows, larger than the input too."""

    def number(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    n, h, w, c = number(1, 2), number(1, 7), number(1, 7), number(1, 4)
    kh, kw, oh, ow = number(1, 9), number(1, 9), number(1, 6), number(1, 6)
    params = {
        "stride_h": number(1, 5),
        "stride_w": number(1, 5),
        "pad_top": number(0, 9),
        "pad_left": number(0, 9),
    }
    kind = data.draw(st.sampled_from(("CONV2D", "DEPTHWISE_CONV2D", "MAX_POOL2D", "AVERAGE_POOL2D")))
    x, at = sram(0, n, h, w, c), -(-n * h * w * c // 64) * 64
    operands, channels = [x], c
    if kind in ("CONV2D", "DEPTHWISE_CONV2D"):
        params |= {"dilation_h": number(1, 4), "dilation_w": number(1, 4)}
        if kind == "CONV2D":
            groups = data.draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]))
            params["groups"], channels = groups, groups * number(1, 3)
            weight = (channels, kh, kw, c // groups)
        else:
            channels = c * number(1, 3)
            weight = (kh, kw, channels)
        operands.append(sram(4096, *weight))
        operands += [sram(a, channels, dtype=t) for a, t in ((2048, "int32"), (3072, "float32"))]
    else:
        params |= {"kernel_h": kh, "kernel_w": kw}
    if kind == "AVERAGE_POOL2D":
        rounding = data.draw(st.sampled_from((Rounding.ONNXRUNTIME, Rounding.TFLITE, Rounding.TFLITE_UINT8)))
        params |= {"rounding": rounding, "count_padding": number(0, 1)}
    last = command(kind, Engine.PE, *operands, sram(at, n, oh, ow, channels), **params)
    fits = last.instruction.check(*last.operands, **last.arguments) is None
    assert simulate(around(last).to_bytes()) == fits
