"""What is said about a sweep."""

from __future__ import annotations

import pytest

from furiosa.compiler.errors import InvalidModel, OutOfSram
from furiosa.compiler.tune.point import failed
from furiosa.compiler.tune.testing import point
from furiosa.compiler.tune.words import explain, size


def test_best_and_what_nearly_is():
    lines = explain([point(1, 10.0), point(2, 96.0), point(4, 100.0, bound_by="PCIe"), point(8, 99.0)])
    assert lines == [
        "best: batch 4, 100.0 samples/s, bound by PCIe",
        "batch 2 has 96.0 % of that throughput with 50.0 % of the latency",
        "no cliff from batch 1 to 8",
    ]


MIB = 1 << 20


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            {},
            {"spilled_bytes": 2 * MIB},
            "activations spill from SRAM, 1.0 MiB of a sample are kept in DRAM, 0 B before",
        ),
        (
            {"spilled_bytes": MIB},
            {"spilled_bytes": 4 * MIB},
            "more activations spill from SRAM, 2.0 MiB of a sample are kept in DRAM, 1.0 MiB before",
        ),
        (
            {},
            {"weight_bytes": 3 * MIB},
            "weights are no longer resident, every run loads 3.0 MiB of them, 0 B before",
        ),
        (
            {"weight_bytes": MIB},
            {"weight_bytes": 3 * MIB},
            "fewer weights are resident, every run loads 3.0 MiB of them, 1.0 MiB before",
        ),
        (
            {},
            {"host_memory_bytes": 5 << 30},
            "out of DRAM, 5.0 GiB stay in host memory and cross PCIe in every run",
        ),
        ({}, {"traffic_bytes": 8 * MIB}, "a sample moves 4.0 MiB between DRAM and SRAM, 0 B before"),
        ({}, {"npu_us": 40.0}, "the NPU takes 20.0 us for a sample, 5.0 before"),
        ({}, {"bound_by": "PCIe"}, "now bound by PCIe, before by the NPU"),
    ],
)
def test_why_throughput_falls(before, after, words):
    lines = explain([point(1, 100.0, **before), point(2, 80.0, **after), point(3, 79.0)])
    assert lines[1:] == [f"cliff from batch 1 to 2 by 20.0 %: {words}"]


def test_a_slope_without_a_cliff():
    lines = explain([point(1, 100.0), point(2, 97.0), point(3, 94.0, npu_us=30.0)])
    assert lines[1:] == [
        "no cliff, but a slope from batch 1 to 3 by 6.0 %: the NPU takes 10.0 us for a sample, 5.0 before"
    ]


def test_further_falls_are_short():
    lines = explain([point(1, 100.0), point(2, 80.0), point(4, 78.0), point(8, 39.0)])
    assert lines[1:] == [
        "cliff from batch 1 to 2 by 20.0 %: now bound by the NPU, before by the NPU",
        "falls again from batch 4 to 8 by 50.0 %",
    ]


def test_where_dram_ends():
    lines = explain([point(1, 9.0), point(2, 9.0, fits_dram=False), point(3, 9.0, fits_dram=False)])
    assert lines[-1] == "from batch 2 on the card's DRAM does not hold the programs that it runs side by side"


def test_what_does_not_compile():
    refused = [failed("warboy", n, InvalidModel(f"batch size {n} is impossible")) for n in (2, 3, 4)]
    lines = explain([point(1, 9.0), *refused, failed("warboy", 6, OutOfSram("no tile fits")), point(8, 9.0)])
    assert lines[-2:] == [
        "batch 2 to 4: invalid-model: batch size 2 is impossible",
        "batch 6: out-of-sram: no tile fits",
    ]
    assert explain(refused) == ["batch 2 to 4: invalid-model: batch size 2 is impossible"]
    assert explain([point(1, 9.0)]) == ["best: batch 1, 9.0 samples/s, bound by the NPU"]


def test_sizes():
    assert [size(n) for n in (0, 1023, 1024, 1536 << 10, 5 << 40)] == [
        "0 B",
        "1,023 B",
        "1.0 KiB",
        "1.5 MiB",
        "5,120.0 GiB",
    ]
