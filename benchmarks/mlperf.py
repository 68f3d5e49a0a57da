"""The published points that the timing model is calibrated with, and the networks as the submission compiled them.

Figures: MLPerf Inference Edge v2.0 and v1.1, closed division, one Warboy (mlperf_log_summary.txt of each scenario).  No other measurement of the
chip is used here.
"""

from __future__ import annotations

from typing import NamedTuple

import onnx
from generator.__main__ import build
from onnx import helper, shape_inference

HEADS = [f"{kind}{i}" for kind in ("boxes", "scores") for i in range(6)]
OUTPUTS = {"resnet50": ["logits"], "ssd_mobilenet": HEADS, "ssd_resnet34": HEADS}
NAMES = {"resnet50": "ResNet50", "ssd_mobilenet": "SSD-MobileNet", "ssd_resnet34": "SSD-ResNet34"}


class Point(NamedTuple):
    """A published figure: microseconds of one run (single stream, mean) or samples a second (offline)."""

    network: str
    scenario: str
    target: str
    batch: int
    measured: float
    older: float  # the same of v1.1: an older SDK on the same silicon


SINGLE, OFFLINE = "SingleStream", "Offline"
POINTS = (
    Point("resnet50", SINGLE, "warboy-2pe", 1, 711.853, 738.488),
    Point("ssd_mobilenet", SINGLE, "warboy-2pe", 1, 362.108, 412.657),
    Point("ssd_resnet34", SINGLE, "warboy-2pe", 1, 13356.643, 13541.251),
    Point("resnet50", OFFLINE, "warboy", 8, 2758.44, 2634.18),
    Point("ssd_mobilenet", OFFLINE, "warboy", 8, 8762.15, 4122.14),
    Point("ssd_resnet34", OFFLINE, "warboy-2pe", 1, 79.9162, 73.8514),
)


# MultiStream, v2.0: mean microseconds for eight samples; how they were spread over the card is not published, so they are not fitted.
# (SSD-ResNet34's figure is inferred from single stream.)
MULTI_STREAM = {"resnet50": 3910.937, "ssd_mobilenet": 1900.634}
SPREADS = (
    ("batch 1, four runs in a row on each PE", "warboy", 1, 4),
    ("batch 2, two runs in a row on each PE", "warboy", 2, 2),
    ("batch 4 on each PE", "warboy", 4, 1),
    ("batch 1, eight runs in a row on both PEs, fused", "warboy-2pe", 1, 8),
    ("batch 8 on both PEs, fused", "warboy-2pe", 8, 1),
)


def networks() -> dict[str, bytes]:
    """The three networks as ONNX files, by name."""
    return {name: _submitted(build(name, "int8"), outputs) for name, outputs in OUTPUTS.items()}


def _submitted(model: onnx.ModelProto, outputs: list[str]) -> bytes:
    """The model with an int8 input and int8 outputs, both channels last, that ends where the submission's graph does."""
    shapes = {v.name: _shape(v) for v in shape_inference.infer_shapes(model).graph.value_info}
    graph = model.graph
    types = {i.name: i.data_type for i in graph.initializer}
    makers = {y: node for node in graph.node for y in node.output}
    (given,) = graph.input
    (quantize,) = (node for node in graph.node if given.name in node.input)
    n, c, h, w = _shape(given)
    lowered = helper.make_tensor_value_info("lowered", types[quantize.input[2]], [n, h, w, c])
    first = quantize.output[0]
    makers[first] = helper.make_node("Transpose", [lowered.name], [first], perm=[0, 3, 1, 2])
    wanted = []
    for name in outputs:
        y = f"{name}/quantized"
        shape, dtype = shapes[y], types[makers[y].input[2]]
        if len(shape) == 4:
            last = f"{name}/lowered"
            makers[last] = helper.make_node("Transpose", [y], [last], perm=[0, 2, 3, 1])
            y, shape = last, [shape[0], shape[2], shape[3], shape[1]]
        wanted.append(helper.make_tensor_value_info(y, dtype, shape))
    nodes: dict[int, onnx.NodeProto] = {}

    def visit(y: str) -> None:
        node = makers.get(y)
        if node is not None and id(node) not in nodes:
            for x in node.input:
                visit(x)
            nodes[id(node)] = node

    for y in wanted:
        visit(y.name)
    used = {x for node in nodes.values() for x in node.input}
    constants = [i for i in graph.initializer if i.name in used]
    new = helper.make_graph(list(nodes.values()), graph.name, [lowered], wanted, constants)
    whole = helper.make_model(new, opset_imports=model.opset_import, ir_version=model.ir_version)
    return whole.SerializeToString()


def _shape(v: onnx.ValueInfoProto) -> list[int]:
    return [d.dim_value for d in v.type.tensor_type.shape.dim]
