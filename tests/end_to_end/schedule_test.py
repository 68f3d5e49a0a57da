"""What the search for a schedule is worth: fewer bytes through DRAM and less time where SRAM is small, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from generator.__main__ import build

from furiosa.compiler import pipeline
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.enf.target import load_target
from furiosa.runtime import session


def _compile(model: bytes, level: int, batch: int, target: str = "warboy") -> Compilation:
    return Compilation(model, Options(target, batch, optimize=level)).run()


def _traffic(c: Compilation) -> int:
    return c.performance.dram_bytes_read + c.performance.dram_bytes_written


@pytest.mark.parametrize("level", [1, 2])
def test_batches_that_do_not_fit_run_in_parts(
    level: int, tiny_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 128 KiB of SRAM and 8 samples: nothing is spilled any more, and the answers are the same."""
    target = load_target("warboy")._replace(sram_bytes_per_slice=2048)
    monkeypatch.setattr(pipeline, "load_target", lambda name: target)
    before, after = (_compile(tiny_model, n, 8) for n in (0, level))
    assert any(s.scratch for s in before.gir.values())
    assert not any(s.scratch for s in after.gir.values())
    assert _traffic(after) < 0.6 * _traffic(before)
    assert after.performance.npu_us < 0.85 * before.performance.npu_us
    x = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)
    answers = []
    for c in (before, after):
        with session.create(container.to_bytes(c.enf), device="npu0pe0") as sess:
            answers.append(sess.run([x])[0].numpy())
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(("name", "batch"), [("resnet50", 8), ("ssd_mobilenet", 8), ("ssd_resnet34", 1)])
def test_the_mlperf_networks_need_no_spills(name: str, batch: int) -> None:
    """Of one PE, whose SRAM does not hold all tensors."""
    model = build(name, "int8").SerializeToString(deterministic=True)
    before, after = (_compile(model, level, batch) for level in (0, 1))
    assert any(s.scratch for s in before.gir.values())
    assert not any(s.scratch for s in after.gir.values())
    assert _traffic(after) < 0.6 * _traffic(before)
    assert after.performance.npu_us < before.performance.npu_us
    assert after.lir.sram_peak == after.lir.sram_lower_bound


@pytest.mark.parametrize(
    ("name", "target", "batch"),
    [
        ("resnet50", "warboy-2pe", 1),
        ("resnet50", "warboy", 8),
        ("ssd_mobilenet", "warboy-2pe", 1),
        ("ssd_mobilenet", "warboy", 8),
        ("ssd_resnet34", "warboy-2pe", 1),
        ("ssd_resnet34", "warboy", 1),
    ],
)
def test_near_the_bounds(name: str, target: str, batch: int) -> None:
    """The NPU takes at most a quarter more than its layers' bounds together."""
    model = build(name, "int8").SerializeToString(deterministic=True)
    performance = _compile(model, 1, batch, target).performance
    bounds = sum(max(x.compute_bound_us, x.memory_bound_us) for x in performance.layers)
    assert performance.npu_us <= 1.25 * bounds


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_same_bytes_every_time(level: int, tiny_model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    target = load_target("warboy")._replace(sram_bytes_per_slice=1024)
    monkeypatch.setattr(pipeline, "load_target", lambda name: target)
    a, b = (container.to_bytes(_compile(tiny_model, level, 4).enf) for _ in range(2))
    assert a == b
