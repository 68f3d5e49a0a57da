"""The clustered graph (cdfg) in the language of Graphviz."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from furiosa.enf.dtypes import ITEMSIZE

if TYPE_CHECKING:
    from furiosa.compiler.cdfg.cluster import Cluster
    from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
    from furiosa.compiler.ldfg.verdict import Verdict

_COLOURS = {"npu": "#d5e8d4", "host": "#ffe6cc"}
_LONGEST = 60  # characters of a name in a label; the tooltip has all of it


def dot(graph: Graph, clusters: list[Cluster], verdicts: Mapping[Operator, Verdict] | None = None) -> str:
    """A digraph: a box for each operator, in a frame for each cluster; an edge for each use of a tensor, with its shape.

    What keeps an operator off the NPU is in its tooltip.
    """
    lines = [
        f"digraph {quote(graph.name or 'model')} {{",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
    ]
    maker: dict[Tensor, str] = {}
    for i, t in enumerate(graph.inputs):
        maker[t] = f"input{i}"
        lines.append(f"  input{i} [shape=ellipse, label={quote(_tensor(t))}];")
    edges = []
    number = 0
    for i, cluster in enumerate(clusters):
        count = len(cluster.operators)
        label = f"{i}: {cluster.kind}, {count} operator{'s' * (count != 1)}"
        lines.append(f"  subgraph cluster_{i} {{")
        lines.append(f"    label={quote(label)}; style=filled; fillcolor={quote(_COLOURS[cluster.kind])};")
        for op in cluster.operators:
            node = f"op{number}"
            number += 1
            lines.append(
                f"    {node} [label={quote(_operator(op))}, tooltip={quote(_tooltip(op, verdicts))}];"
            )
            edges += [(t, node) for t in dict.fromkeys(op.inputs) if t in maker]
            maker.update((t, node) for t in op.outputs)
        lines.append("  }")
    for i, t in enumerate(graph.outputs):
        lines.append(f"  output{i} [shape=ellipse, label={quote(_tensor(t))}];")
        edges += [(t, f"output{i}")] if t in maker else []
    lines += [f"  {maker[t]} -> {node} [label={quote(_shape(t))}];" for t, node in edges]
    return "\n".join([*lines, "}\n"])


def quote(text: str) -> str:
    """A DOT string; control characters become spaces."""
    clean = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _shape(t: Tensor) -> str:
    return f"{t.dtype}[{','.join(map(str, t.shape))}]"


def _tensor(t: Tensor) -> str:
    return f"{_short(t.name)}\n{_shape(t)}"


def _operator(op: Operator) -> str:
    constants = sum(t.size * ITEMSIZE.get(t.dtype, 1) for t in op.inputs if t is not None and t.is_constant)
    lines = [
        op.written_type,
        *([_short(op.name)] if op.name else []),
        *([f"{constants:,} B constant"] if constants else []),
    ]
    return "\n".join(lines)


def _tooltip(op: Operator, verdicts: Mapping[Operator, Verdict] | None) -> str:
    verdict = verdicts.get(op) if verdicts else None
    reasons = verdict.reasons if verdict else []
    return "\n".join([op.name, *(f"{r.rule}: found {r.actual}, allowed {r.allowed}" for r in reasons)])


def _short(name: str) -> str:
    line = name.replace("\n", " ")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
