"""The model of the MAC arrays: examples computed by hand, and what it must keep to whatever its numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa.enf import contraction
from furiosa.enf.contraction import Contraction
from furiosa.enf.target import TARGETS, load_target

TARGET = load_target(
    "warboy"
)  # 64 slices of 32 x 4 multipliers; 16 bytes fetched and 8 committed a cycle; a register of 48
ONE = TARGET._replace(slices_per_pe=1)

sizes = st.integers(1, 300)


@st.composite
def contractions(draw) -> Contraction:
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 5), (7, 7), (2, 1)]))
    groups = draw(st.sampled_from([1, 1, 2]))
    stride, dilation, inputs = draw(st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 4)))
    rows, columns, channels, depth = draw(st.tuples(sizes, sizes, sizes, sizes))
    return Contraction(rows, columns, channels * groups, *kernel, depth, stride, dilation, groups, inputs)


@pytest.mark.parametrize(
    ("work", "cycles"),
    [
        # 32 pixels x 4 channels of a 3x3 kernel: 34 bytes are 3 fetches, the third one with the first of 3 steps: 5
        # cycles for each of 3 rows of 10 input channels; then 128 bytes, 8 a cycle
        (Contraction(1, 32, 4, 3, 3, 10), 3 * 10 * (3 + 2) + 16),
        # 14 pixels need 16 bytes, one fetch; and so does one pixel
        (Contraction(1, 14, 4, 3, 3, 10), 3 * 10 * (1 + 2) + 7),
        (Contraction(1, 1, 4, 3, 3, 10), 3 * 10 * (1 + 2) + 1),
        # 33 pixels: a second piece of one pixel
        (Contraction(1, 33, 4, 3, 3, 10), 3 * 10 * (5 + 3) + 17),
        # two rows are twice that, 5 channels as much as 8
        (Contraction(2, 32, 5, 3, 3, 10), 2 * 2 * 3 * 10 * 5 + 64),
        # a 1x1 kernel: 32 bytes, two fetches, of which the second feeds the one step
        (Contraction(1, 32, 4, depth=10), 10 * 2 + 16),
        # 2 rows of 24 pixels are 48 pixels: 2 + 1 fetches
        (Contraction(2, 24, 4, depth=10), 10 * 3 + 24),
        # at stride 2 the register's 48 bytes hold (48 - 3) // 2 + 1 = 23 pixels: 47 bytes, 3 fetches
        (Contraction(1, 23, 4, 3, 3, 10, stride=2), 3 * 10 * (3 + 2) + 12),
        (Contraction(1, 24, 4, 3, 3, 10, stride=2), 3 * 10 * (5 + 3) + 12),
        # 3 columns 24 apart reach over 49 bytes: each is fetched for itself, 32 bytes of it
        (Contraction(1, 32, 4, 1, 3, 10, dilation=24), 3 * 10 * 2 + 16),
        # a depthwise 3x3 fetches 4 channels of 34 bytes: 9 fetches
        (contraction.depthwise(TARGET, 1, 32, 4, (3, 3), 1, 1), 3 * (9 + 2) + 16),
        # with a multiplier of 4 they share one
        (contraction.depthwise(TARGET, 1, 32, 4, (3, 3), 1, 1, 4), 3 * (3 + 2) + 16),
        # two groups of 5 channels are two blocks each
        (Contraction(1, 32, 10, 3, 3, 10, groups=2), 4 * 3 * 10 * 5 + 64),
    ],
)
def test_one_slice(work, cycles):
    assert contraction.cycles(ONE, work, (1, 1)) == cycles


def test_split_over_slices():
    """56 rows of 64 channels over 8 x 8 slices: 7 rows and 2 blocks of 4 channels each."""
    work = Contraction(56, 32, 64, 3, 3, 64)
    assert contraction.cycles(TARGET, work, (8, 8)) == 7 * 2 * 3 * 64 * 5 + 7 * 32 * 8 // 8
    # 57 rows take as long as 64
    more = work._replace(rows=57)
    assert contraction.cycles(TARGET, more, (8, 8)) == contraction.cycles(
        TARGET, work._replace(rows=64), (8, 8)
    )


def test_more_slices_than_rows_share_a_row():
    """One row of 320 pixels is 10 pieces of 32, at most one on each of 16 slices."""
    work = Contraction(1, 320, 4, 1, 3, 10)
    assert contraction.cycles(TARGET, work, (16, 4)) == 10 * 5 + 16


@given(
    contractions(),
    st.sampled_from([(64, 1), (8, 8), (1, 64)]),
    st.sampled_from(["rows", "columns", "depth", "kernel_h"]),
)
def test_more_work_is_never_cheaper(work, split, what):
    more = work._replace(**{what: getattr(work, what) + 1})
    assert contraction.cycles(TARGET, work, split) <= contraction.cycles(TARGET, more, split)
    wider = work._replace(channels=work.channels + work.groups)
    assert contraction.cycles(TARGET, work, split) <= contraction.cycles(TARGET, wider, split)


@given(contractions(), st.sampled_from(TARGETS), st.integers(1, 65535), st.integers(1, 65535))
def test_never_faster_than_the_arrays(work, name, pixels, channels):
    """However it is split; nothing holds a program to as many parts as there are slices."""
    target = load_target(name)
    macs = work.rows * work.columns * work.channels * work.kernel_h * work.kernel_w * work.depth
    for split in (contraction.best_split(target, work), (pixels, channels)):
        least = macs / (target.slices * target.mac_width * target.mac_height)
        assert contraction.cycles(target, work, split) >= least


@given(contractions(), st.sampled_from(TARGETS))
def test_the_best_split_is_the_best(work, name):
    target = load_target(name)
    best = contraction.best_split(target, work)
    assert best[0] * best[1] == target.slices
    costs = [contraction.cycles(target, work, split) for split in contraction.splits(target)]
    assert contraction.cycles(target, work, best) == min(costs) and len(costs) == target.slices.bit_length()


@given(contractions(), st.sampled_from([(64, 1), (8, 8), (1, 64)]))
def test_waste_says_what_costs_no_more(work, split):
    """But for committing what there would be more of."""
    target = TARGET._replace(commit_bytes_per_cycle_per_slice=1 << 60)
    cost = contraction.cycles(target, work, split)
    for sentence in contraction.waste(target, work, split):
        most = int(sentence.split()[-1])
        if "channel" in sentence:
            other = work._replace(channels=most if work.groups == 1 else work.channels)
        elif sentence.startswith("rows of"):
            other = work._replace(columns=most)
        elif "row" in sentence:
            other = work._replace(rows=most)
        else:
            other = work._replace(rows=1, columns=most)
        assert contraction.cycles(target, other, split) == cost


def test_waste_in_words():
    work = Contraction(98, 7, 17, 3, 3, 512)
    assert contraction.waste(TARGET, work, (64, 1)) == (
        "17 output channels cost as much as 20",
        "rows of 7 pixels cost as much as rows of 14",
        "98 rows cost as much as 128",
    )
    assert contraction.waste(TARGET, Contraction(1, 1, 64, depth=9), (1, 64)) == (
        "64 output channels cost as much as 256",
        "1 pixel cost as much as 16",
    )
    assert contraction.waste(TARGET, Contraction(64, 32, 4, depth=9), (64, 1)) == ()
    # 2 pixels of 64 are not worth a word
    assert contraction.waste(TARGET, Contraction(1, 62, 4, depth=9), (1, 64)) == (
        "4 output channels cost as much as 256",
    )
