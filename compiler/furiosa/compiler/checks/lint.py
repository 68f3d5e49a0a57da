"""Turns a compilation's report into findings, one for each rule that keeps an operator off the NPU; what the aspect npu_lint runs.

The findings are written twice: as SARIF 2.1.0 (OASIS), for code scanning services, and as JSON of our own, for scripts.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any
from urllib.parse import quote

from furiosa.compiler.checks.common import Parser, not_a_report, read_report
from furiosa.enf import command
from furiosa.enf.command import IO_ERROR, CommandError
from furiosa.enf.outputs import replacing

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
OPERATOR = ("name", "op_type", "macs", "host_us", "transfer_us")
REASON = ("rule", "message", "actual", "allowed", "hint")


def findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A dict for each rule that keeps an operator off the NPU, in the order of the graph."""
    return [
        {key: op[key] for key in OPERATOR} | {key: reason[key] for key in REASON}
        for op in report["operators"]
        for reason in op["reasons"]
    ]


def to_sarif(report: dict[str, Any], source: str, label: str) -> dict[str, Any]:
    """A SARIF log of one run.

    Args:
        report: see docs/report.md.
        source: the model file's path from the root of its repository.
        label: of the target that compiles it.
    """
    found = findings(report)
    rules = {f["rule"]: f for f in reversed(found)}  # the first of each
    order = {rule: i for i, rule in enumerate(sorted(rules))}
    location = {"uri": quote(source), "uriBaseId": "%SRCROOT%"}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "npu_lint",
                        "version": report["compiler_version"],
                        "rules": [_rule(rules[rule]) for rule in order],
                    }
                },
                # a service keeps runs apart by what is before the last slash
                "automationDetails": {"id": f"npu_lint/{label}/"},
                "artifacts": [{"location": location, "hashes": {"sha-256": report["source_sha256"]}}],
                "results": [_result(f, order[f["rule"]], location, label) for f in found],
                "columnKind": "utf16CodeUnits",
            }
        ],
    }


def _rule(finding: dict[str, Any]) -> dict[str, Any]:
    # the hint may be one for this operator, so it is with the result
    return {
        "id": finding["rule"],
        "shortDescription": {"text": finding["message"]},
        "defaultConfiguration": {"level": "warning"},
    }


def _result(finding: dict[str, Any], index: int, location: dict[str, str], label: str) -> dict[str, Any]:
    key = "\0".join((label, finding["name"], finding["op_type"], finding["rule"]))
    return {
        "ruleId": finding["rule"],
        "ruleIndex": index,
        # what does the model's arithmetic is worth a change of the model; the rest is worth knowing
        "level": "note" if finding["macs"] == 0 else "warning",
        "message": {"text": _sentence(finding)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": location | {"index": 0},
                    "region": {"startLine": 1},  # a model has no lines, but viewers show nothing without one
                },
                "logicalLocations": [
                    {
                        "name": finding["name"],
                        "fullyQualifiedName": f"{label}/{finding['name']}",
                        "kind": "element",
                    }
                ],
            }
        ],
        "partialFingerprints": {"operatorAndRule/v1": hashlib.sha256(key.encode()).hexdigest()},
        "properties": {
            k: finding[k] for k in ("op_type", "macs", "host_us", "transfer_us", "actual", "allowed", "hint")
        },
    }


def _sentence(finding: dict[str, Any]) -> str:
    text = f"{finding['op_type']} '{finding['name']}' runs on the host. {finding['message']}"
    text += f" Found: {finding['actual']}. Allowed: {finding['allowed']}."
    return f"{text} {finding['hint']}" if finding["hint"] else text


def to_json(report: dict[str, Any], source: str, label: str) -> dict[str, Any]:
    """The findings with what they are of."""
    kept = ("target_npu", "batch_size", "compatibility", "selection", "npu_coverage", "npu_coverage_of")
    counts = ("npu_operators", "host_operators")
    facts = {key: report[key] for key in (*kept, *counts)}
    return {"label": label, "source": source} | facts | {"findings": findings(report)}


def _write(path: str, content: dict[str, Any]) -> None:
    with replacing(path) as f:
        f.write(json.dumps(content, indent=2).encode("ascii") + b"\n")


def main(argv: list[str] | None = None) -> int:
    """Writes both files.

    Returns:
        0, whatever was found; 2, 4: the report cannot be read, or is none; 255: bad arguments.
    """
    return command.run(_run, "npu_lint", argv)


def _run(argv: list[str]) -> None:
    p = Parser("npu_lint", __doc__)
    p.add_argument("report", metavar="REPORT")
    for option in ("--source", "--label", "--sarif", "--json"):
        p.add_argument(option, required=True)
    options = p.parse_args(argv)
    report = read_report(options.report)
    try:
        made = [
            (options.sarif, to_sarif(report, options.source, options.label)),
            (options.json, to_json(report, options.source, options.label)),
        ]
    except (KeyError, TypeError):
        raise not_a_report(options.report) from None
    for path, content in made:
        try:
            _write(path, content)
        except OSError as e:
            raise CommandError(IO_ERROR, f"cannot write {path}: {e.strerror or e}") from None


if __name__ == "__main__":
    sys.exit(main())
