"""The graph for Graphviz."""

from __future__ import annotations

import re

import numpy as np
import pytest

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.report.dot import dot, quote


def test_clusters_operators_and_edges(quantized_model):
    c = Compilation(quantized_model, Options()).run("cdfg")
    text = dot(c.ldfg.graph, c.cdfg, c.ldfg.verdicts)
    assert text.count("subgraph cluster_") == len(c.cdfg) == 2
    assert '"0: npu, 5 operators"' in text and '"1: host, 2 operators"' in text
    nodes = re.findall(r"^ *(\w+) \[.*label=", text, re.MULTILINE)
    assert nodes == ["input0", *(f"op{i}" for i in range(7)), "output0"]
    edges = re.findall(r"^  (\w+) -> (\w+) \[label=\"(.*)\"\];$", text, re.MULTILINE)
    assert edges[0] == ("input0", "op0", "float32[1,3,8,8]")
    assert edges[-1] == ("op6", "output0", "float32[1,4,8,8]")
    assert len(edges) == 8
    (host,) = re.findall(r'tooltip="(sinh.*?)"', text)
    assert host.startswith("sinh\\noperator-table: found Sinh, allowed ")


def test_each_use_is_an_edge_and_constants_are_none():
    """One tensor read twice by one operator and once by another; a constant; an output that is an input; one omitted."""
    x, y, z = (Tensor(n, (2,), "int8") for n in "xyz")
    w = Tensor("w", (2,), "int8", data=np.zeros(2, np.int8))
    ops = [Operator("a", "npu.add", [x, x, None], [y]), Operator("b", "npu.add", [x, w], [z])]
    text = dot(Graph("onnx", "", [x], [y, z, x, w], ops), [Cluster("npu", ops, [x], [y, z])])
    assert re.findall(r"^  (\w+ -> \w+)", text, re.MULTILINE) == [
        "input0 -> op0",
        "input0 -> op1",
        "op0 -> output0",
        "op1 -> output1",
        "input0 -> output2",
    ]
    assert "2 B constant" in text and text.startswith('digraph "model" {')


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('a"b', r'"a\"b"'),
        ("a\\", r'"a\\"'),
        ("a\nb", r'"a\nb"'),
        ("a\0\x1bb", '"a  b"'),
        ("\\n", r'"\\n"'),
        ("é", '"é"'),
    ],
)
def test_quote(text, quoted):
    assert quote(text) == quoted


def test_names_cannot_break_out():
    x, y = Tensor('x"];', (1,), "int8"), Tensor("y", (1,), "int8")
    op = Operator('"]; evil [label="\n' + "n" * 100, "npu.add", [x], [y])
    text = dot(Graph("onnx", "g\\", [x], [y], [op]), [Cluster("npu", [op], [x], [y])])
    unquoted = re.sub(r'"(\\.|[^"\\])*"', "", text)
    assert '"' not in unquoted and "evil" not in unquoted
    assert "n" * 61 not in re.findall(r'label="(?:\\.|[^"\\])*"', text)[2]
