"""The whole suite stays as the checked-in list says: nothing more fails, and what passes now leaves the list."""

from __future__ import annotations

import warnings

import onnx
import onnxruntime
import pytest

from tests.conformance.cases import KINDS, all_cases
from tests.conformance.outcomes import AS_ONNXRUNTIME, BY_DESIGN, Outcome, listed, ours

UPDATE = "run: python tests/conformance/run.py --write docs/conformance.md"
TESTED = {"onnx": "1.23", "onnxruntime": "1.32"}  # other versions have other cases and kernels
PRESENT = {m.__name__: ".".join(m.__version__.split(".")[:2]) for m in (onnx, onnxruntime)}


@pytest.mark.skipif(
    PRESENT != TESTED,
    reason=f"the list of what does not pass is of {TESTED}, other versions have other cases, and here is {PRESENT}",
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the suite computes infinities
def test_kind(kind: str) -> None:
    known = listed()
    failing, passing = [], []
    for case in all_cases():
        if case.kind != kind:
            continue
        result = ours(case, *case.load())
        name = f"{case.kind} {case.name}"
        if result.outcome is Outcome.PASSED:
            passing += [name] if name in known else []
        elif name not in known:
            failing.append(f"{name}: {result.outcome.value}: {result.detail}")
    assert not failing, "cases fail that did not:\n" + "\n".join(failing)
    assert not passing, f"listed cases pass now; {UPDATE}:\n" + "\n".join(passing)


def test_the_list() -> None:
    """Sorted, of cases that there are, for reasons that there are; none of them open."""
    known = listed()
    reasons = {*BY_DESIGN, *(f"onnxruntime {o.value}" for o in AS_ONNXRUNTIME)}
    assert list(known) == sorted(known) and set(known.values()) <= reasons
    if PRESENT == TESTED:
        with warnings.catch_warnings(action="ignore"):
            assert set(known) <= {f"{case.kind} {case.name}" for case in all_cases()}
