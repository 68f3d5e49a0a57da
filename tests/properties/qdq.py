"""Builds QDQ models node by node, as exporters and quantisers write them, and compares what the compiler makes of them with onnxruntime.

net = Net()
x = net.pair(net.input([1, 8, 12, 12]), 0.05)
y = net.node("Conv", x, net.weights((16, 8, 3, 3)))
net.output(net.pair(y, 0.1))
check(net)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.runtime import session

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
MICROSOFT = "com.microsoft"
DTYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


class Net:
    """A model under construction; every method that adds a node returns the name of its result."""

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset, self.rng = opset, np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[str] = []

    def _name(self, kind: str) -> str:
        return f"{kind}{len(self.nodes) + len(self.constants) + len(self.inputs)}"

    def input(self, shape: Sequence[int], dtype: str = "float32") -> str:
        name = self._name("input")
        self.inputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], shape))
        return name

    def constant(self, value: object, dtype: str = "float32") -> str:
        """An initialiser of an array, a number or a list."""
        name = self._name("constant")
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        """A shape, axes, indices, …"""
        return self.constant(values, "int64")

    def normal(self, shape: Sequence[int], deviation: float = 0.3) -> str:
        """float32 weights."""
        return self.constant(self.rng.normal(0, deviation, shape))

    def several(
        self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: object
    ) -> list[str]:
        """A node with several results."""
        name = self._name(kind.lower() + "_")
        results = [f"{name}_{i}" for i in range(outputs)] if outputs > 1 else [name]
        self.nodes.append(helper.make_node(kind, inputs, results, name=name, domain=domain, **attributes))
        return results

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        return self.several(kind, *inputs, outputs=1, **attributes)[0]

    def q(self, x: str, scale: object, zero: object = 0, dtype: str = "int8", **attributes: object) -> str:
        return self.node("QuantizeLinear", x, *self._parameters(scale, zero, dtype), **attributes)

    def dq(self, x: str, scale: object, zero: object = 0, dtype: str = "int8", **attributes: object) -> str:
        return self.node("DequantizeLinear", x, *self._parameters(scale, zero, dtype), **attributes)

    def pair(self, x: str, scale: object, zero: object = 0, dtype: str = "int8", **attributes: object) -> str:
        """Quantised and dequantised again."""
        return self.dq(self.q(x, scale, zero, dtype, **attributes), scale, zero, dtype, **attributes)

    def _parameters(self, scale: object, zero: object, dtype: str) -> list[str]:
        zero = np.broadcast_to(zero, np.shape(scale))
        return [self.constant(scale), self.constant(zero, dtype)]

    def weights(
        self, shape: Sequence[int], axis: int | None = 0, deviation: float = 0.3, form: str = "constant"
    ) -> str:
        """Dequantised weights, int8 with zero point 0.

        Args:
            axis: along which there is a scale for each place; None for one scale.
            form: "constant", or "quantized" for float weights with a QuantizeLinear, or "clipped" with a Clip after that.
        """
        w = self.rng.normal(0, deviation, shape).astype(np.float32)
        others = tuple(i for i in range(len(shape)) if i != axis)
        scale = (np.abs(w).max(others if axis is not None else None) / 127).astype(np.float32)
        attributes = {} if axis is None else {"axis": axis}
        if form == "constant":
            per = (
                scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
                if axis is not None
                else scale
            )
            return self.dq(self.constant(np.rint(w / per), "int8"), scale, 0, **attributes)
        q = self.q(self.constant(w), scale, 0, **attributes)
        if form == "clipped":
            q = self.node("Clip", q, self.constant(-127, "int8"), self.constant(127, "int8"))
        return self.dq(q, scale, 0, **attributes)

    def output(self, *names: str) -> None:
        self.outputs += names

    def model(self) -> bytes:
        results = [onnx.ValueInfoProto(name=n) for n in self.outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, results, self.constants)
        domains = {node.domain for node in self.nodes if node.domain}
        opsets = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(d, 1) for d in sorted(domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if self.opset < 19 else 10)
        inferred = onnx.shape_inference.infer_shapes(_plain(model))
        types = {v.name: v.type for v in (*inferred.graph.value_info, *inferred.graph.output)}
        for value in model.graph.output:
            value.type.CopyFrom(types[value.name])
        return model.SerializeToString()


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """With onnxruntime's own QuantizeLinear and DequantizeLinear as those of the standard, whose shapes onnx infers."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if node.op_type in CONVERSIONS:
            node.domain = ""
    plain.opset_import[0].version = max(21, plain.opset_import[0].version)
    return plain


class Placed(NamedTuple):
    """What became of a model: the operators on the host but for conversions, all reasons, and the outputs of all runs."""

    on_host: list[str]
    reasons: dict[str, list[str]]
    outputs: list[list[np.ndarray]]


def inputs_of(model: bytes, seed: int) -> dict[str, np.ndarray]:
    """Normal numbers, or integers of the whole range."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for value in onnx.ModelProto.FromString(model).graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if dtype.kind == "f":
            arrays[value.name] = rng.normal(0, 1, shape).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            arrays[value.name] = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return arrays


class Refused(Exception):
    """onnxruntime does not load or run the model."""


def reference(model: bytes, inputs: dict[str, np.ndarray], optimized: bool = True) -> list[np.ndarray]:
    """onnxruntime's outputs, with int8 kernels and its default optimisation, but that two pairs in a row stay two; or with none.

    Raises:
        Refused: there are none.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.add_session_config_entry("session.disable_double_qdq_remover", "1")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session.run(None, inputs)
    except Exception as e:  # onnxruntime's errors have no common base
        raise Refused(str(e)) from e


def simulated(model: bytes, inputs: Sequence[dict[str, np.ndarray]]) -> Placed:
    """Compiles and runs a model, once for each of the inputs."""
    compilation = Compilation(model, Options()).run()
    verdicts = compilation.ldfg.verdicts.items()
    host = [(op, v) for op, v in verdicts if v.placed_on == "host"]
    with session.create(container.to_bytes(compilation.enf)) as sess:
        outputs = [[t.numpy() for t in sess.run(list(arrays.values()))] for arrays in inputs]
    return Placed(
        [op.op_type for op, _ in host if op.op_type not in CONVERSIONS],
        {op.name: [r.rule for r in v.reasons] for op, v in host},
        outputs,
    )


def check(net: Net, on_host: Sequence[str] = (), runs: int = 3, optimized: bool = True) -> Placed:
    """Asserts that the outputs are onnxruntime's, bit for bit, and that just these operators are on the host."""
    model = net.model()
    inputs = [inputs_of(model, seed) for seed in range(runs)]
    placed = simulated(model, inputs)
    assert placed.on_host == list(on_host), placed.reasons
    for arrays, actual in zip(inputs, placed.outputs):
        for a, e in zip(actual, reference(model, arrays, optimized), strict=True):
            assert (a.dtype, a.shape) == (e.dtype, e.shape)
            np.testing.assert_array_equal(a, e)
    return placed
