"""Models whose shapes onnx infers although their operators contradict themselves."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, tensor

W = tensor("w", np.ones((4, 3, 3, 3)), "float32")
B = tensor("b", np.ones(3), "float32")
S = tensor("s", [1.0, 2.0], "float32")
CONV = "g (float[1,{c},{h},8] x) => (float[n,c,h,w] y) {{ y = Conv{attributes}(x, w{bias}) }}"


def conv(attributes: str = "", c: int = 3, h: int = 8, bias: str = "") -> str:
    return CONV.format(attributes=attributes, c=c, h=h, bias=bias)


CASES = {
    "channels": (conv(c=5), "has 5 input channels in 1 groups"),
    "groups": (conv("<group = 2>"), "has 3 input channels in 2 groups"),
    "no group": (conv("<group = 0>"), "in 0 groups"),
    "kernel": (conv("<kernel_shape = [5, 5]>"), r"has kernel_shape \[5, 5\]"),
    "window": (conv(h=2), "has a window larger than its input"),
    "bias": (conv(bias=", b"), "has 4 output channels, but a bias"),
    "padding": (conv('<auto_pad = "FOO">'), 'unknown auto_pad "FOO"'),
    "pool": ('g (float[1,1,8] x) => (float[n,c,h] y) { y = MaxPool<kernel_shape = [2], auto_pad = "FOO">(x) }', "unknown auto_pad"),
    "elements": ("g (float[1,4] x) => (float[n,c] y) { y = Reshape(x, i) }", r"makes \[5, 1\] of \[1, 4\]"),
    "axis": ("g (uint8[1,2] x) => (float[1,2] y) { y = DequantizeLinear<axis = 9>(x, s) }", "has axis 9"),
    "scales": ("g (uint8[1,3] x) => (float[1,3] y) { y = DequantizeLinear(x, s) }", 'has 3 channels, but "s" of shape'),
    "quantised": (
        "g (uint8[1,3,8,8] x) => (uint8[n,c,h,w] y) { y = QLinearConv(x, t, z, v, s, z, t, z) }", 'has 4 channels, but "s" of shape',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_contradiction(case: str) -> None:
    text, message = CASES[case]
    constants = [W, B, S, tensor("i", [5, 1], "int64"), tensor("t", 1.0, "float32"), tensor("z", 0, "uint8")]
    constants.append(tensor("v", np.ones((4, 3, 3, 3)), "uint8"))
    with pytest.raises(InvalidModel, match=message):
        import_onnx(model(text, *constants))
