"""Target descriptions: the public parameters of the machine, one JSON file a target under ``targets/``.

Sources: the vendor's public microarchitecture data (slices, SRAM, MAC array, clock) and specification sheet (DRAM, PCIe).
``dma_setup_cycles`` and the ``host_*`` rates are this project's own first guesses, not calibrated.
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
    fetch_bytes_per_cycle_per_slice: int
    commit_bytes_per_cycle_per_slice: int
    warmup_cycles: int
    dma_setup_cycles: int
    run_overhead_us: float
    host_macs_per_s: int
    host_bytes_per_s: int

    @property
    def slices(self) -> int:
        return self.pes * self.slices_per_pe

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
