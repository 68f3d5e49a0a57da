"""ONNX models of any operator set, and with unknown shapes inside: what keeps them off the NPU, and onnxruntime's result."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.frontend.onnx.testing import model, run, tensor
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.report import table
from furiosa.compiler.report.report import report, to_json
from furiosa.enf import container
from furiosa.runtime import session

X = np.array([3, 0, -1, 0, 5, 2], np.float32)


@pytest.mark.parametrize(
    ("text", "opset", "rules"),
    [
        ("g (float[6] x) => (float[6] y) { y = Relu(x) }", 6, {"operator-set"}),
        ("g (float[6] x) => (float[6] y) { y = Softplus(x) }", 1, {"operator-set"}),
        ("g (float[6] x) => (float[2] y) { n = NonZero(x)  s = Shape(n)  y = Cast<to=1>(s) }", 17, {"dense-tensors"}),
    ],
)  # fmt: skip
def test_on_the_host(text: str, opset: int, rules: set[str]) -> None:
    data = model(text, opset=opset)
    compilation = Compilation(data, Options()).run()
    reasons = {r.rule for v in compilation.ldfg.verdicts.values() for r in v.reasons}
    assert rules <= reasons
    with session.create(container.to_bytes(compilation.enf)) as sess:
        np.testing.assert_array_equal(sess.run(X)[0].numpy(), run(data, {"x": X})[0])


def test_quantised_operators_around_a_region_stay_on_the_npu() -> None:
    """Two regions of unknown shapes, and a convolution between them."""
    data = model(
        """g (float[1,4,8,8] x) => (float[4] y) {
            n = NonZero(x)  c = Shape(n)  f = Cast<to=1>(c)  t = ReduceMax<keepdims=0>(f)  d = Div(x, t)
            q = QuantizeLinear(d, s, z)  a = DequantizeLinear(q, s, z)
            e = DequantizeLinear(w, s, z)  b = Conv(a, e)
            r = QuantizeLinear(b, s, z)  g = DequantizeLinear(r, s, z)
            m = NonZero(g)  h = Cast<to=1>(m)  y = ReduceSum<keepdims=0>(h, one)
        }""",
        tensor("s", 0.05, "float32"), tensor("z", 0, "int8"), tensor("one", [1], "int64"),
        tensor("w", np.random.default_rng(0).integers(-9, 9, (4, 4, 1, 1)), "int8"),
    )  # fmt: skip
    compilation = Compilation(data, Options()).run()
    placed = {op.op_type: v.placed_on for op, v in compilation.ldfg.verdicts.items()}
    assert placed["Conv"] == "npu" and placed["HostRegion"] == "host"
    # people read of the operators that they wrote
    said = to_json(report(compilation, "m.onnx", 0)) + "\n".join(
        table.placement(compilation.ldfg, everything=True)
    )
    assert "NonZero + Shape" in said and "HostRegion" not in said
    assert not any("HostRegion" in op.op_type for op in compilation.debug_map.operators)
    x = np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)
    with session.create(container.to_bytes(compilation.enf)) as sess:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        expected = onnxruntime.InferenceSession(data, options).run(None, {"x": x})[0]
        np.testing.assert_array_equal(sess.run(x)[0].numpy(), expected)
