"""Metrics against plain definitions of the same, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from furiosa.runtime.accuracy.metrics import METRICS, Agreement, MeanIou, Metric, Sqnr, TopK
from furiosa.runtime.errors import InvalidInput

RNG = np.random.default_rng(0)


def _value(metric: Metric, outputs: np.ndarray, labels: np.ndarray) -> float:
    for output, label in zip(outputs, labels, strict=True):
        metric.add([output[None]], np.asarray(label), [])
    return metric.value()


@pytest.mark.parametrize("k", [1, 5])
def test_top_k_counts_labels_among_the_highest(k: int) -> None:
    scores, labels = (
        RNG.integers(-6, 6, (500, 12)).astype(np.float32),
        RNG.integers(0, 12, 500),
    )  # many are equal
    ranks = [sorted(range(12), key=lambda c: (-row[c], c))[:k] for row in scores]
    assert _value(TopK(k), scores, labels) == np.mean([y in r for y, r in zip(labels, ranks)])
    assert k > 1 or _value(TopK(k), scores, labels) == np.mean(scores.argmax(1) == labels)


def test_a_score_that_is_no_number_is_no_hit() -> None:
    assert _value(TopK(5), np.float32([[np.nan, 1.0], [np.nan, 1.0]]), np.array([0, 1])) == 0.5
    assert math.isnan(TopK(1).value())


def _iou(found: np.ndarray, right: np.ndarray, ignored: set[int]) -> float:
    counts = ~np.isin(right, list(ignored))
    found, right = found[counts], right[counts]
    shares = []
    for c in set(found.tolist()) | set(right.tolist()):
        either = np.sum((found == c) | (right == c))
        shares.append(np.sum((found == c) & (right == c)) / either)
    return float(np.mean(shares))


def test_mean_iou_of_scores_in_either_layout_and_of_maps() -> None:
    right = RNG.integers(0, 6, (8, 5, 7)).astype(np.uint8)  # of class 5 nothing is ever found
    right[RNG.random(right.shape) < 0.1] = 255
    scores = RNG.standard_normal((8, 6, 5, 7)).astype(np.float32)
    scores[:, 5] = -9
    found = scores.argmax(1)
    expected = _iou(found, right, {255})
    assert _value(MeanIou(), scores, right) == pytest.approx(expected, abs=1e-12)
    assert _value(MeanIou(), scores.transpose(0, 2, 3, 1), right) == pytest.approx(expected, abs=1e-12)
    assert _value(MeanIou(), found.astype(np.int32), right[:, None]) == pytest.approx(expected, abs=1e-12)
    assert _value(MeanIou(), np.maximum(found, 0), found) == 1.0


def test_agreement_and_sqnr_compare_with_the_float_model() -> None:
    wanted = RNG.standard_normal((50, 10)).astype(np.float32)
    found = (wanted + RNG.standard_normal((50, 10)) * 0.5).astype(np.float32)
    other = found[:, :3]
    agreement, sqnr, same = Agreement(), Sqnr(), Sqnr()
    for a, b, c in zip(found, wanted, other, strict=True):
        agreement.add([a], None, [b])
        sqnr.add([c, a], None, [c, b])
        same.add([c], None, [c])
    assert agreement.value() == np.mean(found.argmax(1) == wanted.argmax(1)) < 1
    noise = np.sum((found.astype(np.float64) - wanted) ** 2)
    assert sqnr.value() == pytest.approx(10 * np.log10(np.sum(wanted.astype(np.float64) ** 2) / noise))
    assert same.value() == math.inf
    zero = Sqnr()
    zero.add([np.ones(3)], None, [np.zeros(3)])
    assert zero.value() == -math.inf and math.isnan(Sqnr().value())


@pytest.mark.parametrize(
    ("metric", "output", "label", "words"),
    [
        (
            "top1",
            np.zeros((1, 3)),
            None,
            "a label must be the number of a class, an integer: there is no label",
        ),
        ("top1", np.zeros((1, 3)), np.zeros(3, int), r"it is of shape \(3,\) \(int64\)"),
        ("top1", np.zeros((1, 3)), np.float32(1), r"it is of shape \(\) \(float32\)"),
        ("top5", np.zeros((1, 3)), np.int64(3), "a label is 3, but the output has the classes 0 to 2"),
        (
            "miou",
            np.zeros((1, 3, 4, 4)),
            np.zeros((4, 5), int),
            r"no dimension of classes beside a label of shape \(4, 5\)",
        ),
        ("miou", np.zeros((1, 9000, 4, 4)), np.zeros((4, 4), int), "9000 classes are more than"),
        ("miou", np.zeros((1, 4, 4), int), np.full((4, 4), 10**9), "1000000001 classes are more than"),
        ("miou", np.full((1, 4, 4), -1), np.zeros((4, 4), int), "negative numbers for classes"),
    ],
)
def test_what_a_metric_is_not_for(
    metric: str, output: np.ndarray, label: np.ndarray | None, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        METRICS[metric].make().add([output], None if label is None else np.asarray(label), [])


def test_outputs_of_another_shape_than_the_float_model_has() -> None:
    for name in ("agreement", "sqnr"):
        with pytest.raises(InvalidInput, match=r"an output is \(3,\), but \(4,\) of the float model"):
            METRICS[name].make().add([np.zeros(3)], None, [np.zeros(4)])
