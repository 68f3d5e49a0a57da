"""The report of a compilation as JSON; docs/report.md describes its fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from furiosa.compiler.dfg.macs import macs
from furiosa.enf import enf_pb2

if TYPE_CHECKING:
    from furiosa.compiler.pipeline import Compilation

LATENCY_NOTE = "an estimate from public figures of the machine, not calibrated against hardware"


def report(compilation: Compilation, model: str, enf_bytes: int) -> dict[str, Any]:
    """The report of a whole compilation, without path, time or anything else that is not of the model.

    Args:
        compilation: has run until "enf".
        model: the source's file name, without its folder.
        enf_bytes: the size of the ENF.
    """
    metadata = enf_pb2.Metadata.FromString(compilation.enf["metadata"])
    coverage, basis = npu_coverage(metadata)
    return {
        "model": model,
        "source_format": metadata.source_format,
        "source_sha256": metadata.source_sha256.hex(),
        "compiler_version": metadata.compiler_version,
        "target_npu": metadata.target_npu,
        "batch_size": metadata.batch_size,
        "latency_us": metadata.latency_us,
        "latency_note": LATENCY_NOTE,
        "npu_coverage": coverage,
        "npu_coverage_of": basis,
        "npu_macs": metadata.npu_macs,
        "total_macs": metadata.total_macs,
        "npu_operators": metadata.npu_operators,
        "host_operators": metadata.host_operators,
        "sram_peak_bytes": metadata.sram_peak_bytes,
        "dram_bytes": metadata.dram_bytes,
        "working_dram_bytes": metadata.working_dram_bytes,
        "enf_bytes": enf_bytes,
        "operators": [_operator(compilation, op) for op in compilation.dfg.operators],
    }


def npu_coverage(metadata: enf_pb2.Metadata) -> tuple[float, str]:
    """The share of the work that the NPU does, and what it is a share of.

    "macs" where the model has multiply-accumulates, else "operators"; 0 for a model without operators.
    """
    if metadata.total_macs:
        return round(metadata.npu_macs / metadata.total_macs, 6), "macs"
    operators = metadata.npu_operators + metadata.host_operators
    return round(metadata.npu_operators / operators, 6) if operators else 0.0, "operators"


def _operator(compilation: Compilation, op: Any) -> dict[str, Any]:
    verdict = compilation.ldfg.verdicts[op]
    return {
        "name": op.name,
        "op_type": op.op_type,
        "placed_on": verdict.placed_on,
        "macs": macs(op),
        "reasons": [
            {"rule": r.rule, "message": r.message, "actual": r.actual, "allowed": r.allowed, "hint": r.hint}
            for r in verdict.reasons
        ],
    }


def to_json(content: dict[str, Any]) -> str:
    """ASCII text, keys in the report's own order."""
    return json.dumps(content, indent=2) + "\n"
