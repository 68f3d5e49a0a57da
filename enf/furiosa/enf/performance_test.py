"""The analysis of a program: what is counted where, and that it adds up."""

from __future__ import annotations

import pytest

from furiosa.enf import timing
from furiosa.enf.enf_pb2 import DebugMap, HostCall, Step
from furiosa.enf.machine import Engine
from furiosa.enf.performance import analyze, analyze_enf
from furiosa.enf.target import load_target
from furiosa.enf.testing.programs import Program, const, dram, lookup, ranged, sram, tensor

LOAD, STORE, PE = range(Engine.COUNT)
SIZE = 1 << 16


def _program() -> Program:
    """Two loads of constants, then: load x, look it up in a table, store y."""
    p = Program()
    p.constants = bytes(SIZE + 256)
    p.inputs, p.outputs = [tensor("x", 0, SIZE)], [tensor("y", SIZE, SIZE)]
    p.dram = [(0, SIZE), (SIZE, SIZE)]
    p.sram = [(i * SIZE, SIZE) for i in range(4)]
    p.sram = [(at, size, 0, 4) for at, size in p.sram]
    table, unused = sram(2 * SIZE, 1, 256, dtype="uint8"), sram(3 * SIZE, 1, 1, 1, SIZE)
    p.add("LOAD", LOAD, const(SIZE, 1, 1, 1, 256), sram(2 * SIZE, 1, 1, 1, 256))
    p.add("LOAD", LOAD, const(0, 1, 1, 1, SIZE), unused)
    x, y = sram(0, 1, 1, 1, SIZE), sram(SIZE, 1, 1, 1, SIZE)
    p.add("LOAD", LOAD, dram(0, 1, 1, 1, SIZE), x)
    p.add("TABLE_LOOKUP", PE, x, table, y, waits=(3, 0, 0))
    p.add("STORE", STORE, y, dram(SIZE, 1, 1, 1, SIZE), waits=(0, 0, 1))
    p.debug = DebugMap(command_operator=[1, 1, 0, 0, 2])
    for name in ("a", "b", "c", "unused"):
        p.debug.operators.add(name=name, op_type=name.upper(), placed_on="npu", macs=1000)
    return p


def test_it_adds_up():
    enf = _program().load()
    p = analyze_enf(enf)
    assert p.latency_us == pytest.approx(p.npu_us + p.transfer_us + p.host_us + p.overhead_us)
    assert sum(layer.busy_us for layer in p.layers) == pytest.approx(p.npu_us)
    assert (p.dram_bytes_read, p.dram_bytes_written) == (2 * SIZE + 256, SIZE)
    assert sum(layer.dram_bytes_read for layer in p.layers) == p.dram_bytes_read
    assert [layer.name for layer in p.layers] == ["a", "b", "c"], "debug order; without commands no layer"
    assert [layer.op_type for layer in p.layers] == ["A", "B", "C"]
    assert p.transfer_us == pytest.approx(2 * timing.transfer_us(enf.target, SIZE))
    assert p.npu_us == pytest.approx(p.spans[-1].end / enf.target.clock_hz * 1e6)
    assert p.setup_us == p.host_us == 0
    assert [(layer.commands, len(layer.waste)) for layer in p.layers] == [(1, 1), (0, 0), (0, 0)]
    assert p.layers[0].waste[0].startswith("starting 1 command takes 5.")


def test_no_layer_beats_its_bounds():
    for layer in analyze_enf(_program().load()).layers:
        assert max(layer.compute_bound_us, layer.memory_bound_us) <= layer.simulated_us * (1 + 1e-9)
        assert 0 <= layer.utilization <= 1


def test_what_no_step_names_is_setup():
    p = _program()
    whole = analyze_enf(p.load())
    target = load_target("warboy-2pe")
    parts = p.messages()
    steady = analyze(
        p.commands, [ranged(2, 3)], parts["debug"], parts["interface"], parts["metadata"], target
    )
    assert steady.dram_bytes_read == SIZE and steady.setup_us > 0
    assert steady.npu_us < whole.npu_us
    assert [s.end <= 0 for s in steady.spans] == [True, True, False, False, False]
    assert [layer.name for layer in steady.layers] == ["a", "c"]


def test_two_programs_for_one_pe_share_the_card():
    p = _program()
    fused = analyze_enf(p.load())
    p.target = "warboy"
    single = analyze_enf(p.load())
    over_pcie = timing.transfer_us(load_target("warboy"), SIZE)  # each way, and both ways at once
    assert fused.throughput_per_s == pytest.approx(1e6 / max(fused.npu_us, over_pcie))
    traffic = single.dram_bytes_read + single.dram_bytes_written
    in_dram = traffic / load_target("warboy").dram_bytes_per_s * 1e6
    assert single.throughput_per_s == pytest.approx(1e6 / max(single.npu_us / 2, in_dram, over_pcie))


def test_samples_are_counted_not_runs():
    p = lookup()
    one = analyze_enf(p.load())
    p.metadata["batch_size"] = 4
    assert analyze_enf(p.load()).throughput_per_s == pytest.approx(4 * one.throughput_per_s)


def test_a_tensor_between_host_clusters_does_not_cross():
    """x goes to the host, what that makes to the NPU, and the NPU's result back to the user."""
    p = _program()
    made = tensor("made", 0, SIZE)
    p.inputs = [tensor("x", 2 * SIZE, SIZE), tensor("unread", 3 * SIZE, SIZE)]
    p.dram += [(2 * SIZE, SIZE), (3 * SIZE, SIZE)]
    call = HostCall(format="onnx", size=1, inputs=[p.inputs[0]], outputs=[made], estimated_us=7.5)
    p.host_models = b"x"
    p.steps = [Step(host_call=call), ranged(0, 5)]
    enf = p.load()
    result = analyze_enf(enf)
    assert result.host_us == 7.5
    assert result.transfer_us == pytest.approx(2 * timing.transfer_us(enf.target, SIZE))


def test_a_program_without_commands():
    p = Program()
    p.inputs = p.outputs = [tensor("x", 0, 64)]
    p.dram = [(0, 64)]
    p.steps = []
    result = analyze_enf(p.load())
    assert (result.latency_us, result.throughput_per_s, result.layers) == (0, 0, [])
