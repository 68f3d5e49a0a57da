"""The first cost model: what it must keep to, whatever its numbers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa.enf import timing
from furiosa.enf.isa import Command
from furiosa.enf.machine import Engine
from furiosa.enf.target import load_target
from furiosa.enf.testing.programs import COMPUTING, command, const, dram, lookup, sram, typical

TARGET = load_target("warboy")
LOAD, STORE, PE = range(Engine.COUNT)

sizes = st.integers(1, 4096)
splits = st.sampled_from([(64, 1), (32, 2), (8, 8), (1, 64)])


def conv(pixels: int, out: int, taps: int, depth: int, split: tuple[int, int] | None = None) -> Command:
    """A convolution of [1, 1, pixels + taps - 1, depth] by a kernel of one row."""
    split = split or timing.best_split(TARGET, pixels, out, taps, depth)
    operands = (
        sram(0, 1, 1, pixels + taps - 1, depth),
        sram(0, out, 1, taps, depth),
        sram(0, out, dtype="int32"),
        sram(0, out, dtype="float32"),
        sram(0, 1, 1, pixels, out),
    )
    return command("CONV2D", PE, *operands, split_pixels=split[0], split_channels=split[1])


@given(sizes, sizes, st.integers(1, 49), sizes, splits, st.integers(0, 3))
def test_more_work_is_never_cheaper(pixels, channels, taps, depth, split, which):
    work = [pixels, channels, taps, depth]
    more = list(work)
    more[which] += 1
    assert timing.conv_cycles(TARGET, *work, split) <= timing.conv_cycles(TARGET, *more, split)
    assert timing.cycles(conv(*work, split), TARGET) <= timing.cycles(conv(*more, split), TARGET)
    assert timing.cycles(conv(*work), TARGET) <= timing.cycles(conv(*more), TARGET)
    if which < 3:
        light, heavy = work[:3], more[:3]
        assert timing.depthwise_cycles(TARGET, *light, split) <= timing.depthwise_cycles(
            TARGET, *heavy, split
        )


@given(sizes, st.integers(0, 500), st.integers(1, 49), sizes, splits)
def test_channels_cost_in_steps_of_the_array_height(pixels, rows, taps, depth, split):
    """17 output channels take as long as 20: the array computes four at a time."""
    costs = {
        timing.conv_cycles(TARGET, pixels, 4 * rows + extra, taps, depth, split) for extra in (1, 2, 3, 4)
    }
    assert len(costs) == 1


@given(sizes, sizes, st.integers(1, 49), st.integers(0, 100), splits)
def test_depth_costs_in_steps_of_the_array_width(pixels, channels, taps, steps, split):
    costs = {
        timing.conv_cycles(TARGET, pixels, channels, taps, 32 * steps + extra, split) for extra in (1, 17, 32)
    }
    assert len(costs) == 1


def test_17_channels_cost_as_much_as_20():
    costs = [timing.cycles(conv(3136, channels, 9, 64, (64, 1)), TARGET) for channels in (16, 17, 20, 21)]
    assert costs[0] < costs[1] == costs[2] < costs[3]


@given(sizes, sizes, sizes, st.sampled_from([(1, 1), (4, 16), (64, 1)]))
def test_a_matrix_product_costs_what_its_convolution_does(rows, columns, depth, split):
    """Its bias is one number for all."""
    operands = (
        sram(0, 1, 1, rows, depth),
        sram(0, 1, 1, depth, columns),
        sram(0, 1, 1, rows, columns, dtype="int32", strides=(0, 0, 0, 0)),
        sram(0, columns, dtype="float32"),
        sram(0, 1, 1, rows, columns),
    )
    product = command("MATMUL", PE, *operands, split_pixels=split[0], split_channels=split[1])
    cost = timing.cycles(product, TARGET)
    assert cost >= timing.conv_cycles(TARGET, rows, columns, 1, depth, split)
    assert cost <= timing.cycles(conv(rows, columns, 1, depth, split), TARGET)


@given(sizes, sizes, st.integers(1, 49), st.one_of(st.none(), sizes))
def test_the_best_split_is_the_best(pixels, channels, taps, depth):
    def cost(split: tuple[int, int]) -> int:
        if depth is None:
            return timing.depthwise_cycles(TARGET, pixels, channels, taps, split)
        return timing.conv_cycles(TARGET, pixels, channels, taps, depth, split)

    best = timing.best_split(TARGET, pixels, channels, taps, depth)
    assert best[0] * best[1] == TARGET.slices_per_pe
    assert all(cost(best) <= cost((64 >> i, 1 << i)) for i in range(7))


@given(sizes, sizes, st.integers(1, 25), sizes)
def test_never_faster_than_the_array_and_the_memory_allow(pixels, channels, taps, depth):
    """Bound <= simulated: multiply-accumulates over the peak, and bytes over the streams."""
    c = conv(pixels, channels, taps, depth)
    peak = TARGET.slices_per_pe * TARGET.mac_width * TARGET.mac_height
    out = c.operands[-1].nbytes
    assert timing.cycles(c, TARGET) >= pixels * channels * taps * depth / peak
    assert timing.cycles(c, TARGET) >= out / (TARGET.slices_per_pe * TARGET.commit_bytes_per_cycle_per_slice)


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
