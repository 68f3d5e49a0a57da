"""The figures of one point, and which point is best."""

from __future__ import annotations

import pytest

from furiosa.compiler.errors import OutOfSram
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.tune.point import best, failed, measure
from furiosa.compiler.tune.testing import point
from furiosa.enf import container, reader
from furiosa.enf.isa import Engine


@pytest.mark.parametrize("batch_size", [1, 6])
def test_a_point_has_the_figures_of_the_program(quantized_model, batch_size):
    c = Compilation(quantized_model, Options("warboy", batch_size)).run()
    p = measure(c)
    enf = reader.load(container.to_bytes(c.enf))
    assert (p.target_npu, p.batch_size, p.outcome, p.message) == ("warboy", batch_size, "ok", "")
    assert p.latency_us == enf.metadata.latency_us
    assert (p.sram_peak_bytes, p.dram_bytes) == (enf.metadata.sram_peak_bytes, enf.metadata.dram_bytes)
    moved = sum(x.operands[0].nbytes for x in enf.commands if x.engine in (Engine.LOAD, Engine.STORE))
    assert 0 <= p.weight_bytes <= p.traffic_bytes <= moved and p.traffic_bytes > 0
    assert p.traffic_bytes_per_sample == round(p.traffic_bytes / batch_size, 3)
    assert p.spilled_bytes == p.host_memory_bytes == 0
    assert p.row()["traffic_bytes_per_sample"] == p.traffic_bytes_per_sample


def test_what_limits_the_throughput(quantized_model, float_model):
    assert measure(Compilation(float_model, Options()).run("lir")).bound_by == "host"
    c = Compilation(quantized_model, Options("warboy", 4)).run("lir")
    fast = {"clock_hz": 10**15, "dram_bytes_per_s": 10**18, "pcie_bytes_per_s": 10**18}
    for slow, name in (("clock_hz", "NPU"), ("dram_bytes_per_s", "DRAM"), ("pcie_bytes_per_s", "PCIe")):
        c = Compilation(quantized_model, Options("warboy", 4))
        c.target = c.target._replace(**fast | {slow: 10**6})
        assert measure(c.run("lir")).bound_by == name


def test_spilled_tensors(quantized_model):
    """A target whose SRAM holds hardly more than a tile."""
    whole = measure(Compilation(quantized_model, Options("warboy", 64)).run("lir"))
    c = Compilation(quantized_model, Options("warboy", 64))
    c.target = c.target._replace(sram_bytes_per_slice=(8 << 10) // c.target.slices)
    small = measure(c.run("lir"))
    assert whole.spilled_bytes == 0 < small.spilled_bytes
    assert whole.weight_bytes == 0 < small.weight_bytes, "the weights stay in SRAM where it has room for them"
    assert small.traffic_bytes >= whole.traffic_bytes + 2 * small.spilled_bytes
    assert small.dram_bytes >= whole.dram_bytes + small.spilled_bytes


def test_the_best_point():
    assert best([]) is None
    assert best([failed("warboy", 1, OutOfSram("too large"))]) is None
    a, b, c = point(1, 10.0), point(2, 30.0), point(4, 30.0)
    assert best([a, b, c]) is b, "of equals the smaller batch"
    assert best([a, b, point(4, 30.3), point(8, 30.1)]) is b, "what the model cannot tell apart is equal"
    assert best([a, b, d := point(4, 30.4)]) is d
    beyond = point(2, 90.0, fits_dram=False)
    assert best([a, beyond]) is a, "within DRAM"
    assert best([point(1, 10.0, fits_dram=False), beyond]) is beyond


@pytest.mark.parametrize(("target", "programs"), [("warboy", 2), ("warboy-2pe", 1)])
def test_dram_holds_a_program_for_each_pe(quantized_model, target, programs):
    need = measure(Compilation(quantized_model, Options(target)).run("lir")).dram_bytes

    def with_dram(dram_bytes):
        c = Compilation(quantized_model, Options(target))
        c.target = c.target._replace(dram_bytes=dram_bytes)
        return measure(c.run("lir"))

    assert with_dram(programs * need).fits_dram and not with_dram(programs * need - 1).fits_dram
    assert with_dram(need).host_memory_bytes == 0
    assert with_dram(need - 5).host_memory_bytes == 5


def test_a_point_that_failed():
    p = failed("warboy", 3, OutOfSram("operator 'a' does not fit"))
    assert (p.outcome, p.message, p.throughput_per_s) == ("out-of-sram", "operator 'a' does not fit", 0.0)
    assert failed("warboy", 3, MemoryError()).message == "MemoryError"
