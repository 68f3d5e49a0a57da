"""Each method's range is the best by its measure, computed here again from the values themselves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from furiosa.quantizer.affine import Range, affine, quantized
from furiosa.quantizer.calibrate.histogram import Histogram
from furiosa.quantizer.calibrate.methods import METHODS, choose

FACTS = Path(__file__).resolve().parents[5] / "shared" / "facts" / "calibrators"

RNG = np.random.default_rng(5)
DATA = {
    "normal": RNG.standard_normal(40_000),
    "outliers": np.concatenate([RNG.standard_normal(20_000), [40.0, -25.0]]),
    "one-sided": np.maximum(RNG.standard_normal(30_000), 0) ** 2,
    "negative": -np.abs(RNG.standard_cauchy(10_000)),
    "skewed": RNG.exponential(1.0, 20_000) - 0.3,
    "few": RNG.standard_normal(50),
}


def counted(values: np.ndarray) -> Histogram:
    h = Histogram()
    h.add(values.astype(np.float32))
    return h


def squared_error(values: np.ndarray, within: Range) -> float:
    """The mean, of float32 values quantised as QuantizeLinear does."""
    by = affine(within)
    real = (quantized(values, by).astype(np.float64) - by.zero_point) * float(by.scale)
    return float(np.mean((values.astype(np.float32) - real) ** 2))


def divergence(h: Histogram, within: Range) -> float:
    """Kullback-Leibler, bin by bin, as the method's docstring says."""
    by = affine(within)
    scale, zero = float(by.scale), by.zero_point
    steps = h.values / scale + zero
    inside = [i for i, s in enumerate(steps) if -128.5 <= s < 127.5]
    if not inside:
        return math.inf
    p = {i: float(h.counts[i]) for i in inside}
    levels: dict[int, list[int]] = {}
    for i in inside:
        levels.setdefault(int(np.floor(steps[i] + 0.5)), []).append(i)
    total_inside = sum(p.values())
    q = {}
    for group in levels.values():
        q |= dict.fromkeys(group, sum(p[i] for i in group) / len(group) / total_inside)
    p[inside[0]] += float(h.counts[: inside[0]].sum())
    p[inside[-1]] += float(h.counts[inside[-1] + 1 :].sum())
    total = sum(p.values())
    return sum(v / total * math.log(v / total / q[i]) for i, v in p.items())


def others(values: np.ndarray, is_symmetric: bool) -> list[Range]:
    """Ranges drawn at random."""
    rng = np.random.default_rng(2)
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    if is_symmetric and low < 0:
        low, high = -max(-low, high), max(-low, high)
    shares = rng.uniform(0.02, 1, (300, 2))
    if is_symmetric:
        shares[:, 0] = shares[:, 1]
    return [Range(low * a, high * b) for a, b in [(1.0, 1.0), *shares.tolist()]]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("method", ["mse", "mse-sym", "sqnr", "sqnr-sym"])
def test_no_range_has_less_error(data: str, method: str):
    values = DATA[data]
    got = squared_error(values, choose(method, counted(values)))
    best = min(squared_error(values, r) for r in others(values, method.endswith("sym")))
    # a bin stands for its values by its middle; few values have many narrow minima, of which a grid may miss the deepest
    assert got <= best * (1.1 if data == "few" else 1.005)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("method", ["entropy", "entropy-sym"])
