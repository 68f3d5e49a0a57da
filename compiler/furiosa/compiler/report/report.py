"""The report of a compilation as JSON; docs/report.md describes its fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from furiosa.compiler.dfg.macs import macs
from furiosa.compiler.ldfg.coverage import coverage, unknown_macs
from furiosa.enf import enf_pb2, selection
from furiosa.enf.performance import latency_note
from furiosa.enf.report.program import Program

if TYPE_CHECKING:
    from furiosa.compiler.pipeline import Compilation
    from furiosa.compiler.tune.search import Choice
    from furiosa.enf.performance import Layer, Performance

# fields of furiosa.enf.performance that the report has under the same names
_TRAFFIC = ("dram_bytes_read", "dram_bytes_written")
_PARTS = ("throughput_per_s", "npu_us", "transfer_us", "host_us", "overhead_us", "setup_us", *_TRAFFIC)
_LAYER_TIMES = ("compute_bound_us", "memory_bound_us", "simulated_us", "busy_us", "utilization")
_LAYER_FIGURES = ("macs", *_LAYER_TIMES, *_TRAFFIC)

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
    reached, performance = coverage(compilation.ldfg), compilation.performance
    return {
        "model": model,
        "source_format": metadata.source_format,
        "source_sha256": metadata.source_sha256.hex(),
        "compiler_version": metadata.compiler_version,
        "target_npu": metadata.target_npu,
        "batch_size": metadata.batch_size,
        "auto_batch_size": _tried(choice) if choice else None,
        "compatibility": metadata.compatibility,
        "optimize": metadata.optimize,
        "selection": selection.as_json(metadata.selection) if metadata.HasField("selection") else None,
        "latency_us": metadata.latency_us,
        "latency_note": latency_note(compilation.target),
        **_figures(performance),
        "npu_coverage": reached.share,
        "npu_coverage_of": reached.basis,
        "npu_macs": metadata.npu_macs,
        "total_macs": metadata.total_macs,
        "unknown_macs": [
            {"name": op.name, "op_type": op.written_type, "reason": reason}
            for op, reason in unknown_macs(compilation.dfg)
        ],
        "npu_operators": metadata.npu_operators,
        "host_operators": metadata.host_operators,
        "sram_peak_bytes": metadata.sram_peak_bytes,
        "sram_lower_bound_bytes": compilation.lir.sram_lower_bound,
        "dram_bytes": metadata.dram_bytes,
        "working_dram_bytes": metadata.working_dram_bytes,
        "host_memory_bytes": compilation.target.host_memory_bytes(metadata.dram_bytes),
        "enf_bytes": enf_bytes,
        "host_cost_note": HOST_COST_NOTE,
        "operators": [_operator(compilation, op) for op in compilation.ldfg.graph.operators],
        "layers": [_layer(x) for x in performance.layers],
    }


def _tried(choice: Choice) -> dict[str, Any]:
    figures = ("batch_size", "throughput_per_s", "latency_us", "sram_peak_bytes", "dram_bytes")
    tried = [{name: getattr(p, name) for name in figures} for p in choice.tried]
    return {"tried": tried, "ended": choice.ended}


def program(compilation: Compilation) -> Program:
    """The compiled program as a reader of its ENF would see it."""
    sections = compilation.enf
    return Program(
        metadata=enf_pb2.Metadata.FromString(sections["metadata"]),
        interface=enf_pb2.Interface.FromString(sections["interface"]),
        plan=enf_pb2.Plan.FromString(sections["plan"]),
        memory=enf_pb2.MemoryPlan.FromString(sections["memory"]),
        debug=enf_pb2.DebugMap.FromString(sections["debug"]),
        commands=compilation.lir.commands,
        target=compilation.target,
    )


def _figures(performance: Performance) -> dict[str, Any]:
    return {name: _rounded(getattr(performance, name)) for name in _PARTS}


def _layer(layer: Layer) -> dict[str, Any]:
    values = {name: _rounded(getattr(layer, name)) for name in _LAYER_FIGURES}
    return {"name": layer.name, "op_type": layer.op_type, **values, "waste": layer.waste}


def _rounded(value: float) -> float:
    """Four digits of a microsecond are less than a cycle."""
    return round(value, 4) if isinstance(value, float) else value


def _operator(compilation: Compilation, op: Any) -> dict[str, Any]:
    verdict = compilation.ldfg.verdicts[op]
    return {
        "name": op.name,
        "op_type": op.written_type,
        "placed_on": verdict.placed_on,
        "macs": macs(op, compilation.dfg.format),
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
