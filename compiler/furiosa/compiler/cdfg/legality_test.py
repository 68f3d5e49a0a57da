"""Each rule of the cdfg, broken."""

from __future__ import annotations

import pytest

from furiosa.compiler.cdfg.legality import check
from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.dfg.testing import Changes, assert_illegal
from furiosa.compiler.pipeline import Compilation, Options


@pytest.fixture
def compilation(quantized_model: bytes) -> Compilation:
    """An NPU cluster, then a host cluster."""
    return Compilation(quantized_model, Options()).run("cdfg")


def run(c: Compilation) -> None:
    check(c.ldfg.graph, c.cdfg)


def test_legal(compilation):
    run(compilation)


changes = Changes()


@changes
def empty(c: Compilation) -> None:
    c.cdfg[0].operators = []


@changes
def mixed(c: Compilation) -> None:
    c.cdfg[0].operators.append(c.cdfg[1].operators[0])


@changes
def wrong_kind(c: Compilation) -> None:
    c.cdfg[1].kind = "npu"


@changes
def same_kind_twice(c: Compilation) -> None:
    c.cdfg.insert(1, c.cdfg[0])


@changes
def order_of_clusters(c: Compilation) -> None:
    c.cdfg.reverse()


@changes
def order_of_operators(c: Compilation) -> None:
    c.cdfg[0].operators.reverse()


@changes
def input_left_out(c: Compilation) -> None:
    c.cdfg[1].inputs = []


@changes
def output_left_out(c: Compilation) -> None:
    c.cdfg[1].outputs = []


@changes
def output_not_made(c: Compilation) -> None:
    c.cdfg[0].outputs.append(Tensor("stranger", (), "int8"))


@changes
def cluster_left_out(c: Compilation) -> None:
    del c.cdfg[1]


@pytest.mark.parametrize("change", changes)
def test_illegal(compilation, change):
    assert_illegal("cdfg", compilation, change, run)
