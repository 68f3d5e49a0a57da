"""Files that are made to cost much: what they may take is bounded, and they come to an end.

Nothing is timed here; what was quadratic would not end within a test's time limit.
"""

from __future__ import annotations

import pytest

from furiosa.enf import codec, container, coverage, enf_pb2, hazards, reader
from furiosa.enf.errors import EnfError, EnfFormatError, EnfVerifyError
from furiosa.enf.machine import Engine
from furiosa.enf.testing.programs import Program, command, dram, ranged, sram

LOAD, STORE, PE = range(Engine.COUNT)
MANY = 20_000


def test_a_million_buffers():
    """All of them born at once, from the last address to the first, as it costs most to keep them in order."""
    p = Program()
    p.add("FILL", PE, sram(0, 1, 1, 1, 1))
    messages = p.messages()
    n = 1_000_000
    messages["memory"] = enf_pb2.MemoryPlan(
        sram_address=range(n, 0, -1), sram_size=[1] * n, sram_first=[0] * n, sram_last=[0] * n
    )
    p.messages = lambda: messages
    data = p.to_bytes()
    assert len(data) < reader.MAX_MESSAGE
    with pytest.raises(
        EnfVerifyError, match=f"more than {hazards.MAX_LIVE} buffers of SRAM live at the same time"
    ):
        reader.load(data)


def test_many_buffers_one_after_the_other():
    """Every command has a buffer of its own at another place: nothing is left out of the past, and it stays short."""
    p = Program()
    for i in range(MANY):
        p.add("FILL", PE, sram(3 * (i * 7919 % MANY), 1, 1, 1, 2))
        p.sram.append((3 * (i * 7919 % MANY), 2, i, i))
    assert len(p.load().commands) == MANY


def test_many_accesses_of_one_buffer():
    """Single bytes, written by one engine and read by another, each as far apart as the buffer allows."""
    p = Program()
    size = MANY // 2
    p.sram, p.dram = [(0, size, 0, MANY - 1)], [(0, size)]
    for i in range(size):
        p.add("FILL", PE, sram(i * 7919 % size, 1, 1, 1, 1))
    for i in range(size):
        p.add("STORE", STORE, sram(i, 1, 1, 1, 1), dram(i, 1, 1, 1, 1), waits=(0, 0, size))
    assert len(p.load().commands) == MANY


def test_many_strided_writes_cannot_cost_more_than_they_may():
    """A thousand patterns that no two have in common, and as many reads that only a map of the buffer could decide."""
    p = Program()
    size = 32 << 20
    p.sram = [(0, size - 64, 0, 1999), (size - 64, 64, 0, 1999)]
    for i in range(1000):
        p.add("FILL", PE, sram(i * 9, 1, 1, 1000, 1, strides=(0, 0, 30000 + i, 1)))
    for i in range(1000):
        shape = (1, 1, 1, 1, 1, 2)
        p.add(
            "COPY",
            PE,
            sram(i * 9, *shape, strides=(0, 0, 0, 0, 0, 2 * (30000 + i))),
            sram(size - 64, *shape),
        )
    with pytest.raises(EnfVerifyError, match="too scattered"):
        p.load()


def test_a_map_of_16_gigabytes_is_never_made():
    p = Program()
    size = (1 << 34) - 64
    p.dram = [(0, size)]
    p.sram = [(0, 64, 0, 2)]
    p.add("FILL", PE, sram(0, 1, 1, 1, 64))
    p.add("STORE", STORE, sram(0, 1, 1, 2, 1), dram(0, 1, 1, 2, 1), waits=(0, 0, 1))
    store = p.commands[-1].operands[1]
    store.strides = (0, 0, 1 << 30, 1)
    p.add("LOAD", LOAD, dram(0, 1, 1, 1, 2), sram(0, 1, 1, 1, 2), waits=(0, 1, 0))
    assert size > coverage.MAX_MAPPED
    with pytest.raises(EnfVerifyError, match="too scattered"):
        p.load()


def test_many_commands():
    """As many as a file of some size may hold; they are not decoded beyond the limit."""
    record = codec.encode([command("FILL", PE, sram(0, 1, 1, 1, 1))])
    p = Program()
    p.sram = [(0, 1, 0, 5 * MANY - 1)]
    p.steps = [ranged(0, 5 * MANY)]
    assert (
        len(reader.load(container.to_bytes(p.sections() | {"code": record * 5 * MANY})).commands) == 5 * MANY
    )


def test_too_many_commands(monkeypatch):
    monkeypatch.setattr(codec, "MAX_COMMANDS", MANY)
    record = codec.encode([command("FILL", PE, sram(0, 1, 1, 1, 1))])
    with pytest.raises(EnfFormatError, match="more than 20000 commands"):
        reader.load(container.to_bytes(Program().sections() | {"code": record * 100_000}))


def test_many_empty_steps_and_tensors():
    """Two bytes each in the file: the largest section of them is refused by its size, a smaller one by its content."""
    p = Program()
    steps = b"\x0a\x00" * 1_000_000
    with pytest.raises(EnfVerifyError, match="step 0 of the plan is empty"):
        reader.load(container.to_bytes(p.sections() | {"plan": steps}))
    with pytest.raises(EnfFormatError, match="more than 16777216"):
        reader.load(container.to_bytes(p.sections() | {"plan": steps * 9}))
    with pytest.raises(EnfError):
        reader.load(container.to_bytes(p.sections() | {"interface": steps}))


def test_steps_that_run_nothing():
    p = Program()
    p.steps = [ranged(0, 0)] * 200_000
    assert len(p.load().plan.steps) == 200_000


def test_a_shape_of_a_million_dimensions():
    p = Program()
    tensor = enf_pb2.TensorDescriptor(shape=[1] * 1_000_000)
    p.inputs = [tensor]
    with pytest.raises(EnfVerifyError, match="rank"):
        p.load()
