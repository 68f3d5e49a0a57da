"""The phases of a transposed convolution give every output exactly the products that belong to it."""

from __future__ import annotations

import itertools

from furiosa.compiler.ldfg.transposed import phases


def _by_definition(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> list[set]:
    seen: list[set] = [set() for _ in range(out)]
    for i in range(size):
        for k in range(kernel):
            at = i * stride + k * dilation - pad
            if 0 <= at < out:
                seen[at].add((i, k))
    return seen


def test_every_output_sees_its_products_once() -> None:
    cases = itertools.product((1, 2, 5), (1, 2, 3, 5), (1, 2, 3, 4), (1, 2, 3, 4), (0, 1, 3), (0, 2))
    count = 0
    for size, kernel, stride, dilation, pad, extra in cases:
        out = (size - 1) * stride + (kernel - 1) * dilation + 1 - pad + extra
        if out < 1:
            continue
        expected = _by_definition(size, out, kernel, stride, dilation, pad)
        seen: list[set] = [set() for _ in range(out)]
        for p in phases(size, out, kernel, stride, dilation, pad):
            window = (len(p.taps) - 1) * p.dilation + 1
            for t, at in enumerate(range(p.start, out, stride)):
                first = t - p.pad
                assert 0 <= p.pad < window and -window < first < size  # as the verifier asks
                for j, k in enumerate(p.taps):
                    i = first + j * p.dilation
                    if k >= 0 and 0 <= i < size:
                        assert (i, k) not in seen[at]
                        seen[at].add((i, k))
        assert seen == expected
        count += 1
    assert count > 800
