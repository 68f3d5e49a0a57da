"""Target descriptions: the parameters of the machine, one JSON file a target under ``targets/``.

The vendor's come from its specification sheet and from the microarchitecture data that its MLPerf v1.1 submission published
(closed/FuriosaAI/code/common/npu_config).  Fitted ones are found by benchmarks/calibrate.py; docs/calibration.md has the fit and its
error on published times.
"""

from __future__ import annotations

import json
from functools import cache
from typing import NamedTuple

from furiosa.enf import resources

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
    calibration_error_percent: float
    left_out_error_percent: float

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


class Origin:
    """Where a parameter comes from."""

    DESIGN = "-"
    VENDOR = "vendor"
    FITTED = "fitted"
    GUESS = "guess"  # of this project; no published time depends on it
    RESULT = "result"  # of the fit


PARAMETERS = {
    "description": (Origin.DESIGN, "what the target is"),
    "pes": (Origin.DESIGN, "processing elements (PEs) of the target"),
    "pes_per_card": (Origin.VENDOR, "PEs of a card; a program for one of two runs on both"),
    "slices_per_pe": (Origin.VENDOR, "slices of a PE, each with its SRAM, MAC array and streams (`num_slices`)"),
    "sram_bytes_per_slice": (Origin.VENDOR, "bytes of SRAM of a slice"),
    "mac_width": (Origin.VENDOR, "pixels that an array computes side by side"),
    "mac_height": (Origin.VENDOR, "output channels that an array computes side by side"),
    "clock_hz": (Origin.VENDOR, "clock of the slices"),
    "dram_bytes": (Origin.VENDOR, "bytes of DRAM of a card"),
    "dram_bytes_per_s": (
        Origin.VENDOR,
        "LPDDR4X-4266, nominal; shared by LOAD and STORE, and by two programs on one PE each",
    ),
    "pcie_bytes_per_s": (Origin.VENDOR, "PCIe Gen4 x8, nominal; inputs and outputs, one after the other"),
    "shift_register_bytes": (
        Origin.VENDOR,
        "input pixels that a slice holds for the columns of a kernel (`shift_register_width`)",
    ),
    "fetch_bytes_per_cycle_per_slice": (
        Origin.VENDOR,
        "bytes that reach a slice's register in a cycle (`fetch_network_width`)",
    ),
    "commit_bytes_per_cycle_per_slice": (
        Origin.VENDOR,
        "bytes that a slice writes in a cycle (`sram_access_width`)",
    ),
    "table_lookups_per_cycle_per_slice": (Origin.VENDOR, "values that tables map in a cycle (`num_table_ports`)"),
    "warmup_base_cycles": (Origin.VENDOR, "filling the pipeline (`warmup_base`)"),
    "hop_cycles": (Origin.VENDOR, "from one slice to the next; a command reaches all slices of the target"),
    "ctrl_delay_cycles": (Origin.VENDOR, "delay of control (`ctrl_delay`)"),
    "command_overhead_cycles": (
        Origin.FITTED,
        "what a command of the PE costs before its pipeline starts: fetching and dispatching it, waiting for the last one",
    ),
    "dma_setup_cycles": (Origin.GUESS, "set-up of a transfer"),
    "run_overhead_us": (Origin.FITTED, "what a run costs besides transfers, NPU and host clusters"),
    "host_macs_per_s": (Origin.GUESS, "multiply-accumulates of the host, in clusters that stay there"),
    "host_bytes_per_s": (Origin.GUESS, "bytes that the host reads and writes, in the same"),
    "calibration_error_percent": (Origin.RESULT, "the largest error of the fit on the published times"),
    "left_out_error_percent": (Origin.RESULT, "the same on times of a network that is left out of the fit"),
}  # fmt: skip


@cache
def load_target(name: str) -> Target:
    """The description of a target.

    Raises:
        ValueError: no such target.
    """
    if name not in TARGETS:
        raise ValueError(f"unknown target NPU '{name}'; known: {', '.join(TARGETS)}")
    return Target(**json.loads(resources.read(f"targets/{name}.json")))
