"""A program of many host clusters: as few threads and as little memory as one of few."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.frontend.tflite import testing as tflite
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.pipeline import compile_model
from furiosa.enf import reader
from furiosa.runtime import host, session
from furiosa.runtime.host import MANY_CLUSTERS, threads_each, trial

SHAPE = (1, 3, 4, 4)
COUNT = MANY_CLUSTERS + 20
CPUS = 5  # what the tests make of this machine


def onnx_model(count: int) -> bytes:
    """``count`` times a Transpose, which the NPU does, and a ReverseSequence, which it does not."""
    nodes, value = [], "x"

    def quantised(op: str, name: str, inputs: list[str], **attributes: object) -> str:
        nodes.append(helper.make_node("DequantizeLinear", [value, "s", "z"], [f"{name}.r"]))
        nodes.append(helper.make_node(op, [f"{name}.r", *inputs], [f"{name}.f"], **attributes))
        nodes.append(helper.make_node("QuantizeLinear", [f"{name}.f", "s", "z"], [name]))
        return name

    for i in range(count):
        value = quantised("Transpose", f"t{i}", [], perm=[0, 1, 3, 2])
        value = quantised("ReverseSequence", f"r{i}", ["lens"], batch_axis=0, time_axis=1)
    constants = {"s": np.float32(0.1), "z": np.int8(0), "lens": np.array([3], np.int64)}
    graph = helper.make_graph(
        nodes,
        "alternating",
        [helper.make_tensor_value_info("x", TensorProto.INT8, SHAPE)],
        [helper.make_tensor_value_info(value, TensorProto.INT8, SHAPE)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def tflite_model(count: int) -> bytes:
    """``count`` times a TRANSPOSE and a SCATTER_ND that reverses the rows."""
    b = ModelBuilder()
    shape = [4, 4]
    x = value = b.tensor("x", shape, scale=0.1)
    perm, sizes = b.tensor("perm", [2], "int32", [1, 0]), b.tensor("sizes", [2], "int32", shape)
    places = b.tensor("places", [4, 1], "int32", [[3], [2], [1], [0]])
    for i in range(count):
        turned, scattered = b.tensor(f"t{i}", shape, scale=0.1), b.tensor(f"s{i}", shape, scale=0.1)
        b.operator("TRANSPOSE", [value, perm], [turned], options("TransposeOptions"))
        b.operator("SCATTER_ND", [places, turned, sizes], [scattered], options("ScatterNdOptions"))
        value = scattered
    return b.build([x], [value])


def onnx_numbers(model: bytes, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


MODELS = {
    "onnx": (onnx_model, SHAPE, onnx_numbers),
    "tflite": (tflite_model, (4, 4), lambda m, x: tflite.run(m, [x])[0]),
}


@cache
def compiled(kind: str) -> bytes:
    enf = compile_model(MODELS[kind][0](COUNT))
    assert sum(s.HasField("host_call") for s in reader.load(enf).plan.steps) == COUNT
    return enf


def threads_of(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


@pytest.fixture(autouse=True)
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "thread_count", lambda: CPUS)


@pytest.mark.parametrize("kind", MODELS)
def test_right_numbers_by_few_threads(kind: str) -> None:
    make, shape, reference = MODELS[kind]
    x = np.arange(np.prod(shape), dtype=np.int8).reshape(shape)
    enf = compiled(kind)
    before = threads_of()
    with session.create(enf) as s:
        for _ in range(2):
            np.testing.assert_array_equal(s.run(x)[0].numpy(), reference(make(COUNT), x))
        assert threads_of() < before + COUNT // 2


@pytest.mark.parametrize("kind", MODELS)
def test_a_process_of_their_own_has_few_threads_too(kind: str) -> None:
    _, shape, _ = MODELS[kind]
    with session.create(compiled(kind), host_process=True) as s:
        s.run(np.zeros(shape, np.int8))
        assert max(map(threads_of, children())) < COUNT // 2


def children() -> list[str]:
    pid = os.getpid()
    return [
        c
        for t in os.listdir("/proc/self/task")
        for c in Path(f"/proc/{pid}/task/{t}/children").read_text("ascii").split()
    ]


@pytest.mark.parametrize("kind", MODELS)
def test_a_trial_frees_each_before_the_next(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here each would have its threads, as many as a machine has CPUs."""
    monkeypatch.setattr(host, "MANY_CLUSTERS", COUNT)
    most, real = [0], trial._try

    def watched(*args: object) -> list[str]:
        said = real(*args)
        most[0] = max([most[0], *map(threads_of, children())])
        return said

    monkeypatch.setattr(trial, "_try", watched)
    assert trial.try_host_clusters(reader.load(compiled(kind))) == []
    assert 1 < most[0] < 4 * CPUS


def test_few_clusters_have_all_threads() -> None:
    assert [threads_each(n) for n in (1, MANY_CLUSTERS, MANY_CLUSTERS + 1)] == [CPUS, CPUS, 1]
