"""A program whose run has everything in it, with names from a stranger, and a report of it."""

from __future__ import annotations

from typing import Any

from furiosa.enf import reader
from furiosa.enf.enf_pb2 import DebugMap, HostCall, Step
from furiosa.enf.machine import Engine
from furiosa.enf.report.program import Program as Looked
from furiosa.enf.testing.programs import Program, const, dram, ranged, sram, tensor

SIZE = 1 << 16
HOSTILE = (
    "</script><script>document.title='broken'</script>",
    "\"'><img src=x onerror=\"document.title='broken'\">",
    "<!--<script>&amp;\\u003c\u2028\u202e\n\x1b[31m'\"",
)


def host_and_npu() -> Program:
    """x goes to the host, what that makes to the NPU: a table is loaded, the tensor, looked up, stored as y."""
    p = Program()
    p.constants = bytes(256)
    p.inputs, p.outputs = [tensor(HOSTILE[0], 2 * SIZE, SIZE)], [tensor("y", SIZE, SIZE)]
    p.dram = [(0, SIZE), (SIZE, SIZE), (2 * SIZE, SIZE)]
    p.sram = [(0, 256, 0, 2), (SIZE, SIZE, 1, 2), (2 * SIZE, SIZE, 2, 3)]
    p.add("LOAD", Engine.LOAD, const(0, 1, 1, 1, 256), sram(0, 1, 1, 1, 256))
    p.add("LOAD", Engine.LOAD, dram(0, 1, 1, 1, SIZE), sram(SIZE, 1, 1, 1, SIZE))
    x, table, y = sram(SIZE, 1, 1, 1, SIZE), sram(0, 1, 256, dtype="uint8"), sram(2 * SIZE, 1, 1, 1, SIZE)
    p.add("TABLE_LOOKUP", Engine.PE, x, table, y, waits=(2, 0, 0))
    p.add("STORE", Engine.STORE, y, dram(SIZE, 1, 1, 1, SIZE), waits=(0, 0, 1))
    p.debug = DebugMap(command_operator=[1, 1, 1, 2])
    for name in HOSTILE:
        p.debug.operators.add(name=name, op_type=name, placed_on="npu", macs=1000)
    made = tensor("made", 0, SIZE)
    call = HostCall(format="onnx", size=1, inputs=[p.inputs[0]], outputs=[made], estimated_us=7.5)
    p.host_models = b"x"
    p.steps = [Step(host_call=call), ranged(0, 4)]
    return p


def named(enf: reader.Enf) -> Looked:
    """The program as reports look at it, its buffers under a stranger's names."""
    enf.memory.sram_tensor.extend(HOSTILE[i % len(HOSTILE)] for i in range(len(enf.memory.sram_size)))
    return Looked(*(getattr(enf, name) for name in Looked._fields))


def report(enf: reader.Enf) -> dict[str, Any]:
    """What of the compiler's JSON report the pages read."""
    reason = dict.fromkeys(("rule", "message", "actual", "allowed", "hint"), HOSTILE[2])
    operator = {"name": HOSTILE[0], "op_type": HOSTILE[1], "placed_on": "host", "reasons": [reason]}
    m = enf.metadata
    return {
        "model": HOSTILE[0],
        "source_format": m.source_format,
        "source_sha256": m.source_sha256.hex(),
        "compiler_version": m.compiler_version,
        "target_npu": m.target_npu,
        "batch_size": m.batch_size,
        "latency_us": 41.0,
        "latency_note": "an estimate",
        "npu_coverage": 0.75,
        "npu_coverage_of": "macs",
        "total_macs": m.total_macs,
        "npu_operators": 3,
        "host_operators": 1,
        "sram_peak_bytes": m.sram_peak_bytes,
        "sram_lower_bound_bytes": m.sram_peak_bytes,
        "dram_bytes": m.dram_bytes,
        "enf_bytes": enf.size,
        "host_cost_note": "estimates",
        "operators": [operator | {"host_us": 7.5, "transfer_us": 1.0}],
    }
