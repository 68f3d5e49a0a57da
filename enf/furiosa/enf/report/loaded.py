"""The JSON report of a compilation, read again from a stranger's file and checked against the ENF that it should be of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from furiosa.enf.reader import Enf

MAX_BYTES = 1 << 26

_TEXT, _COUNT, _NUMBER = "a string", "an integer, not negative", "a number, not negative"
_BASIS = "macs or operators"
_SHARE = "a number, not negative, or null"
_REPORT = {
    "model": _TEXT,
    "source_format": _TEXT,
    "source_sha256": _TEXT,
    "compiler_version": _TEXT,
    "target_npu": _TEXT,
    "batch_size": _COUNT,
    "latency_us": _NUMBER,
    "latency_note": _TEXT,
    "npu_coverage": _SHARE,
    "npu_coverage_of": _BASIS,
    "total_macs": _COUNT,
    "npu_operators": _COUNT,
    "host_operators": _COUNT,
    "sram_peak_bytes": _COUNT,
    "sram_lower_bound_bytes": _COUNT,
    "dram_bytes": _COUNT,
    "enf_bytes": _COUNT,
    "host_cost_note": _TEXT,
}
_OPERATOR = {
    "name": _TEXT,
    "op_type": _TEXT,
    "placed_on": _TEXT,
    "host_us": _NUMBER,
    "transfer_us": _NUMBER,
}
_REASON = dict.fromkeys(("rule", "message", "actual", "allowed", "hint"), _TEXT)


class ReportError(Exception):
    """The file is no report of this ENF; one sentence."""


def parse(data: bytes, enf: Enf) -> dict[str, Any]:
    """The report.

    Raises:
        ReportError: it is no report, or that of another ENF.
    """
    if len(data) > MAX_BYTES:
        raise ReportError(f"it has {len(data)} bytes, a report has at most {MAX_BYTES}")
    try:
        report = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):  # ValueError: no JSON, no UTF-8, or a number too long
        raise ReportError("it is no JSON: name the file that --report-json wrote") from None
    _check("the report", report, _REPORT)
    for operator in _rows("operators", report.get("operators")):
        _check("an operator", operator, _OPERATOR)
        for reason in _rows("reasons", operator.get("reasons")):
            _check("a reason", reason, _REASON)
    metadata = enf.metadata
    of_enf = {
        "source_sha256": metadata.source_sha256.hex(),
        "target_npu": metadata.target_npu,
        "batch_size": metadata.batch_size,
        "compiler_version": metadata.compiler_version,
        "enf_bytes": enf.size,
    }
    for key, value in of_enf.items():
        if report[key] != value:
            raise ReportError(
                f"it is the report of another ENF: its {key} is {report[key]!r}, that of the ENF {value!r}"
            )
    return report


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and infinities are no JSON


def _rows(name: str, rows: object) -> list:
    if not isinstance(rows, list):
        raise ReportError(f"'{name}' is no list")
    return rows


def _check(what: str, content: object, fields: dict[str, str]) -> None:
    if not isinstance(content, dict):
        raise ReportError(f"{what} is no object")
    for key, kind in fields.items():
        value = content.get(key)
        good = {
            _TEXT: isinstance(value, str),
            _BASIS: value in ("macs", "operators"),
            _COUNT: type(value) is int and 0 <= value < 1 << 63,
            _NUMBER: _is_number(value),
            _SHARE: value is None or _is_number(value),
        }[kind]
        if not good:
            raise ReportError(f"'{key}' of {what} is not {kind}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e15
