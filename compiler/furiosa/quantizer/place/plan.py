"""What is to be written: units, the form of each, and the numbers of every quantised tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from furiosa.compiler import quantizable
from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.ldfg.verdict import Reason
from furiosa.quantizer.affine import FIXED, Affine, Range, affine
from furiosa.quantizer.place.units import Unit, is_activation


class Form(IntEnum):
    """How an operator is written, in the order in which the forms are tried."""

    PLAIN = 0  # between quantised tensors, other constants than weights as they are: a table may take them exactly
    CONSTANTS = 1  # and its constants quantised, too
    FLOAT = 2


@dataclass(slots=True)
class Plan:
    """What is written: the units, the form of each, and the numbers of each quantised tensor."""

    graph: Graph
    units: list[Unit]
    forms: dict[Unit, Form]
    ranges: Mapping[str, Range]
    excluded: set[Operator] = field(default_factory=set)
    fixed: Mapping[str, Range] = field(default_factory=dict)  # that win over all others
    unlike: Mapping[Operator, str] = field(
        default_factory=dict
    )  # what stays in float for quality's sake, and why
    types: Mapping[str, str] = field(default_factory=dict)  # of inputs and outputs that are integers
    reasons: dict[Operator, list[Reason]] = field(default_factory=dict)  # of operators that the NPU refuses

    def unit_of(self) -> dict[Operator, Unit]:
        """The unit of each operator that is quantised."""
        return {op: u for u in self.units if self.forms[u] != Form.FLOAT for op in u.operators}

    def affines(self) -> dict[Tensor, Affine]:
        """The numbers of each tensor at the border of a quantised unit."""
        unit_of = self.unit_of()
        border = self._border(unit_of)
        found: dict[Tensor, Affine] = {}
        for t in self.graph.inputs:
            if t in border:
                found[t] = self._of_range(t)
        for op in self.graph.operators:
            for y in op.outputs:
                if y in border:
                    found[y] = self._affine(op, y, found, op in unit_of)
        return found

    def _border(self, unit_of: dict[Operator, Unit]) -> set[Tensor]:
        border: set[Tensor] = set()
        for unit in dict.fromkeys(unit_of.values()):
            made = {t for op in unit.operators for t in op.outputs}
            border |= {t for op in unit.operators for t in op.inputs if is_activation(t) and t not in made}
        readers: dict[Tensor, set[Unit | None]] = {t: {None} for t in self.graph.outputs}
        for op in self.graph.operators:
            for t in op.inputs:
                if t is not None:
                    readers.setdefault(t, set()).add(unit_of.get(op))
        for op, unit in unit_of.items():
            border |= {t for t in op.outputs if is_activation(t) and readers.get(t, {None}) != {unit}}
        return border

    def _affine(self, op: Operator, y: Tensor, found: dict[Tensor, Affine], is_quantized: bool) -> Affine:
        if is_quantized and y.name not in self.fixed:
            if op.op_type in FIXED and not op.attributes.get("domain"):
                return FIXED[op.op_type]
            if op.op_type in quantizable.SHARING and op.inputs[0] in found:
                return found[op.inputs[0]]
        return self._of_range(y)

    def _of_range(self, t: Tensor) -> Affine:
        found = self.fixed.get(t.name) or self.ranges.get(t.name)
        if found is None:
            raise InvalidModel(
                f"there is no range for the tensor '{t.name}': calibrate the model as it is, by furiosa calibrate, or exclude what makes it"
            )
        return affine(found)
