"""The report of a compilation as JSON; docs/report.md describes its fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from furiosa.compiler.dfg.macs import macs
from furiosa.compiler.ldfg.coverage import coverage
from furiosa.enf import enf_pb2

if TYPE_CHECKING:
    from furiosa.compiler.pipeline import Compilation
    from furiosa.compiler.tune.search import Choice

LATENCY_NOTE = "an estimate from public figures of the machine, not calibrated against hardware"
HOST_COST_NOTE = (
    "host_us and transfer_us are estimates of what an operator costs on the host: its work at assumed rates of a host, "
    "and its transfers from and to the NPU over PCIe; not calibrated against hardware"
)


def report(
    compilation: Compilation, model: str, enf_bytes: int, choice: Choice | None = None
) -> dict[str, Any]:
    """The report of a whole compilation, without path, time or anything else that is not of the model.

    Args:
        compilation: has run until "enf".
        model: the source's file name, without its folder.
        enf_bytes: the size of the ENF.
        choice: how the batch size was chosen; None where the user did.
    """
    metadata = enf_pb2.Metadata.FromString(compilation.enf["metadata"])
    reached = coverage(compilation.ldfg)
    return {
        "model": model,
        "source_format": metadata.source_format,
        "source_sha256": metadata.source_sha256.hex(),
        "compiler_version": metadata.compiler_version,
        "target_npu": metadata.target_npu,
        "batch_size": metadata.batch_size,
        "auto_batch_size": _tried(choice) if choice else None,
        "compatibility": metadata.compatibility,
        "latency_us": metadata.latency_us,
        "latency_note": LATENCY_NOTE,
        "npu_coverage": reached.share,
        "npu_coverage_of": reached.basis,
        "npu_macs": metadata.npu_macs,
        "total_macs": metadata.total_macs,
        "npu_operators": metadata.npu_operators,
        "host_operators": metadata.host_operators,
        "sram_peak_bytes": metadata.sram_peak_bytes,
        "sram_lower_bound_bytes": compilation.lir.sram_lower_bound,
        "dram_bytes": metadata.dram_bytes,
        "working_dram_bytes": metadata.working_dram_bytes,
        "host_memory_bytes": compilation.target.host_memory_bytes(metadata.dram_bytes),
        "enf_bytes": enf_bytes,
        "host_cost_note": HOST_COST_NOTE,
        "operators": [_operator(compilation, op) for op in compilation.dfg.operators],
    }


def _tried(choice: Choice) -> dict[str, Any]:
    figures = ("batch_size", "throughput_per_s", "latency_us", "sram_peak_bytes", "dram_bytes")
    tried = [{name: getattr(p, name) for name in figures} for p in choice.tried]
    return {"tried": tried, "ended": choice.ended}


def _operator(compilation: Compilation, op: Any) -> dict[str, Any]:
    verdict = compilation.ldfg.verdicts[op]
    return {
        "name": op.name,
        "op_type": op.op_type,
        "placed_on": verdict.placed_on,
        "macs": macs(op),
        "host_us": verdict.host_us,
        "transfer_us": verdict.transfer_us,
        "reasons": [
            {"rule": r.rule, "message": r.message, "actual": r.actual, "allowed": r.allowed, "hint": r.hint}
            for r in verdict.reasons
        ],
    }


def to_json(content: dict[str, Any]) -> str:
    """ASCII text, keys in the report's own order."""
    return json.dumps(content, indent=2) + "\n"
