"""Performance: no layer of any example or shared model is faster than its bounds, and the figures add up."""

from __future__ import annotations

import pytest
from generator.__main__ import build

from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container, reader
from furiosa.enf.performance import Performance, analyze_enf
from furiosa.enf.target import TARGETS, Target

SLACK = 1 + 1e-9  # sums of floating-point numbers


def _check(p: Performance, target: Target) -> None:
    for layer in p.layers:
        bound = max(layer.compute_bound_us, layer.memory_bound_us)
        assert 0 < bound <= layer.simulated_us * SLACK, layer
        assert layer.simulated_us <= p.npu_us * SLACK, layer
        assert 0 <= layer.utilization <= SLACK, layer
    assert sum(layer.busy_us for layer in p.layers) == pytest.approx(p.npu_us)
    assert sum(layer.dram_bytes_read for layer in p.layers) == p.dram_bytes_read
    assert sum(layer.dram_bytes_written for layer in p.layers) == p.dram_bytes_written
    assert p.latency_us == pytest.approx(p.npu_us + p.transfer_us + p.host_us + p.overhead_us)
    assert p.npu_us >= (p.dram_bytes_read + p.dram_bytes_written) / target.dram_bytes_per_s * 1e6 / SLACK


def _check_model(model: bytes, batch: int = 1) -> None:
    for name in TARGETS:
        c = Compilation(model, Options(name, batch)).run()
        _check(c.performance, c.target)
        enf = reader.load(container.to_bytes(c.enf))
        assert analyze_enf(enf) == c.performance, "compiler and tools have the same figures"
        assert enf.metadata.latency_us == pytest.approx(c.performance.latency_us, abs=1e-3)


def test_whole_models(whole_model: tuple[str, bytes]) -> None:
    _check_model(whole_model[1])


@pytest.mark.parametrize("batch", [1, 2])
def test_example_models(example_model: bytes, batch: int) -> None:
    _check_model(example_model, batch)


def test_a_float_model_runs_on_the_host() -> None:
    _check_model(build("tiny", "float32").SerializeToString(deterministic=True))
