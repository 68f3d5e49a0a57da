"""Stage dfg -> ldfg."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.ldfg import vendor
from furiosa.compiler.ldfg.compose import compose
from furiosa.compiler.ldfg.lowering import Lowering


def lower(graph: Graph, release: str = vendor.LATEST) -> Lowering:
    """Lowers every operator: to NPU operators, or to the host with all the reasons.

    The graph itself is not changed.  ``release`` names the vendor's table that counts, one of vendor.RELEASES.
    """
    lowering = Lowering(graph, release)
    if graph.format == "tflite":
        from furiosa.compiler.ldfg.tflite.lower import lower_tflite

        lower_tflite(lowering)
    else:
        from furiosa.compiler.ldfg.onnx.lower import lower_onnx

        lower_onnx(lowering)
    lowering.current = []
    for t in graph.outputs:
        lowering.host(t)
    compose(lowering)
    return lowering
