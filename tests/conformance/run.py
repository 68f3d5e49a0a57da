"""Runs the whole suite here and in onnxruntime, and writes docs/conformance.md and the list of what is not passed.

    PYTHONPATH=.:enf:compiler:runtime python tests/conformance/run.py --write docs/conformance.md

Without --write it prints the page and exits with 1 where a case is open: passed by onnxruntime and not here.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime

from tests.conformance import outcomes
from tests.conformance.cases import KINDS, Case, all_cases
from tests.conformance.outcomes import AS_ONNXRUNTIME, BY_DESIGN, OPEN, Outcome, Result


class Row(NamedTuple):
    """One case; ``why`` is empty where it is passed here, ``identical`` is whether all outputs are onnxruntime's bit for bit."""

    case: Case
    here: Result
    there: Result
    why: str
    identical: bool

    @property
    def key(self) -> str:
        return f"{self.case.kind} {self.case.name}"


def run_all() -> list[Row]:
    """Every case, here and in onnxruntime."""
    rows = []
    for case in all_cases():
        data, data_sets = case.load()
        here, there = outcomes.ours(case, data, data_sets), outcomes.peer(case, data, data_sets)
        passed = here.outcome is Outcome.PASSED
        why = "" if passed else outcomes.reason(data, here, there)
        pairs = list(zip(here.outputs, there.outputs, strict=False))
        identical = passed and len(there.outputs) == len(pairs) and all(_identical(a, b) for a, b in pairs)
        rows.append(Row(case, _without_outputs(here), _without_outputs(there), why, identical))
    return rows


def _identical(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _without_outputs(result: Result) -> Result:
    return result._replace(outputs=())


def markdown(rows: list[Row]) -> str:
    """The page."""
    out = [
        "# ONNX conformance",
        "",
        f"The backend test suite of the onnx package ({onnx.__version__}: all node, simple, PyTorch and light model cases) through compile -> ENF ->",
        f"`session.run` for `{outcomes.TARGET}`, compared with the suite's expected outputs at its own tolerances; beside it onnxruntime",
        f"{onnxruntime.__version__} run directly. Written by `tests/conformance/run.py`; do not edit.",
        "",
        "| cases | all | passed | refused by design | as onnxruntime | open | onnxruntime passes |",
        "|---|---|---|---|---|---|---|",
    ]
    out += [_counts(kind, [r for r in rows if r.case.kind == kind]) for kind in KINDS]
    out += [
        _counts("**all**", rows),
        "",
        "*Refused by design*: the interface of a compiled model is dense tensors of fixed size, of the element types that NumPy has. *As",
        "onnxruntime*: not passed by onnxruntime either, which runs what the NPU does not take. *Open*: onnxruntime passes with static",
        "shapes and this does not; there must be none.",
        "",
        f"The outputs of {sum(r.identical for r in rows)} of the {sum(not r.why for r in rows)} cases passed are onnxruntime's bit for bit.",
        f"Cases passed with work for the NPU: {sum(r.here.on_npu for r in rows)}; the suite's models are float, or have scales that are inputs, so that nearly all",
        "show the way through the host. What the NPU computes is tested by `tests/properties`, operator by operator.",
        "",
        "## What is not passed, and why",
        "",
        "Case by case: [`tests/conformance/not_passed.txt`](../tests/conformance/not_passed.txt), which a test keeps from growing.",
        "",
        "| reason | cases | onnxruntime passes | for example |",
        "|---|---|---|---|",
    ]
    reasons = BY_DESIGN | {f"onnxruntime {k.value}": v for k, v in AS_ONNXRUNTIME.items()}
    for why, sentence in (reasons | {OPEN: "**open**"}).items():
        found = [r for r in rows if r.why == why]
        if found:
            names = ", ".join(f"`{r.case.name}`" for r in found[:: max(1, len(found) // 3)][:3])
            out.append(f"| {sentence} | {len(found)} | {sum(_passes_there(r) for r in found)} | {names} |")
    return "\n".join(out) + "\n"


def _passes_there(row: Row) -> bool:
    return row.there.outcome is Outcome.PASSED


def _counts(name: str, rows: list[Row]) -> str:
    count = Counter("passed" if not r.why else "design" if r.why in BY_DESIGN else r.why for r in rows)
    peers = sum(_passes_there(r) for r in rows)
    as_peer = len(rows) - count["passed"] - count["design"] - count[OPEN]
    figures = (len(rows), count["passed"], count["design"], as_peer, count[OPEN], peers)
    return f"| {name} | {' | '.join(map(str, figures))} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="write the page, and the list beside this script"
    )
    parser.add_argument(
        "--details", action="store_true", help="print the sentence of each case that is not passed"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # of the suite, which computes infinities
    rows = run_all()
    if arguments.write:
        arguments.write.write_text(markdown(rows), encoding="utf-8")
        lines = sorted(f"{r.key}\t{r.why}\n" for r in rows if r.why)
        outcomes.NOT_PASSED.write_text("".join(lines), encoding="utf-8")
    else:
        print(markdown(rows))
    for r in rows:
        if r.why == OPEN or (r.why and arguments.details):
            print(
                f"{r.key}: {r.why}: {r.here.detail}\n    onnxruntime: {r.there.outcome.value} {r.there.detail}"
            )
    return int(any(r.why == OPEN for r in rows))


if __name__ == "__main__":
    sys.exit(main())
