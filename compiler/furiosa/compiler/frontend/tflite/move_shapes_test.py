"""Shapes of operators that move values: supplied where a file leaves them out, refused where they cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options

X = object()  # the data input


def _import(kind: str, shape: list[int], inputs: list[object], opts: object, outs: int = 1) -> list[tuple]:
    b = ModelBuilder()
    x = b.tensor("x", shape)
    at = [x if i is X else b.tensor(f"c{n}", list(np.shape(i)), "int32", i) for n, i in enumerate(inputs)]
    ys = [b.tensor(f"y{i}", []) for i in range(outs)]
    b.operator(kind, at, ys, opts)
    return [t.shape for t in import_model(b.build([x], ys)).outputs]


STRIDED = options("StridedSliceOptions")
GOOD = {
    "slice": ("SLICE", [X, [0, 1], [-1, 2]], options("SliceOptions"), [(4, 2)]),
    "strides": ("STRIDED_SLICE", [X, [3, 0], [-9, 6], [-2, 4]], STRIDED, [(2, 2)]),
    "shrink": (
        "STRIDED_SLICE",
        [X, [-1], [0], [1]],
        options("StridedSliceOptions", shrinkAxisMask=1),
        [(6,)],
    ),
    "ellipsis": (
        "STRIDED_SLICE",
        [X, [0, 0, 1], [0, 0, 3], [1, 1, 1]],
        options("StridedSliceOptions", ellipsisMask=1, newAxisMask=2),
        [(4, 1, 2)],
    ),
    "split": ("SPLIT", [-1, X], options("SplitOptions", numSplits=2), [(4, 3), (4, 3)]),
    "split at": ("SPLIT_V", [X, [1, -1], 0], options("SplitVOptions", numSplits=2), [(1, 6), (3, 6)]),
    "pack": ("PACK", [X, X], options("PackOptions", valuesCount=2, axis=-1), [(4, 6, 2)]),
    "unpack": ("UNPACK", [X], options("UnpackOptions", num=4, axis=0), [(6,)] * 4),
    "expand": ("EXPAND_DIMS", [X, [-1]], options("ExpandDimsOptions"), [(4, 6, 1)]),
    "mirror": ("MIRROR_PAD", [X, [[3, 0], [0, 5]]], options("MirrorPadOptions", mode=0), [(7, 11)]),
    "to batch": (
        "SPACE_TO_BATCH_ND",
        [X, [3], [[1, 2]]],
        options("SpaceToBatchNDOptions"),
        [(12, 3)],
    ),
    "to space": ("BATCH_TO_SPACE_ND", [X, [2], [[1, 2]]], options("BatchToSpaceNDOptions"), [(2, 9)]),
    "broadcast": ("BROADCAST_TO", [X, [2, 4, 6]], options("BroadcastToOptions"), [(2, 4, 6)]),
    "tile": ("TILE", [X, [2, 1]], options("TileOptions"), [(8, 6)]),
}
BAD = {
    "slice beyond": ("SLICE", [X, [0, 1], [-1, 6]], options("SliceOptions"), 1, "takes from"),
    "slice of fewer": ("SLICE", [X, [0], [1]], options("SliceOptions"), 1, "has the begin"),
    "stride 0": ("STRIDED_SLICE", [X, [0], [1], [0]], STRIDED, 1, "strides"),
    "too many": ("STRIDED_SLICE", [X, [0] * 3, [1] * 3, [1] * 3], STRIDED, 1, "slices 3 dimensions"),
    "shrink beyond": (
        "STRIDED_SLICE",
        [X, [4], [5], [1]],
        options("StridedSliceOptions", shrinkAxisMask=1),
        1,
        "takes the index 4",
    ),
    "uneven": ("SPLIT", [0, X], options("SplitOptions", numSplits=3), 3, "3 equal parts of a dimension of 4"),
    "no axis": ("SPLIT", [2, X], options("SplitOptions", numSplits=1), 1, "works along the dimensions"),
    "sizes": ("SPLIT_V", [X, [3, 3], 0], options("SplitVOptions", numSplits=2), 2, "of the sizes"),
    "pack of others": ("PACK", [X, [1, 2]], options("PackOptions", valuesCount=2), 1, "cannot stack"),
    "unpack": ("UNPACK", [X], options("UnpackOptions", num=2, axis=0), 2, "makes 2 outputs"),
    "squeeze": ("SQUEEZE", [X], options("SqueezeOptions", squeezeDims=[0]), 1, "leaves out"),
    "mirror": (
        "MIRROR_PAD",
        [X, [[4, 0], [0, 0]]],
        options("MirrorPadOptions", mode=0),
        1,
        "has the paddings",
    ),
    "depth": ("DEPTH_TO_SPACE", [X], options("DepthToSpaceOptions", blockSize=2), 1, "needs an input of 4"),
    "to batch": (
        "SPACE_TO_BATCH_ND",
        [X, [4], [[0, 0]]],
        options("SpaceToBatchNDOptions"),
        1,
        "has the blocks",
    ),
    "block 0": (
        "BATCH_TO_SPACE_ND",
        [X, [0], [[0, 0]]],
        options("BatchToSpaceNDOptions"),
        1,
        "has the blocks",
    ),
    "broadcast": ("BROADCAST_TO", [X, [4, 5]], options("BroadcastToOptions"), 1, "cannot broadcast"),
    "tile": ("TILE", [X, [2]], options("TileOptions"), 1, "has the multiples"),
    "reverse": ("REVERSE_V2", [X, [2]], options("ReverseV2Options"), 1, "works along the dimensions"),
}


@pytest.mark.parametrize("case", GOOD)
def test_supplied(case: str) -> None:
    kind, inputs, opts, expected = GOOD[case]
    assert _import(kind, [4, 6], inputs, opts, len(expected)) == expected


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str) -> None:
    kind, inputs, opts, outs, message = BAD[case]
    with pytest.raises(InvalidModel, match=message):
        _import(kind, [4, 6], inputs, opts, outs)
