"""Measuring: errors of an inference end it, nobody is left waiting, and parts are told apart."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from furiosa.runtime import session
from furiosa.runtime.bench import measure
from furiosa.runtime.errors import ModelExecutionFailed
from furiosa.runtime.testing.enf_files import descriptor, host_enf, onnx_model, table_enf

X = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)


def on_the_host(op_type: str, **attributes: object) -> bytes:
    x, y = descriptor("x", "float32", (4,)), descriptor("y", "float32", (4,))
    nodes = [(op_type, ["x"], ["y"], attributes)]
    model = onnx_model(nodes, {"x": ("float32", ["n"])}, {"y": ("float32", None)})
    return host_enf("onnx", model, [x], [y])


def failing() -> bytes:
    x, y = descriptor("x", "float32", (4,)), descriptor("y", "float32", (4,))
    nodes = [("Constant", [], ["s"], {"value_ints": [3]}), ("Reshape", ["x", "s"], ["y"], {})]
    model = onnx_model(nodes, {"x": ("float32", ["n"])}, {"y": ("float32", None)})
    return host_enf("onnx", model, [x], [y])


def test_every_query_is_measured():
    with session.create(table_enf(), worker_num=2) as s:
        one = measure.latency(s, X, 10, 0)
        many = measure.throughput(s, X, 10, 0, 3)
    for m in (one, many):
        assert len(m.latencies_ns) == 10 and all(0 < t <= m.total_ns for t in m.latencies_ns)
    assert sum(one.latencies_ns) <= one.total_ns
    assert one.parts_ns["SimulateNpu"] <= one.parts_ns["Inference"] <= sum(one.latencies_ns)
    assert "HostCluster" not in one.parts_ns


def test_host_clusters_are_told_apart():
    with session.create(on_the_host("Neg")) as s:
        m = measure.latency(s, np.zeros(4, np.float32), 3, 0)
    assert 0 < m.parts_ns["HostCluster"] <= m.parts_ns["Inference"]
    assert "SimulateNpu" not in m.parts_ns


def test_no_more_queries_are_under_way_than_two_a_worker(monkeypatch):
    lock, waiting = threading.Lock(), {"now": 0, "most": 0}
    submit = measure.AsyncSession.submit

    with session.create(table_enf(), worker_num=2) as s:
        run = s.run

        def counted(inputs):
            with lock:
                waiting["now"] -= 1
            return run(inputs)

        def submitted(self, values, context=None):
            submit(self, values, context)
            with lock:
                waiting["now"] += 1
                waiting["most"] = max(waiting["most"], waiting["now"])

        monkeypatch.setattr(s, "run", counted)
        monkeypatch.setattr(measure.AsyncSession, "submit", submitted)
        measure.throughput(s, X, 200, 0, 1)
    assert waiting["now"] == 0 and 0 < waiting["most"] <= 4


@pytest.mark.parametrize("workload", ["L", "T"])
def test_an_inference_that_fails_ends_it(workload):
    before = threading.active_count()
    with session.create(failing(), worker_num=2) as s, pytest.raises(ModelExecutionFailed):
        if workload == "L":
            measure.latency(s, np.zeros(4, np.float32), 1000, 0)
        else:
            measure.throughput(s, np.zeros(4, np.float32), 1000, 0, 4)
    for thread in threading.enumerate():
        if thread.name.startswith("worker-"):
            thread.join(10)
    assert threading.active_count() <= before
