"""What a cdfg must be.

- A cluster has operators, all of its own kind, and its neighbours are of the other kind.
- A cluster's operators read what it takes in, constants, or what an earlier one of them made.
- A cluster takes in what the model takes in or an earlier cluster gives out.
- A cluster gives out only what it makes, and the clusters together give out all that the model does.
"""

from __future__ import annotations

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.dfg.legality import Illegal, check_order


def check(graph: Graph, clusters: list[Cluster]) -> None:
    """Checks the rules above.

    Raises:
        Illegal: a rule is broken.
    """
    given = set(graph.inputs)
    before = None
    for i, c in enumerate(clusters):
        kinds = {"npu" if op.op_type.startswith("npu.") else "host" for op in c.operators}
        if kinds != {c.kind} or c.kind == before:
            raise Illegal(
                "cdfg", f"cluster {i} of kind {c.kind} has operators of {sorted(kinds)} and follows {before}"
            )
        before = c.kind
        for t in c.inputs:
            if t not in given:
                raise Illegal("cdfg", f"cluster {i} takes in '{t.name}', which nothing before gives out")
        check_order("cdfg", c.inputs, c.operators, ())
        made = {t for op in c.operators for t in op.outputs}
        for t in c.outputs:
            if t not in made:
                raise Illegal("cdfg", f"cluster {i} gives out '{t.name}', which it does not make")
        given.update(c.outputs)
    for t in graph.outputs:
        if t.data is None and t not in given:
            raise Illegal("cdfg", f"no cluster gives out the model's output '{t.name}'")
