"""Target descriptions: the parameters of the machine, one JSON file a target under ``targets/``.

Most are the vendor's: `num_slices`, SRAM, MAC array, shift register, `fetch_network_width` 16, `sram_access_width` 8 (what a slice commits),
`num_table_ports` 2, `warmup_base` 20, `hop_cycles` 2 for each slice and `ctrl_delay` 2 are in the microarchitecture data of its MLPerf v1.1 submission
(closed/FuriosaAI/code/common/npu_config); clock, DRAM and PCIe are in its specification sheet.

``command_overhead_cycles``, ``run_overhead_us`` and ``pcie_bytes_per_s`` (at most the nominal 15.75 GB/s) are fitted to published
times by benchmarks/calibrate.py, see docs/calibration.md.  ``dma_setup_cycles`` and the ``host_*`` rates are this project's own guesses: no
published time depends on them.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import NamedTuple

TARGETS = ("warboy", "warboy-2pe")
DEFAULT_TARGET = "warboy-2pe"


class Target(NamedTuple):
    """One target NPU; sizes in bytes, rates per second, ``*_cycles`` in clock cycles."""

    name: str
    description: str
    pes: int
    pes_per_card: int
    slices_per_pe: int
    sram_bytes_per_slice: int
    mac_width: int
    mac_height: int
    clock_hz: int
    dram_bytes: int
    dram_bytes_per_s: int
    pcie_bytes_per_s: int
    shift_register_bytes: int
    fetch_bytes_per_cycle_per_slice: int
    commit_bytes_per_cycle_per_slice: int
    table_lookups_per_cycle_per_slice: int
    warmup_base_cycles: int
    hop_cycles: int
    ctrl_delay_cycles: int
    command_overhead_cycles: int
    dma_setup_cycles: int
    run_overhead_us: float
    host_macs_per_s: int
    host_bytes_per_s: int

    @property
    def slices(self) -> int:
        return self.pes * self.slices_per_pe

    @property
    def warmup_cycles(self) -> int:
        """Clock cycles until the pipeline of the last slice is filled."""
        return self.warmup_base_cycles + self.ctrl_delay_cycles + self.hop_cycles * self.slices

    @property
    def sram_bytes(self) -> int:
        return self.slices * self.sram_bytes_per_slice

    @property
    def memory_bytes(self) -> int:
        """The most that a program may need: the DRAM and three times as much of the host's memory (this project's bound)."""
        return 4 * self.dram_bytes

    def host_memory_bytes(self, dram_bytes: int) -> int:
        """What of a program's ``dram_bytes`` does not fit the DRAM, stays in host memory and crosses PCIe in every run."""
        return max(0, dram_bytes - self.dram_bytes)


@cache
def load_target(name: str) -> Target:
    """The description of a target.

    Raises:
        ValueError: no such target.
    """
    if name not in TARGETS:
        raise ValueError(f"unknown target NPU '{name}'; known: {', '.join(TARGETS)}")
    path = os.path.join(os.path.dirname(__file__), "targets", f"{name}.json")
    with open(path, encoding="ascii") as f:
        return Target(**json.load(f))
