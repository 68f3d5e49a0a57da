"""The timing of commands and programs: what it must keep to, whatever its numbers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa.enf import contraction, timing
from furiosa.enf.contraction import Contraction
from furiosa.enf.isa import Command
from furiosa.enf.machine import Engine
from furiosa.enf.target import load_target
from furiosa.enf.testing.programs import COMPUTING, command, const, dram, lookup, sram, typical

TARGET = load_target("warboy")
LOAD, STORE, PE = range(Engine.COUNT)

sizes = st.integers(1, 4096)


def conv(pixels: int, out: int, taps: int, depth: int) -> Command:
    """A convolution of [1, 1, pixels + taps - 1, depth] by a kernel of one row."""
    work = Contraction(1, pixels, out, 1, taps, depth)
    split = contraction.best_split(TARGET, work)
    operands = (
        sram(0, 1, 1, pixels + taps - 1, depth),
        sram(0, out, 1, taps, depth),
        sram(0, out, dtype="int32"),
        sram(0, out, dtype="float32"),
        sram(0, 1, 1, pixels, out),
    )
    return command("CONV2D", PE, *operands, split_pixels=split[0], split_channels=split[1])


OVERHEAD = TARGET.command_overhead_cycles + 20 + 2 + 2 * 64


@given(sizes, sizes, st.integers(1, 49), sizes, st.integers(0, 3))
def test_more_work_is_never_cheaper(pixels, channels, taps, depth, which):
    work = [pixels, channels, taps, depth]
    more = list(work)
    more[which] += 1
    assert timing.cycles(conv(*work), TARGET) <= timing.cycles(conv(*more), TARGET)


def test_a_convolution_is_its_contraction():
    """2 images of 56 rows over 16 parts, 10 blocks of channels over 4: 7 rows and 3 blocks."""
    operands = (
        sram(0, 2, 112, 112, 64),
        sram(0, 40, 3, 3, 32),
        sram(0, 40, dtype="int32"),
        sram(0, 40, dtype="float32"),
        sram(0, 2, 56, 56, 40),
    )
    c = command("CONV2D", PE, *operands, split_pixels=16, split_channels=4, groups=2, stride_w=2)
    work = Contraction(112, 56, 40, 3, 3, 32, stride=2, groups=2)
    assert timing.cycles(c, TARGET) == OVERHEAD + contraction.cycles(TARGET, work, (16, 4))
    # 23 + 23 + 10 pixels of 47, 47 and 21 bytes
    assert contraction.cycles(TARGET, work, (16, 4)) == 7 * (5 + 5 + 4) * 3 * 32 * 3 + 7 * 56 * 12 // 8


def test_a_depthwise_convolution_is_its_contraction():
    operands = (
        sram(0, 1, 32, 34, 8),
        sram(0, 3, 3, 16),
        sram(0, 16, dtype="int32"),
        sram(0, 16, dtype="float32"),
        sram(0, 1, 32, 32, 16),
    )
    c = command("DEPTHWISE_CONV2D", PE, *operands, split_pixels=16, split_channels=4)
    # 2 rows, one block of 4 channels that read two inputs of 34 bytes: 5 fetches
    assert timing.cycles(c, TARGET) == OVERHEAD + 2 * 3 * (5 + 2) + 2 * 32 * 4 // 8


@given(sizes, sizes, sizes)
def test_a_matrix_product_costs_what_its_convolution_does(rows, columns, depth):
    """Its bias is one number for all."""
    product = conv(rows, columns, 1, depth)
    split = product.params[-2:]
    operands = (
        sram(0, 1, 1, rows, depth),
        sram(0, 1, 1, depth, columns),
        sram(0, 1, 1, rows, columns, dtype="int32", strides=(0, 0, 0, 0)),
        sram(0, columns, dtype="float32"),
        sram(0, 1, 1, rows, columns),
    )
    other = command("MATMUL", PE, *operands, split_pixels=split[0], split_channels=split[1])
    assert timing.cycles(other, TARGET) == timing.cycles(product, TARGET)


@pytest.mark.parametrize(
    ("name", "operands", "work"),
    [
        # 64 slices fetch 1024 bytes a cycle and commit 512
        ("ADD", [sram(0, 1, 1, 1, 1 << 20)] * 3, 2048),
        ("ADD", [sram(0, 1, 1, 8, 8), sram(0, 1, 1, 8, 8, strides=(0, 0, 0, 1)), sram(0, 1, 1, 8, 8)], 1),
        ("COPY", [sram(0, 1, 1, 1, 1, 1, 1 << 20)] * 2, 2048),
        ("FILL", [sram(0, 1, 1, 1, 513)], 2),
        ("REDUCE", [sram(0, 1, 1, 1, 1 << 20), sram(0, 1, 1, 1, 1)], 1024),
        # two lookups a cycle
        ("TABLE_LOOKUP", [sram(0, 1, 1, 1, 1 << 20), sram(0, 1, 256), sram(0, 1, 1, 1, 1 << 20)], 8192),
        ("L2_NORMALIZE", [sram(0, 1, 1, 1 << 20)] * 2, 2048),
        # a window of 3x3 over 4 rows of 32 pixels of 256 channels, a block on each slice: 4 x 34 bytes are 9 fetches
        ("MAX_POOL2D", [sram(0, 1, 6, 34, 256), sram(0, 1, 4, 32, 256)], 4 * 3 * (9 + 2) + 64),
    ],
)
def test_other_work(name, operands, work):
    windows = {"kernel_h": 3, "kernel_w": 3, "split_pixels": 1, "split_channels": 64}
    c = command(name, PE, *operands, **(windows if "POOL" in name else {}))
    assert timing.work_cycles(c, TARGET) == work
    assert timing.cycles(c, TARGET) == OVERHEAD + work


def test_resizing_fetches_every_tap():
    tables = [sram(0, 2, 64, dtype=t) for t in ("int32", "float32", "int32", "float32")]
    c = command("RESIZE", PE, sram(0, 1, 32, 32, 256), *tables, sram(0, 1, 64, 64, 256))
    fetched = 32 * 32 * 256 + 4 * 2 * 64 * 4 + 3 * 64 * 64 * 256
    assert timing.work_cycles(c, TARGET) == -(-fetched // 1024)


@pytest.mark.parametrize("name", COMPUTING)
def test_every_command_takes_time(name):
    assert all(timing.cycles(c, TARGET) > 0 for c in typical(name).commands)


@given(st.integers(1, 1 << 20), st.integers(1, 1 << 20))
def test_transfers_take_set_up_and_bandwidth(a, b):
    def cost(n: int) -> int:
        return timing.cycles(command("LOAD", LOAD, const(0, 1, 1, 1, n), sram(0, 1, 1, 1, n)), TARGET)

    assert cost(a) >= TARGET.dma_setup_cycles + a * TARGET.clock_hz / TARGET.dram_bytes_per_s
    assert cost(a + b) <= cost(a) + cost(b), "one transfer is no slower than two"
    assert cost(a) <= cost(a + b)


def _program(draw) -> tuple[list[Command], list[tuple[int, int]]]:
    commands, issued = [], [0] * Engine.COUNT
    for _ in range(draw(st.integers(1, 12))):
        waits = tuple(draw(st.integers(0, n)) for n in issued)
        engine = draw(st.sampled_from((LOAD, STORE, PE)))
        size = draw(st.sampled_from((1, 1000, 100_000)))
        tile = sram(0, 1, 1, 1, size)
        if engine == LOAD:
            commands.append(command("LOAD", LOAD, const(0, 1, 1, 1, size), tile, waits=waits))
        elif engine == STORE:
            commands.append(command("STORE", STORE, tile, tile, waits=waits))
        else:
            commands.append(command("FILL", engine, tile, waits=waits))
        issued[engine] += 1
    cut = draw(st.integers(0, len(commands)))
    return commands, [(0, cut), (cut, len(commands) - cut)]


@given(st.data())
def test_a_schedule_keeps_order_waits_and_steps(data):
    commands, steps = _program(data.draw)
    spans = timing.schedule(commands, steps, TARGET)
    assert len(spans) == len(commands)
    ends: list[list[int]] = [[] for _ in range(Engine.COUNT)]
    transfers = []
    for i, (c, span) in enumerate(zip(commands, spans)):
        reasons = [0]
        if ends[c.engine]:
            reasons.append(ends[c.engine][-1])
        reasons += [ends[e][n - 1] for e, n in enumerate(c.waits) if n]
        if i >= steps[1][0]:
            reasons += [s.end for s in spans[: steps[1][0]]]
        assert span.start == max(reasons), "as early as it may, and no earlier"
        length = timing.cycles(c, TARGET)
        if c.engine == PE:
            assert span.end == span.start + length
        else:
            assert span.end >= span.start + length
            transfers.append((span.end - timing.dma_cycles(c, TARGET), span.end))
        ends[c.engine].append(span.end)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(sorted(transfers))), "one at a time has the DRAM"


def test_setup_ends_before_the_run_begins():
    """Its commands count among those that others wait for."""
    tile = sram(0, 1, 1, 1, 1000)
    load = command("LOAD", LOAD, const(0, 1, 1, 1, 1000), tile)
    commands = [load, load, command("FILL", PE, tile, waits=(2, 0, 0))]
    spans = timing.schedule(commands, [(2, 1)], TARGET)
    assert spans[0].end == spans[1].start < spans[1].end == spans[2].start == 0
    with_setup = timing.schedule(commands, [(0, 3)], TARGET)
    assert with_setup[2].end - with_setup[0].start == spans[2].end - spans[0].start


def test_load_and_store_share_the_memory():
    tile, other = sram(0, 1, 1, 1, 1 << 20), sram(1 << 20, 1, 1, 1, 1 << 20)
    load = command("LOAD", LOAD, const(0, 1, 1, 1, 1 << 20), tile)
    store = command("STORE", STORE, other, dram(0, 1, 1, 1, 1 << 20))
    spans = timing.schedule([load, store], [(0, 2)], TARGET)
    assert [s.start for s in spans] == [0, 0]
    assert spans[1].end == TARGET.dma_setup_cycles + 2 * timing.dma_cycles(load, TARGET)


def test_engines_run_side_by_side():
    p = lookup()
    together = [command("FILL", PE, sram(0, 1, 1, 1, 1000)), p.commands[0]]
    spans = timing.schedule(together, [(0, 2)], TARGET)
    assert spans[0].start == spans[1].start == 0
    spans = timing.schedule(p.commands, [(0, 4)], TARGET)
    assert [a.end == b.start for a, b in itertools.pairwise(spans)] == [True] * 3


def test_no_commands():
    assert timing.schedule([], [], TARGET) == timing.schedule([], [(0, 0)], TARGET) == []
