"""Stage dfg -> ldfg."""

from __future__ import annotations

from collections.abc import Callable

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.ldfg import vendor
from furiosa.compiler.ldfg.compose import compose
from furiosa.compiler.ldfg.lowering import Lowering


def lower(
    graph: Graph, release: str = vendor.LATEST, tell: Callable[[str], None] = lambda detail: None
) -> Lowering:
    """Lowers every operator: to NPU operators, or to the host with all the reasons.

    The graph itself is not changed: ``Lowering.graph`` is the one with what was found of its quantisation, and its operators and tensors
    are those that all later stages work on.  ``release`` names the vendor's table that counts, one of vendor.RELEASES; ``tell`` hears
    how far it is.
    """
    if graph.format == "tflite":
        from furiosa.compiler.ldfg.tflite.lower import lower_tflite

        lowering = lower_tflite(graph, release, tell)
    else:
        from furiosa.compiler.ldfg.onnx.lower import lower_onnx

        lowering = lower_onnx(graph, release, tell)
    lowering.current = []
    for t in lowering.graph.outputs:
        lowering.host(t)
    compose(lowering)
    return lowering
