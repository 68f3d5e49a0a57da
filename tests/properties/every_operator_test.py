"""Every operator that a lowering table names is compared with its reference runtime: a new key needs a case in operator_cases.py, and
passes only with the runtime's numbers.
"""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.ldfg.onnx.lower import LOWERINGS as ONNX
from furiosa.compiler.ldfg.tflite.lower import LOWERINGS as TFLITE
from tests.properties.harness import check
from tests.properties.operator_cases import onnx_cases, operators_of, tflite_cases

ONNX_CASES, TFLITE_CASES = onnx_cases(), tflite_cases()
# What onnxruntime computes in float32; docs/numerics.md says how many elements differ.
INEXACT = {"Conv + Relu", "ConvTranspose"}


def test_every_operator_has_a_case() -> None:
    for table, cases in ((ONNX, ONNX_CASES), (TFLITE, TFLITE_CASES)):
        assert sorted(set(table) - {key for name in cases for key in operators_of(name)}) == []


@pytest.mark.parametrize("name", sorted(ONNX_CASES))
def test_onnx(name: str) -> None:
    case = ONNX_CASES[name]
    result = check(case.model(), case.feeds(7), max_lsb=int(name in INEXACT))
    assert len(np.unique(result.outputs[0])) > 1, "a result that says something"


@pytest.mark.parametrize("name", sorted(TFLITE_CASES))
def test_tflite(name: str) -> None:
    case = TFLITE_CASES[name]
    result = check(case.model(), case.feeds(7))
    assert len(np.unique(result.outputs[0])) > 1, "a result that says something"
