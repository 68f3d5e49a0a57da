"""Loads are placed ahead: as far as the PE needs, within SRAM, and never past what they depend on."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.gir.tile import Buffer, Stage, View, Work
from furiosa.compiler.gir.work import cycles, transfer, work
from furiosa.compiler.lir.allocate import peak_bytes
from furiosa.compiler.lir.prefetch import ahead
from furiosa.compiler.lir.segment import lifetimes, order
from furiosa.enf.isa import Engine, Space, dense_strides
from furiosa.enf.target import load_target

TARGET = load_target("warboy")
OP = Operator("op", "npu.copy", [], [])
SRAM = TARGET.sram_bytes


def _copy(source: Buffer, destination: Buffer) -> Work:
    shape = (1, 1, 1, min(source.size, destination.size))
    views = [View(b, "int8", 0, shape, dense_strides(shape, 1)) for b in (source, destination)]
    return work("COPY", Engine.PE, views, {}, OP)


def _load(source: Buffer, destination: Buffer) -> Work:
    return transfer("LOAD", Engine.LOAD, source, destination, destination.size, OP)


def _store(source: Buffer, destination: Buffer) -> Work:
    return transfer("STORE", Engine.STORE, source, destination, source.size, OP)


def _time(works: list[Work]) -> int:
    """Cycles if a load starts when those before it have ended and all commands before it in the list have started."""
    loaded: dict[Buffer, int] = {}
    load_end = pe_start = pe_end = 0
    for w in works:
        if w.engine == Engine.LOAD:
            load_end = max(load_end, pe_start) + cycles(w, TARGET)
            loaded[w.operands[1].buffer] = load_end
        elif w.engine == Engine.PE:
            pe_start = max(pe_end, max((loaded.get(v.buffer, 0) for v in w.operands), default=0))
            pe_end = pe_start + cycles(w, TARGET)
    return pe_end


def _weights_behind_work() -> list[Stage]:
    """Sixteen steps that need nothing, then one that needs eight large loads: what two steps ahead cannot hide."""
    constants, large = Buffer("constants", 1 << 24, Space.CONST), Buffer("large", 1 << 20, Space.SRAM)
    out = [Buffer(f"out{i}", 1 << 20, Space.SRAM) for i in range(17)]
    stages = [Stage(computes=[_copy(large, out[i])]) for i in range(16)]
    tiles = [Buffer(f"tile{i}", 1 << 19, Space.SRAM) for i in range(8)]
    last = Stage(loads=[_load(constants, t) for t in tiles])
    last.computes = [_copy(t, out[16]) for t in tiles]
    return [*stages, last]


def test_loads_run_beside_the_work_before() -> None:
    stages = _weights_behind_work()
    near, far = order(stages), ahead(stages, TARGET, SRAM)
    work_alone = sum(cycles(w, TARGET) for w in far if w.engine == Engine.PE)
    assert _time(far) == work_alone < _time(near)


def test_no_further_ahead_than_needed() -> None:
    """The first of the steps runs before the first load is due."""
    far = ahead(_weights_behind_work(), TARGET, SRAM)
    assert far[0].engine == Engine.PE and any(w.engine == Engine.LOAD for w in far[:17])


def test_no_further_ahead_than_there_is_room() -> None:
    stages = _weights_behind_work()
    tight = peak_bytes(lifetimes(order(stages)))[0]
    assert peak_bytes(lifetimes(ahead(stages, TARGET, tight)))[0] <= tight


def test_behind_the_store_of_what_is_loaded() -> None:
    spilled = Buffer("spilled", 4096, Space.DRAM)
    a, b, c, d = (Buffer(n, 4096, Space.SRAM) for n in "abcd")
    stages = [
        Stage(computes=[_copy(a, b)], stores=[_store(b, spilled)]),
        Stage(computes=[_copy(a, c)]),
        Stage(loads=[_load(spilled, d)], computes=[_copy(d, c)]),
    ]
    names = [w.instruction for w in ahead(stages, TARGET, SRAM)]
    assert names.index("STORE") < names.index("LOAD")


def test_stores_run_beside_the_work_behind() -> None:
    """A late store stands behind as much work as it takes itself, and what is stored keeps its place until then."""
    dram = Buffer("out", 1 << 24, Space.DRAM)
    tiles = [Buffer(f"tile{i}", 1 << 19, Space.SRAM) for i in range(8)]
    stages = [Stage(computes=[_copy(tiles[0], t)], stores=[_store(t, dram)]) for t in tiles[1:]]
    for late in (False, True):
        works = ahead(stages, TARGET, SRAM, late=late)
        lives = {x.buffer: (x.first, x.last) for x in lifetimes(works)}
        pairs = list(pairwise(tiles[1:]))
        assert all((lives[a][1] > lives[b][0]) == late for a, b in pairs)
    behind = works[works.index(stages[0].computes[0]) + 1 : works.index(stages[0].stores[0])]
    assert sum(cycles(w, TARGET) for w in behind) >= cycles(stages[0].stores[0], TARGET)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    """Every load stays in the loads' order, before its first use and behind earlier work on the same buffers."""
    rng = random.Random(seed)
    dram = [Buffer(f"dram{i}", 1 << 16, Space.DRAM) for i in range(3)]
    sram = [Buffer(f"sram{i}", rng.choice([64, 4096, 60000]), Space.SRAM) for i in range(12)]
    stages = []
    for _ in range(rng.randint(1, 30)):
        loads = [_load(rng.choice(dram), rng.choice(sram)) for _ in range(rng.randint(0, 2))]
        stores = [_store(rng.choice(sram), rng.choice(dram)) for _ in range(rng.randint(0, 1))]
        stages.append(Stage(loads, [_copy(*rng.sample(sram, 2))], stores))
    before = [w for s in stages for w in (*s.loads, *s.computes, *s.stores)]
    after = ahead(stages, TARGET, rng.choice([SRAM, 1 << 17]), late=seed % 2 == 0)
    assert sorted(map(id, before)) == sorted(map(id, after))
    place = {id(w): i for i, w in enumerate(after)}
    for i, w in enumerate(before):
        for earlier in before[:i]:
            written = {earlier.operands[-1].buffer, w.operands[-1].buffer}
            shared = {v.buffer for v in earlier.operands} & {v.buffer for v in w.operands} & written
            if shared or earlier.engine == w.engine:
                assert place[id(earlier)] < place[id(w)]
