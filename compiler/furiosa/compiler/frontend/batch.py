"""Applies a batch size to an imported graph: dimension 0 of every input and output is multiplied.

An operator keeps samples apart if its result for a batch is the results of its samples one after another along one
dimension, the same for all its inputs after broadcasting.  That dimension is 0 at the borders of the model; in between it
moves as operators move it (a Transpose to time-major order, the heads of an attention layer).  Each frontend has a table of
rules, one for every operator type of which that can be shown; a rule says where its outputs have the samples.  An operator
without a rule, or whose rule says no, makes the batch size impossible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidModel

MAX_TENSOR_BYTES = 2**31 - 1

# Operators of one value that may run once more on a repeated constant: a constant is often stored quantised.
_OF_CONSTANTS = {"Cast", "DequantizeLinear", "QuantizeLinear", "CAST", "DEQUANTIZE", "QUANTIZE"}


class Mixed(Exception):
    """Why an operator cannot keep samples apart: a clause that follows its name."""


class Batch:
    """The batch size, and which tensors grow with it.  Shapes are still those of one sample while rules run."""

    def __init__(self, size: int, graph: Graph) -> None:
        self.size = size
        self.tensors: dict[int, tuple[Tensor, int]] = {}
        self.operators: list[Operator] = []  # in order, with those that `repeat` adds
        self._producers = {id(t): op for op in graph.operators for t in op.outputs}

    def __contains__(self, tensor: Tensor | None) -> bool:
        return id(tensor) in self.tensors

    def axis(self, tensor: Tensor) -> int:
        """The dimension along which a tensor has its samples."""
        return self.tensors[id(tensor)][1]

    def add(self, tensor: Tensor, axis: int) -> None:
        self.tensors[id(tensor)] = tensor, axis

    def change(self, op: Operator, position: int, data: np.ndarray) -> None:
        """Gives an operator a constant of its own in place of one that others may share."""
        op.inputs[position] = self._constant(op, op.inputs[position], data)

    def repeat(self, op: Operator, position: int, axis: int) -> None:
        """Repeats an input that is the same for all samples along ``axis``, once for every sample.

        Raises:
            Mixed: it is not constant, or would be too large.
        """
        op.inputs[position] = self._repeated(op, op.inputs[position], axis)

    def _constant(self, op: Operator, old: Tensor, data: np.ndarray) -> Tensor:
        data = np.ascontiguousarray(data, dtype=old.data.dtype)
        data.flags.writeable = False
        return Tensor(self._name(old.name, op), data.shape, old.dtype, old.quantization, data)

    def _name(self, name: str, op: Operator) -> str:
        return f"{name}:batch{self.size}:{op.name}"

    def _repeated(self, op: Operator, tensor: Tensor, axis: int) -> Tensor:
        producer = self._producers.get(id(tensor))
        if (
            producer is not None
            and producer.op_type in _OF_CONSTANTS
            and not any(t in self for t in producer.inputs)
            and producer.inputs[0].shape == tensor.shape
        ):
            if any(t is not None and t.size > 1 for t in producer.inputs[1:]):
                raise Mixed(f'joins "{tensor.name}", which has several scales')
            shape = (*tensor.shape[:axis], tensor.shape[axis] * self.size, *tensor.shape[axis + 1 :])
            copy = Tensor(self._name(tensor.name, op), shape, tensor.dtype, tensor.quantization)
            inputs = [self._repeated(op, producer.inputs[0], axis), *producer.inputs[1:]]
            name = self._name(producer.name, op)
            self.operators.append(
                Operator(name, producer.op_type, inputs, [copy], dict(producer.attributes), producer.source)
            )
            return copy
        if not tensor.is_constant or tensor.data.shape != tensor.shape:
            raise Mixed(f'joins "{tensor.name}", which is the same for all samples and not constant')
        if tensor.quantization is not None and tensor.quantization.axis == axis:
            raise Mixed(f'joins "{tensor.name}", which has several scales')
        if tensor.data.nbytes * self.size > MAX_TENSOR_BYTES:
            raise Mixed(f'would need "{tensor.name}" repeated to more than 2 GiB')
        return self._constant(op, tensor, np.concatenate([tensor.data] * self.size, axis))


Rule = Callable[[Operator, Batch], int | Sequence[int]]
"""Gives the dimension of the samples in the outputs (of each, if it is a sequence); may change the operator's constants
and attributes; raises Mixed."""


def apply_batch(graph: Graph, size: int, rules: dict[str, Rule]) -> None:
    """Multiplies dimension 0 of every input and output, and of what lies between the dimension that has the samples.

    Raises:
        InvalidModel: an input has no dimension 0, or an operator mixes samples.
    """
    batch = Batch(size, graph)

    def refuse(tensor: Tensor, why: str, hint: str = "export the model with this batch size") -> InvalidModel:
        return InvalidModel(
            f'batch size {size} is impossible for the tensor "{tensor.name}": {why}; use batch size 1 or {hint}'
        )

    for tensor in graph.inputs:
        if not tensor.shape:
            raise refuse(tensor, "the input is a scalar", "give the input a first dimension for the batch")
        batch.add(tensor, 0)
    for op in graph.operators:
        if any(t in batch for t in op.inputs):
            where = f'operator "{op.name}" ({op.op_type})'
            if op.op_type not in rules:
                raise refuse(op.outputs[0], f"{where} is not known to keep the samples of a batch apart")
            try:
                axes = rules[op.op_type](op, batch)
            except Mixed as e:
                raise refuse(op.outputs[0], f"{where} {e}") from None
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                raise refuse(
                    op.outputs[0], f"{where} does not have the inputs and attributes of its type"
                ) from None
            axes = [axes] * len(op.outputs) if isinstance(axes, int) else axes
            for tensor, axis in zip(op.outputs, axes, strict=True):
                if tensor.name and axis >= len(tensor.shape):
                    raise refuse(tensor, f"{where} leaves no dimension for the samples")
                if tensor.quantization is not None and tensor.quantization.axis == axis:
                    raise refuse(
                        tensor, f"it has several scales along dimension {axis}, which has the samples"
                    )
                batch.add(tensor, axis)
        batch.operators.append(op)
    graph.operators = batch.operators
    for i, tensor in enumerate(graph.outputs):
        if tensor not in batch:
            graph.outputs[i] = _repeated(tensor, size)
            if graph.outputs[i] is None:
                raise refuse(tensor, "the output does not depend on the inputs")
        elif batch.axis(tensor) != 0:
            raise refuse(
                tensor,
                f"the output has the samples along dimension {batch.axis(tensor)}",
                "export the model with the batch as dimension 0 of its outputs",
            )
    for tensor, axis in batch.tensors.values():
        if not tensor.name and not tensor.shape:  # an output that is left out
            continue
        tensor.shape = (*tensor.shape[:axis], tensor.shape[axis] * size, *tensor.shape[axis + 1 :])
        if math.prod(d or 1 for d in tensor.shape) > MAX_TENSOR_BYTES:
            shape = list(tensor.shape)
            raise refuse(tensor, f"its shape would be {shape}, beyond 2 GiB", "a smaller one")


def _repeated(tensor: Tensor, size: int) -> Tensor | None:
    """A constant that is an output of the model, repeated along dimension 0; None where that cannot be."""
    data = tensor.data
    if data is None or data.shape != tensor.shape or not data.shape or data.nbytes * size > MAX_TENSOR_BYTES:
        return None
    data = np.concatenate([data] * size)
    data.flags.writeable = False
    return Tensor(tensor.name, data.shape, tensor.dtype, tensor.quantization, data)
