"""Geometry of sliding windows for property tests: kernels, strides, dilations and paddings in the terms of both formats."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from tests.reference.conv import same_padding

ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}  # TFLite's codes
PADDINGS = ("pads", "VALID", "SAME_UPPER", "SAME_LOWER")


class Windows(NamedTuple):
    """Pairs for height and width; ``pads`` is (top, left, bottom, right), ``fields`` what an ONNX node states."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: str
    pads: tuple[int, int, int, int]

    @property
    def out(self) -> tuple[int, int]:
        return tuple(
            (self.size[i] + self.pads[i] + self.pads[i + 2] - (self.kernel[i] - 1) * self.dilation[i] - 1)
            // self.stride[i]
            + 1
            for i in (0, 1)
        )

    def fields(self, rank: int = 2) -> dict[str, object]:
        """The attributes of an ONNX node; with rank 1 the height is left out."""
        start = 2 - rank
        out: dict[str, object] = {"strides": self.stride[start:], "dilations": self.dilation[start:]}
        if self.padding == "pads":
            return out | {"pads": (*self.pads[start:2], *self.pads[2 + start :])}
        return out | {"auto_pad": self.padding}


@st.composite
def windows(
    draw: st.DrawFn,
    *,
    paddings: tuple[str, ...] = PADDINGS,
    max_size: int = 14,
    max_kernel: int = 5,
    dilations: tuple[int, ...] = (1, 1, 1, 2, 3),
    rank: int = 2,
    dilated_same: bool = False,
    pool: bool = False,
) -> Windows:
    """Windows in an input; with rank 1 everything about the height is 1 and without padding.

    onnxruntime takes no dilation with SAME padding, LiteRT does (``dilated_same``); the padding of a ``pool`` it wants below
    the kernel's size, dilated or not, and with SAME padding no stride above the kernel's size.
    """

    def two(low: int, high: int) -> tuple[int, int]:
        a, b = draw(st.integers(low, high)), draw(st.integers(low, high))
        return (1, b) if rank == 1 else (a, b)

    padding = draw(st.sampled_from(paddings))
    if padding.startswith("SAME") and not dilated_same:
        dilations = (1,)
    size, kernel, stride = two(1, max_size), two(1, max_kernel), two(1, 3)
    dilation = tuple(draw(st.sampled_from(dilations)) if k > 1 else 1 for k in kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    if padding == "VALID" or (padding == "pads" and draw(st.booleans())):
        size = tuple(s + r - 1 for s, r in zip(size, reach))
        pads = (0, 0, 0, 0)
    elif padding == "pads":
        most = [min(k - 1, 3) if pool else 3 for k in kernel]
        pads = tuple(draw(st.integers(0, most[i % 2] if rank == 2 or i % 2 else 0)) for i in range(4))
        size = tuple(max(size[i], reach[i] - pads[i] - pads[i + 2], 1) for i in (0, 1))
    else:
        if pool:
            stride = tuple(min(s, r) for s, r in zip(stride, reach))
        each = [same_padding(size[i], kernel[i], stride[i], dilation[i]) for i in (0, 1)]
        pads = (*(e[0] for e in each), *(e[1] for e in each))
        if padding == "SAME_LOWER":
            pads = pads[2:] + pads[:2]
    return Windows(size, kernel, stride, dilation, padding, pads)
