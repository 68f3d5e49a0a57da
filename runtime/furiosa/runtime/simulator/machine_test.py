"""The simulated machine: memories, steps, commands on two threads, and failures that reach the caller."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

import numpy as np
import pytest

from furiosa.enf import enf_pb2, files, reader
from furiosa.enf.isa import BY_NAME, Command, Engine, Region, Space
from furiosa.runtime.errors import IncompatibleModel
from furiosa.runtime.simulator import machine
from furiosa.runtime.simulator.machine import Simulator
from furiosa.runtime.testing.enf_files import build, descriptor, place

ROWS, COLUMNS = 8, 64
NEGATE = np.arange(256, dtype=np.uint8)[::-1]  # y = -1 - x


def _program(*, steps: int = 1) -> reader.Enf:
    """y = table[table[x]], in one step or in two."""
    x, y = (descriptor(n, "int8", (1, 1, ROWS, COLUMNS)) for n in "xy")
    place([x, y])
    size = ROWS * COLUMNS
    shape, table = (1, 1, ROWS, COLUMNS), Region.dense(Space.SRAM, "uint8", 3 * size, (1, 256))

    def tile(space: int, address: int) -> Region:
        return Region.dense(space, "int8", address, shape)

    def command(name: str, engine: int, waits: tuple[int, ...], *operands: Region) -> Command:
        return Command(BY_NAME[name], engine, waits, operands, ())

    flat = (1, 1, 1, 256)
    source, copy = (Region.dense(s, "uint8", a, flat) for s, a in ((Space.CONST, 0), (Space.SRAM, 3 * size)))
    first, second, third = (tile(Space.SRAM, i * size) for i in range(3))
    commands = [
        command("LOAD", Engine.LOAD, (0, 0, 0), tile(Space.DRAM, x.address), first),
        command("LOAD", Engine.LOAD, (0, 0, 0), source, copy),
        command("TABLE_LOOKUP", Engine.PE, (2, 0, 0), first, table, second),
        command("TABLE_LOOKUP", Engine.PE, (2, 0, 0), second, table, third),
        command("STORE", Engine.STORE, (0, 0, 2), third, tile(Space.DRAM, y.address)),
    ]
    ranges = [(0, 5)] if steps == 1 else [(0, 3), (3, 2)]
    plan = [enf_pb2.Step(commands=enf_pb2.CommandRange(first=f, count=n)) for f, n in ranges]
    sram = [(0, size), (size, size), (2 * size, size), (3 * size, 256)]
    data = build([x], [y], plan, commands, sram, constants=NEGATE.tobytes(), target="warboy-2pe")
    return reader.load(data)


def _run(enf: reader.Enf, x: np.ndarray) -> np.ndarray:
    simulator = Simulator(enf)
    (source,), (result,) = enf.interface.inputs, enf.interface.outputs
    simulator.write(source.address, x)
    for step in enf.plan.steps:
        simulator.run(step.commands.first, step.commands.count)
    return simulator.read(result.address, "int8", tuple(result.shape)).copy()


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 128, (1, 1, ROWS, COLUMNS)).astype(np.int8)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("parallel_work", [0, 1 << 60])
def test_one_thread_and_two_give_the_same(
    steps: int, parallel_work: int, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PARALLEL_WORK", parallel_work)
    enf = _program(steps=steps)
    for _ in range(20):
        np.testing.assert_array_equal(_run(enf, x), x)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_of_either_half_reaches_the_caller_and_no_thread_stays(
    failing: int, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PARALLEL_WORK", 0)
    enf = _program()
    simulator = Simulator(enf)
    simulator.write(enf.interface.inputs[0].address, x)
    bind = simulator._bind

    def broken(command: Command) -> list[Callable[[], None]]:
        def fail() -> None:
            raise MemoryError("no memory left")

        parts = bind(command)
        if len(parts) > 1:
            parts[failing] = fail
        return parts

    monkeypatch.setattr(simulator, "_bind", broken)
    before = threading.active_count()
    with pytest.raises(MemoryError, match="no memory left"):
        simulator.run(0, len(enf.commands))
    assert threading.active_count() == before


@pytest.mark.parametrize("working", [1 << 62, 1 << 20])
def test_more_memory_than_the_machine_has(working: int, monkeypatch: pytest.MonkeyPatch) -> None:
    enf = _program()
    enf.metadata.working_dram_bytes = working
    monkeypatch.setattr(machine.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 255}.__getitem__)
    with pytest.raises(IncompatibleModel, match=f"needs {working} bytes .* this machine has 1044480 in all"):
        Simulator(enf)


def test_memory_that_the_machine_has_but_does_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(files.mmap, "mmap", refuse)
    with pytest.raises(MemoryError, match="64 bytes: Cannot allocate memory"):
        machine._working_memory(64)


def test_constants_cannot_be_written() -> None:
    enf = _program()
    simulator = Simulator(enf)
    view = simulator._view(Region.dense(Space.CONST, "uint8", 0, (256,)))
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_blas_gets_its_threads_back() -> None:
    from threadpoolctl import threadpool_info

    from furiosa.runtime.simulator.blas import single_threaded

    def threads() -> list[int]:
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    before = threads()
    with single_threaded(), single_threaded():
        assert set(threads()) == {1}
    assert threads() == before


def test_setup_runs_once_before_the_first_run():
    enf = _program()
    del enf.plan.steps[:]
    enf.plan.setup.count = 2
    enf.plan.steps.add(commands=enf_pb2.CommandRange(first=2, count=3))
    simulator = Simulator(enf)
    (source,), (result,) = enf.interface.inputs, enf.interface.outputs
    simulator.write(source.address, np.zeros(ROWS * COLUMNS, np.int8))
    simulator.run(2, 3)
    simulator.write(source.address, np.ones(ROWS * COLUMNS, np.int8))  # which nothing loads any more
    simulator.run(2, 3)
    assert not simulator.read(result.address, "int8", tuple(result.shape)).any()
