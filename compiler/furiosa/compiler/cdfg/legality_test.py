"""Each rule of the cdfg, broken."""

from __future__ import annotations

import pytest

from furiosa.compiler.cdfg.legality import check
from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.dfg.legality import Illegal
from furiosa.compiler.pipeline import Compilation, Options


@pytest.fixture
def compilation(quantized_model: bytes) -> Compilation:
    """An NPU cluster, then a host cluster."""
    return Compilation(quantized_model, Options()).run("cdfg")


def test_legal(compilation):
    check(compilation.dfg, compilation.cdfg)


def empty(c: Compilation) -> None:
    c.cdfg[0].operators = []


def mixed(c: Compilation) -> None:
    c.cdfg[0].operators.append(c.cdfg[1].operators[0])


def wrong_kind(c: Compilation) -> None:
    c.cdfg[1].kind = "npu"


def same_kind_twice(c: Compilation) -> None:
    c.cdfg.insert(1, c.cdfg[0])


def order_of_clusters(c: Compilation) -> None:
    c.cdfg.reverse()


def order_of_operators(c: Compilation) -> None:
    c.cdfg[0].operators.reverse()


def input_left_out(c: Compilation) -> None:
    c.cdfg[1].inputs = []


def output_left_out(c: Compilation) -> None:
    c.cdfg[1].outputs = []


def output_not_made(c: Compilation) -> None:
    c.cdfg[0].outputs.append(Tensor("stranger", (), "int8"))


def cluster_left_out(c: Compilation) -> None:
    del c.cdfg[1]


CHANGES = [
    empty,
    mixed,
    wrong_kind,
    same_kind_twice,
    order_of_clusters,
    order_of_operators,
    input_left_out,
    output_left_out,
    output_not_made,
    cluster_left_out,
]


@pytest.mark.parametrize("change", CHANGES)
def test_illegal(compilation, change):
    change(compilation)
    with pytest.raises(Illegal, match="illegal cdfg"):
        check(compilation.dfg, compilation.cdfg)
