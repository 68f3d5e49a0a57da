"""Constants that stay in SRAM: which, where, and that runs read nothing else from DRAM than tensors."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.gir.residents import choose, spare
from furiosa.enf.target import load_target

TARGET = load_target("warboy")


def _chain(*layers: tuple[int, int]) -> Cluster:
    """Operators one after the other, of (pixels of the output, bytes of weights)."""
    x = Tensor("x", (1, 1, 1, 8), "int8")
    operators, inputs = [], [x]
    for i, (pixels, size) in enumerate(layers):
        data = np.full(size, i, np.int8)
        weight, y = Tensor(f"w{i}", (size,), "int8", data=data), Tensor(f"y{i}", (1, 1, pixels, 8), "int8")
        operators.append(Operator(f"op{i}", "npu.conv2d", [x, weight], [y]))
        x = y
    return Cluster("npu", operators, inputs, [x])


def _kept(c: Cluster, budget: int) -> list[str]:
    residents = choose([c], TARGET, ConstantPool(), budget)
    return [t.name for t in residents.holders]


def test_everything_stays_where_it_fits():
    c = _chain((4, 1000), (2, 70000))
    assert spare([c], TARGET) >= 71000
    assert _kept(c, spare([c], TARGET)) == ["w0", "w1"]


def test_tensors_go_before_constants():
    c = _chain((TARGET.sram_bytes // 8, 1000))
    assert spare([c], TARGET) == 0
    assert _kept(c, 0) == []


def test_what_is_used_least_stays_first():
    c = _chain((400, 5000), (2, 5000), (30, 5000), (2, 100))
    assert _kept(c, 5300) == ["w1", "w3"]
    assert _kept(c, 10500) == ["w1", "w2", "w3"]


def test_part_of_them_leaves_room_for_the_rest_to_stream_by():
    c = _chain(*[(8, 1 << 20)] * 40)
    budget = spare([c], TARGET)
    assert 0 < budget <= TARGET.sram_bytes - 2 * (1 << 20)
    assert len(_kept(c, budget)) == budget // ((1 << 20) + 64)


def test_neighbours_in_the_pool_are_loaded_together_and_equal_tables_once():
    c = _chain((4, 1000), (4, 1000), (1 << 20, 1000), (4, 1000))
    c.operators[3].inputs[1].data = c.operators[0].inputs[1].data
    pool = ConstantPool()
    residents = choose([c], TARGET, pool, 3400)
    (work,) = residents.works
    source, destination = work.operands
    assert (source.offset, source.shape) == (0, (1, 1, 1, 1024 + 1000)) and destination.buffer.is_resident
    offsets = {t.name: h.offset for t, h in residents.holders.items()}
    assert offsets == {"w0": 0, "w1": 1024, "w3": 0}
    assert residents.nbytes == 2048


@pytest.mark.parametrize("budget", [0, 999])
def test_nothing_fits(budget):
    residents = choose([_chain((4, 1000))], TARGET, ConstantPool(), budget)
    assert (residents.works, residents.holders, residents.nbytes) == ([], {}, 0)
