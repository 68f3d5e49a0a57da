"""Gates, and how a result is written."""

from __future__ import annotations

import json
import math

import pytest

from furiosa.runtime.accuracy.result import Result, text, to_json


def _result(**changes: object) -> Result:
    given = {
        "model": "m.enf", "metric": "top1", "what": "top-1 accuracy", "samples": 10, "shard": None, "min_value": None, "max_drop": None,
        "models": {"compiled": "m.enf", "source": "m.onnx", "float": "f.onnx"}, "values": {"compiled": 0.97, "float": 0.975},
    }  # fmt: skip
    return Result(**(given | changes))


@pytest.mark.parametrize(
    ("gates", "failures"),
    [
        ({}, []),
        ({"min_value": 0.97}, []),
        ({"min_value": 0.971}, ["top-1 accuracy is 0.97, below the least of 0.971"]),
        ({"max_drop": 0.005}, []),  # though 0.975 - 0.97 is more in binary numbers
        ({"max_drop": 0.004}, ["top-1 accuracy is 0.005 below that of f.onnx, more than 0.004"]),
        ({"max_drop": 0.1, "values": {"compiled": math.nan, "float": 1.0}}, ["top-1 accuracy is nan below that of f.onnx, more than 0.1"]),
        ({"min_value": 0.0, "values": {"compiled": math.nan}}, ["top-1 accuracy is nan, below the least of 0"]),
        ({"min_value": 30.0, "values": {"compiled": math.inf}}, []),
        ({"max_drop": 0.0, "values": {"compiled": 0.99, "float": 0.9}}, []),
    ],
)  # fmt: skip
def test_gates(gates: dict[str, object], failures: list[str]) -> None:
    result = _result(**gates)
    assert result.failures == failures
    lines = text(result)
    assert [line for line in lines if "FAILED" in line] == [f"FAILED: {f}" for f in failures]
    assert ("passed" in lines) == (not failures and set(gates) != set())


def test_a_drop_is_from_the_float_model_else_from_the_source() -> None:
    assert _result().base == "float" and _result().drop == pytest.approx(0.005)
    values = {"compiled": 0.9, "source": 0.95}
    assert _result(values=values).base == "source" and _result(values={"compiled": 0.9}).drop is None


def test_json() -> None:
    result = _result(shard=(1, 4), min_value=1.0, values={"compiled": math.inf, "float": -math.inf})
    found = json.loads(to_json(result))
    assert found["shard"] == {"index": 1, "count": 4} and found["values"]["compiled"]["value"] == "inf"
    assert found["drop"] == "-inf" and found["min_value"] == 1.0 and found["failures"] == []
    assert text(result)[0] == "top-1 accuracy on 10 samples, shard 2 of 4"
    assert text(_result(samples=1))[0] == "top-1 accuracy on 1 sample"
