"""Moves of values in TFLite models: the limits of axes, other scales, fused activations, what is computed."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.ldfg.lower import lower


def _lower(
    kind: str,
    shape: list[int],
    out: list[int],
    constants: list[object],
    opts: object,
    *,
    scale: float = 0.5,
    release: str = "0.10",
    count: int = 1,
) -> tuple[list[str], list[str]]:
    """The rules that fail for one operator, and the NPU operators in its place."""
    b = ModelBuilder()
    xs = [b.tensor(f"x{i}", shape, scale=0.5, zero_point=3) for i in range(count)]
    more = [b.tensor(f"c{i}", list(np.shape(c)), "int32", c) for i, c in enumerate(constants)]
    y = b.tensor("y", out, scale=scale, zero_point=3)
    b.operator(kind, [*xs, *more], [y], opts)
    low = lower(import_model(b.build(xs, [y])), release)
    (verdict,) = low.verdicts.values()
    return [r.rule for r in verdict.reasons], [op.op_type for op in low.operators]


@pytest.mark.parametrize(
    ("axis", "release", "failed"),
    [
        (0, "0.10", ["concat-axes"]),
        (1, "0.10", []),
        (1, "0.6.3", []),
        (2, "0.10", ["concat-axes"]),
        (3, "0.10", []),
        (3, "0.6.3", ["concat-axes"]),
    ],
)
def test_concatenation_axes(axis: int, release: str, failed: list[str]) -> None:
    shape = [2, 3, 4, 5]
    out = [d * (1 + (i == axis)) for i, d in enumerate(shape)]
    found = _lower(
        "CONCATENATION", shape, out, [], options("ConcatenationOptions", axis=axis), release=release, count=2
    )
    assert found[0] == failed


def test_a_fused_activation_is_the_reference_runtimes() -> None:
    opts = options("ConcatenationOptions", axis=1, fusedActivationFunction=1)
    assert _lower("CONCATENATION", [1, 4], [1, 8], [], opts, count=2)[0] == ["supported-attributes"]


@pytest.mark.parametrize(("axis", "failed"), [(0, ["slice-axes"]), (1, []), (2, ["slice-axes"]), (3, [])])
def test_slice_axes(axis: int, failed: list[str]) -> None:
    begin = [int(i == axis) for i in range(4)]
    out = [2 - b for b in begin]
    assert _lower("SLICE", [2] * 4, out, [begin, out], options("SliceOptions"))[0] == failed


@pytest.mark.parametrize(("axis", "failed"), [(0, ["pad-axes"]), (1, []), (2, []), (3, [])])
def test_pad_axes(axis: int, failed: list[str]) -> None:
    pads = [[int(i == axis), 0] for i in range(4)]
    out = [2 + p for p, _ in pads]
    assert _lower("PAD", [2] * 4, out, [pads], options("PadOptions"))[0] == failed
    mirrored = _lower("MIRROR_PAD", [2] * 4, out, [pads], options("MirrorPadOptions", mode=1))
    assert mirrored[0] == failed


def test_other_scales_stay_on_the_host() -> None:
    failed, _ = _lower("SLICE", [1, 4], [1, 2], [[0, 0], [1, 2]], options("SliceOptions"), scale=0.25)
    assert failed == ["reference-arithmetic"]


def test_ends_as_offsets_stay_on_the_host() -> None:
    opts = options("StridedSliceOptions", offset=True)
    failed, _ = _lower("STRIDED_SLICE", [1, 4], [1, 2], [[0, 1], [1, 2], [1, 1]], opts)
    assert failed == ["supported-attributes"]


def test_a_slice_of_everything_moves_nothing() -> None:
    found = _lower("SLICE", [1, 4], [1, 4], [[0, 0], [-1, 4]], options("SliceOptions"))
    assert found == ([], ["npu.reshape"])


def test_mirrored_along_two_dimensions_with_many_commands() -> None:
    """21 x 21 commands would be more than 64: one operator a dimension."""
    pads = [[0, 0], [10, 10], [10, 10], [0, 0]]
    found = _lower("MIRROR_PAD", [1, 11, 11, 1], [1, 31, 31, 1], [pads], options("MirrorPadOptions", mode=0))
    assert found == ([], ["npu.take", "npu.take"])


def test_bounds_that_are_computed() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [4], scale=0.5), b.tensor("y", [2], scale=0.5)
    begin, size = b.tensor("begin", [1], "int32"), b.tensor("size", [1], "int32", [2])
    b.operator("SLICE", [x, begin, size], [y], options("SliceOptions"))
    low = lower(import_model(b.build([x, begin], [y])))
    (verdict,) = low.verdicts.values()
    assert "constant-parameters" in [r.rule for r in verdict.reasons]
