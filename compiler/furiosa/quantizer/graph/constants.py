"""Gives an operator constants of its own."""

from __future__ import annotations

import numpy as np
import onnx

from furiosa.compiler.dfg.graph import Operator, Tensor


def set_input(op: Operator, place: int, values: np.ndarray) -> None:
    """Makes float32 ``values`` an operator's weights (place 1) or bias (place 2), which it need not have had."""
    data = np.ascontiguousarray(values, dtype=np.float32)
    data.setflags(write=False)
    name = f"{op.name}/{'weight' if place == 1 else 'bias'}"
    source = onnx.NodeProto()
    source.CopyFrom(op.source)
    op.inputs = [*op.inputs, *[None] * (place + 1 - len(op.inputs))]
    source.input.extend([""] * (place + 1 - len(source.input)))
    source.input[place] = name
    op.source = source
    op.inputs[place] = Tensor(name, data.shape, "float32", data=data)
