"""The operators that quantisers have a form of their own for (QLinearConv, QLinearMatMul, …): the NPU runs them."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from furiosa.compiler.cli.main import main
from tests.end_to_end.quantised_models import NETWORKS, quantised

# QLinearWhere is none of them: it chooses by truth values, which the NPU does not have, and of QLinearReduceMean no runtime has a kernel
FORMS = {
    *("QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool"),
    *("QLinearLeakyRelu", "QLinearMatMul", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax", "QGemm"),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_they_run_on_the_npu(network: str, tmp_path: Path) -> None:
    """All but a Softmax of more than two samples, whose limit is the vendor's."""
    report = tmp_path / "r.json"
    model = quantised(network, "operators", tmp_path)
    assert main(["compile", model, "-o", str(tmp_path / "m.enf"), "--report-json", str(report)]) == 0
    operators = json.loads(report.read_text("ascii"))["operators"]
    forms = [o for o in operators if o["op_type"].startswith(("QLinear", "QGemm"))]
    assert len(forms) > 5
    host = [o for o in forms if o["placed_on"] == "host"]
    assert all([r["rule"] for r in o["reasons"]] == ["softmax-batch"] for o in host), host
    assert len(host) == (network == "windows")
    if network == "windows":
        assert {n.op_type for n in onnx.load(model).graph.node} >= FORMS
