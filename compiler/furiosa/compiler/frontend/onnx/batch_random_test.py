"""Random chains of operators that move dimensions about: a batch equals its single runs, or is refused."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx.extract import extract
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import run

BATCH = 3


class Chain:
    """A chain under construction; its tensors are small, with the batch of 1 as dimension 0 of the first."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shape = [1, *self.rng.choice([1, 2, 3, 4], self.rng.integers(1, 4)).tolist()]
        self.x, self.name = list(self.shape), "x"
        self.kept = {tuple(self.shape): "x"}  # tensors by shape, to be joined again

    def constant(self, value: object) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def real(self, *shape: int) -> str:
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def add(self, op: str, inputs: list[str], shape: list[int], **attributes: object) -> None:
        self.name, self.shape = f"t{len(self.nodes)}", list(shape)
        self.nodes.append(helper.make_node(op, inputs, [self.name], **attributes))
        self.kept[tuple(shape)] = self.name

    def transpose(self) -> None:
        perm = self.rng.permutation(len(self.shape)).tolist()
        self.add("Transpose", [self.name], [self.shape[p] for p in perm], perm=perm)

    def reshape(self, shape: list[int] | None = None) -> None:
        if shape is None:  # dimensions joined, one divided, ones put in between
            shape = list(self.shape)
            for _ in range(self.rng.integers(1, 3)):
                if len(shape) > 1 and self.rng.random() < 0.6:
                    i = int(self.rng.integers(len(shape) - 1))
                    shape[i : i + 2] = [shape[i] * shape[i + 1]]
                else:
                    i = int(self.rng.integers(len(shape)))
                    divisors = [d for d in range(1, shape[i] + 1) if shape[i] % d == 0]
                    d = int(self.rng.choice(divisors))
                    shape[i : i + 1] = [d, shape[i] // d]
        self.add("Reshape", [self.name, self.constant(np.array(shape, np.int64))], shape)

    def flatten(self) -> None:
        axis = int(self.rng.integers(len(self.shape) + 1))
        self.add(
            "Flatten", [self.name], [math.prod(self.shape[:axis]), math.prod(self.shape[axis:])], axis=axis
        )

    def elementwise(self) -> None:
        other = [
            d if self.rng.random() < 0.5 else 1 for d in self.shape[self.rng.integers(len(self.shape)) :]
        ]
        self.add("Mul", [self.name, self.real(*other)], self.shape)

    def matmul(self) -> None:
        columns = int(self.rng.integers(1, 5))
        if len(self.shape) == 2 and self.rng.random() < 0.5:
            transposed = int(self.rng.random() < 0.3)
            rows = self.shape[::-1] if transposed else self.shape
            inputs = [
                self.name,
                self.real(rows[1], columns),
                self.real(*([rows[0], columns] if transposed else [columns])),
            ]
            self.add("Gemm", inputs, [rows[0], columns], transA=transposed)
        elif len(self.shape) > 1:
            self.add("MatMul", [self.name, self.real(self.shape[-1], columns)], [*self.shape[:-1], columns])

    def along(self) -> None:
        axis = int(self.rng.integers(len(self.shape)))
        if self.rng.random() < 0.5:
            self.add("Softmax", [self.name], self.shape, axis=axis)
        else:
            shape = [1 if i == axis else d for i, d in enumerate(self.shape)]
            self.add("ReduceMean", [self.name], shape, axes=[axis])

    def gather(self) -> None:
        axis = int(self.rng.integers(len(self.shape)))
        size = self.shape[axis]
        indices = self.rng.integers(-size, size, self.rng.integers(1, 4, self.rng.integers(1, 3)))
        shape = [*self.shape[:axis], *indices.shape, *self.shape[axis + 1 :]]
        self.add("Gather", [self.name, self.constant(indices)], shape, axis=axis)

    def join(self) -> None:
        """With a constant, or with an earlier tensor of the same shape."""
        axis = int(self.rng.integers(len(self.shape)))
        other = self.kept.get(tuple(self.shape), "") if self.rng.random() < 0.5 else self.real(*self.shape)
        if self.rng.random() < 0.5:
            shape = [2 * d if i == axis else d for i, d in enumerate(self.shape)]
            self.add("Concat", [self.name, other], shape, axis=axis)
        else:
            self.add("Add", [self.name, other], self.shape)

    def build(self) -> bytes:
        steps = [self.transpose, self.reshape, self.reshape, self.flatten, self.elementwise, self.matmul]
        steps += [self.along, self.gather, self.join]
        for _ in range(self.rng.integers(3, 9)):
            if math.prod(self.shape) < 500:
                steps[self.rng.integers(len(steps))]()
        # back to samples along dimension 0, in one of the ways that there may be
        count = math.prod(self.shape)
        if self.rng.random() < 0.5:
            self.transpose()
        self.reshape([1, count])
        made = helper.make_tensor_value_info(self.name, 1, self.shape)
        graph = helper.make_graph(
            self.nodes, "chain", [helper.make_tensor_value_info("x", 1, self.x)], [made], self.constants
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.mark.parametrize("block", range(8))
def test_a_batch_equals_its_single_runs_or_is_refused(block: int) -> None:
    accepted = 0
    for seed in range(100 * block, 100 * block + 100):
        chain = Chain(seed)
        data = chain.build()
        try:
            graph = import_onnx(data, batch_size=BATCH)
        except InvalidModel as e:
            assert "batch size 3 is impossible" in str(e)
            continue
        accepted += 1
        samples = [chain.rng.standard_normal(chain.x).astype(np.float32) for _ in range(BATCH)]
        expected = np.concatenate([run(data, {"x": x})[0] for x in samples])
        (actual,) = run(
            extract(graph, graph.operators, graph.inputs, graph.outputs), {"x": np.concatenate(samples)}
        )
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-5, err_msg=f"seed {seed}")
    assert accepted > 20
