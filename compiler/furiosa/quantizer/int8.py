"""A float graph and its calibration to an int8 model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.errors import InvalidConfig
from furiosa.compiler.selection import listed
from furiosa.quantizer.calibrate.methods import DEFAULT_PERCENTAGE, METHODS, choose
from furiosa.quantizer.calibrate.ranges import Calibration, digest
from furiosa.quantizer.place.decide import plan
from furiosa.quantizer.place.plan import Plan
from furiosa.quantizer.place.write import write

DEFAULT_METHOD = "min-max"


@dataclass(frozen=True, slots=True)
class Quantized:
    """``model``: the bytes of an ONNX model with QuantizeLinear and DequantizeLinear; ``plan``: what it has where."""

    model: bytes
    plan: Plan


def quantize(
    graph: Graph,
    calibration: Calibration,
    *,
    method: str = DEFAULT_METHOD,
    percentage: float = DEFAULT_PERCENTAGE,
    exclude: Iterable[str] = (),
    types: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Quantized:
    """Quantises a clean graph (graph.load); the model is not run, so another method takes seconds.

    Args:
        graph: the graph that was calibrated.
        calibration: counts of its tensors' values.
        method: one of calibrate.methods.METHODS.
        percentage: of 100 values those that lie within the range, above 0 and up to 100; for the percentile methods.
        exclude: names or types of operators that stay in float.
        types: "int8" or "uint8" for inputs and outputs that are integers, by name, with the scale that the tensor has.
        tell: hears how far it is.

    Raises:
        InvalidConfig: an unknown method or exclusion, or a calibration of another model.
    """
    check_method(method, percentage)
    if digest(graph) != calibration.model:
        raise InvalidConfig(
            "the calibration is of another model, of other shapes, or of another version of the quantizer: calibrate again"
        )
    ranges = {}
    for i, (name, histogram) in enumerate(calibration.tensors.items()):
        tell(f"range {i + 1} of {len(calibration.tensors)}")
        ranges[name] = choose(method, histogram, percentage)
    made = plan(graph, ranges, exclude=exclude, types=types, tell=tell)
    return Quantized(write(made), made)


def check_method(method: str, percentage: float) -> None:
    """Checks what a user chose.

    Raises:
        InvalidConfig: an unknown method, or a percentage that is none.
    """
    if method not in METHODS:
        raise InvalidConfig(f"unknown method {method!r}, known: {listed(METHODS)}")
    if not 0 < percentage <= 100:
        raise InvalidConfig(f"the percentage {percentage:g} is not above 0 and up to 100")