def test_no_range_diverges_less(data: str, method: str):
    h = counted(DATA[data])
    got = divergence(h, choose(method, h))
    best = min(divergence(h, r) for r in others(DATA[data], method.endswith("sym"))[:25])
    assert got <= best * 1.01 + 1e-9


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("percentage", [99.99, 99.0, 90.0, 100.0])
def test_a_percentile_leaves_out_its_share(data: str, percentage: float):
    values = DATA[data].astype(np.float32)
    h = counted(values)
    tolerance = 2.0**h.exponent
    low, high = choose("percentile", h, percentage)
    share = 1 - percentage / 100
    one_sided = values.min() >= 0 or values.max() <= 0
    outside = int((share if one_sided else share / 2) * values.size)
    ordered = np.sort(values)
    if values.min() < 0:
        assert low == pytest.approx(min(ordered[outside], 0), abs=tolerance)
    if values.max() > 0:
        assert high == pytest.approx(max(ordered[-1 - outside], 0), abs=tolerance)
    low, high = choose("percentile-sym", h, percentage)
    most = np.sort(np.abs(values))[-1 - int(share * values.size)]
    assert high == pytest.approx(most, abs=tolerance)
    assert low == (0 if values.min() >= 0 else -high)


def test_min_max():
    values = np.array([-2, 1, 5], np.float32)
    assert choose("min-max", counted(values)) == (-2, 5)
    assert choose("min-max-sym", counted(values)) == (-5, 5)
    assert choose("min-max-sym", counted(np.array([1, 5]))) == (0, 5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 3.0, -1e-20, 1e30])
def test_one_value_everywhere(method: str, value: float):
    low, high = choose(method, counted(np.full(9, value)))
    assert low <= high and math.isfinite(low) and math.isfinite(high)
    by = affine(Range(low, high))
    assert np.isfinite(by.scale) and by.scale > 0


def test_an_entropy_of_nothing_left_is_not_the_best():
    """Of a few values each in a bin of its own any range has the divergence 0, also one of a single bin."""
    values = np.linspace(0.1, 5, 200)
    assert choose("entropy", counted(values)).high == pytest.approx(5)


# -- the vendor's answers ---------------------------------------------------------------------------------------------------


def vendor() -> tuple[dict[str, np.ndarray], dict[str, dict[str, list[float]]]]:
    """Every tensor's values of the vendor's example, and the ranges that its calibrators gave."""
    import importlib.util

    from furiosa.quantizer.calibrate.float_run import FloatRun
    from furiosa.quantizer.graph.load import load

    spec = importlib.util.spec_from_file_location("facts_model", FACTS / "model.py")
    facts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(facts)
    run = FloatRun(load(facts.build().SerializeToString()))
    values: dict[str, list[np.ndarray]] = {}
    for x in facts.samples():
        for t, array in run.run({"x": x}):
            values.setdefault(t.name, []).append(array.reshape(-1))
    return {n: np.concatenate(a) for n, a in values.items()}, json.loads((FACTS / "ranges.json").read_text())


@pytest.mark.skipif(
    not FACTS.is_dir(), reason="the vendor's answers lie outside of the project, and are not here"
)
def test_beside_the_vendors_calibrators():
    """Min-max is the same; each other range is as good by the method's own measure, or better."""
    values, ranges = vendor()
    for name, data in values.items():
        h = counted(data)
        for end in ("", "-sym"):
            key = "SYM" if end else "ASYM"
            theirs = {k: Range(*r[name]) for k, r in ranges.items()}
            assert choose("min-max" + end, h) == pytest.approx(
                tuple(theirs[f"MIN_MAX_{key}"]), rel=1e-6, abs=1e-6
            )
            for kind in ("MSE", "SQNR"):
                ours = choose(kind.lower() + end, h)
                assert squared_error(data, ours) <= squared_error(data, theirs[f"{kind}_{key}"]) * 1.0001
            ours = choose("entropy" + end, h)
            assert divergence(h, ours) <= divergence(h, theirs[f"ENTROPY_{key}"]) + 1e-9
            for percentage in (99.99, 99.0):
                ours, other = (
                    choose("percentile" + end, h, percentage),
                    theirs[f"PERCENTILE_{key}@{percentage}"],
                )
                width = 2.0**h.exponent
                assert ours.high <= other.high + width and ours.low >= other.low - width
                outside = int(round(data.size * (100 - percentage) / 100, 6))
                assert np.sum((data < ours.low - width) | (data > ours.high + width)) <= outside
