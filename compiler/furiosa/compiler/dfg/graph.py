"""The graph of typed tensors and operators that the stages dfg, ldfg and cdfg share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from furiosa.compiler.selection import EVERYTHING, Selection

# The type of an operator that stands for several, which have to run together on the host: its body "function" has them.
HOST_REGION = "HostRegion"
MAX_KINDS = 3  # of operators that run together, those that are named


@dataclass(frozen=True, slots=True, eq=False)
class Quantization:
    """Affine quantisation, ``real = scale * (q - zero_point)``.

    ``scale`` float32 [1] (per tensor) or [C] (per channel along ``axis``); ``zero_point`` int32 of the same length.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None

    @property
    def per_channel(self) -> bool:
        return self.axis is not None


@dataclass(slots=True, eq=False)
class Tensor:
    """A typed edge of the graph; compared by identity.

    ``dtype`` is a numpy name ("float32", "int8", "bool", …), or the format's name for what numpy lacks ("bfloat16", "int4",
    "string", "sparse", …) and for what is no tensor ("sequence", "map", "optional"); ``shape`` is static, () is a scalar.
    ``data`` is set for constants: a read-only numpy array of that shape and dtype, a view of the model's bytes where possible;
    for a type that numpy lacks the stored bytes, uint8 [n].
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: np.ndarray | None = None

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def size(self) -> int:
        """The number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n


@dataclass(slots=True, eq=False)
class Operator:
    """One operator: ``op_type`` is the source format's own name ("Conv", "CONV_2D") or, from ldfg on, an ``npu.*`` name.

    ``inputs`` may hold None for an omitted optional input and end with the tensors that subgraphs of the operator capture;
    an omitted output is a tensor without a name.  ``attributes`` are plain Python values under the source
    format's names (ONNX attributes; TFLite builtin option fields in snake_case).  ``source`` is the frontend's own handle.
    ``bodies`` are the graphs that it runs inside of itself (a loop's, a branch's), by the name of their attribute: for what is
    counted there; a tensor of unknown shape has the shape None.
    """

    name: str
    op_type: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    attributes: dict[str, Any] = field(default_factory=dict)
    source: Any = None
    bodies: dict[str, Graph] | None = None

    @property
    def written_type(self) -> str:
        """The type for people: that of the model's own operators where several run together as one."""
        members = getattr(
            self.attributes.get("function"), "node", None
        )  # of ONNX, also where there is no body
        if self.op_type == HOST_REGION and not members:
            members = self.bodies["function"].operators if self.bodies else None
        if not members:
            return self.op_type
        kinds = list(dict.fromkeys(member.op_type for member in members))
        return " + ".join(kinds[:MAX_KINDS]) + (" + …" if len(kinds) > MAX_KINDS else "")


@dataclass(slots=True, eq=False)
class Graph:
    """A model: operators in topological order.

    ``format`` is "onnx" or "tflite"; ``source`` is the imported model that a frontend cuts host clusters from; ``selection`` is
    what was chosen of the file, as it was found there: shapes where a word of the user's makes them others, names at a cut.
    Outputs are called like their tensors, or as ``output_names`` say where one tensor is several outputs, or an input, too.
    ``samples`` has for each tensor that a batch size has made larger, by its name, the place of the samples in it: see
    furiosa.compiler.frontend.batch.Along.
    """

    format: str
    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    operators: list[Operator]
    source: Any = None
    selection: Selection = EVERYTHING
    output_names: list[str] | None = None
    samples: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def copy(self) -> Graph:
        """Operators and tensors of its own; data, attributes and sources are shared."""
        copies: dict[Tensor, Tensor] = {}

        def own(tensors: list[Tensor]) -> list[Tensor]:
            return [t if t is None else copies.get(t) or copies.setdefault(t, replace(t)) for t in tensors]

        operators = [replace(op, inputs=own(op.inputs), outputs=own(op.outputs)) for op in self.operators]
        return replace(self, inputs=own(self.inputs), outputs=own(self.outputs), operators=operators)
