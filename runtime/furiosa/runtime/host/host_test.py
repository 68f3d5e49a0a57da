"""Host clusters: the reference runtimes behind a plan, and what they must not be able to do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from furiosa.runtime import session
from furiosa.runtime.errors import ModelDeployFailed, ModelExecutionFailed
from furiosa.runtime.testing import own_path
from furiosa.runtime.testing.enf_files import descriptor, host_enf, onnx_model, tflite_softmax

_SHAPE = (2, 3)


def _onnx_enf(
    nodes: list, shape: tuple[int, ...] = _SHAPE, out: tuple[int, ...] = _SHAPE, dtype: str = "float32", **kw
) -> bytes:
    model = onnx_model(nodes, {"x": ("float32", shape)}, {"y": ("float32", None)}, **kw)
    return host_enf("onnx", model, [descriptor("x", "float32", shape)], [descriptor("y", dtype, out)])


def test_onnx_cluster_gives_what_onnxruntime_gives():
    x = np.random.default_rng(1).normal(size=_SHAPE).astype(np.float32)
    with session.create(_onnx_enf([("Exp", ["x"], ["y"], {})])) as s:
        for _ in range(2):  # the second run uses the executor of the first
            np.testing.assert_allclose(s.run(x)[0].numpy(), np.exp(x), rtol=1e-6)


def test_onnx_scalar_output():
    enf = _onnx_enf([("ReduceSum", ["x"], ["y"], {"keepdims": 0})], out=())
    with session.create(enf) as s:
        assert s.run(np.ones(_SHAPE, np.float32))[0].numpy() == np.float32(6)


def test_several_inputs_and_outputs_go_by_name():
    model = onnx_model(
        [("Sub", ["a", "b"], ["d"], {}), ("Neg", ["a"], ["n"], {})],
        {"a": ("float32", _SHAPE), "b": ("float32", _SHAPE)},
        {"d": ("float32", _SHAPE), "n": ("float32", _SHAPE)},
    )
    tensors = [descriptor(name, "float32", _SHAPE) for name in "band"]
    enf = host_enf("onnx", model, tensors[:2], tensors[2:])  # b, a -> n, d
    with session.create(enf) as s:
        a, b = np.full(_SHAPE, 5, np.float32), np.full(_SHAPE, 2, np.float32)
        n, d = s.run([b, a]).numpy()
        assert (n == -5).all() and (d == 3).all()
        d, n = s.run_with(["d", "n"], {"a": a, "b": b}).numpy()
        assert (n == -5).all() and (d == 3).all()


def test_tflite_cluster_gives_what_litert_gives():
    x = np.random.default_rng(2).integers(-128, 128, _SHAPE).astype(np.int8)
    enf = host_enf(
        "tflite", tflite_softmax(_SHAPE), [descriptor("a", "int8", _SHAPE)], [descriptor("b", "int8", _SHAPE)]
    )
    from ai_edge_litert.interpreter import Interpreter

    reference = Interpreter(model_content=tflite_softmax(_SHAPE))
    reference.allocate_tensors()
    reference.set_tensor(reference.get_input_details()[0]["index"], x)
    reference.invoke()
    with session.create(enf) as s:
        assert s.run(x)[0] == reference.get_tensor(reference.get_output_details()[0]["index"])


@pytest.mark.parametrize(
    ("out", "dtype"), [((3, 2), "float32"), (_SHAPE, "int32")], ids=["another shape", "another element type"]
)
def test_output_that_differs_from_the_file_is_refused(out, dtype):
    sentence = r"the file says .* the host model \(2, 3\) \(float32\)"
    enf = _onnx_enf([("Exp", ["x"], ["y"], {})], out=out, dtype=dtype)
    with session.create(enf) as s, pytest.raises(ModelExecutionFailed, match=sentence):
        s.run(np.zeros(_SHAPE, np.float32))


def test_tflite_output_that_differs_from_the_file_is_refused():
    enf = host_enf(
        "tflite", tflite_softmax(_SHAPE), [descriptor("a", "int8", _SHAPE)], [descriptor("b", "int8", (6,))]
    )
    with session.create(enf) as s, pytest.raises(ModelExecutionFailed, match="the file says"):
        s.run(np.zeros(_SHAPE, np.int8))


@pytest.mark.parametrize(
    ("model_format", "model"),
    [("onnx", b"no model"), ("onnx", b"no model\n\x08location"), ("tflite", b"no model")],
)
def test_bytes_that_are_no_model_are_refused(model_format, model):
    enf = host_enf(
        model_format, model, [descriptor("x", "float32", (1,))], [descriptor("y", "float32", (1,))]
    )
    with (
        session.create(enf) as s,
        pytest.raises(ModelDeployFailed, match="refuses the host model|is damaged"),
    ):
        s.run(np.zeros(1, np.float32))


def test_names_that_the_host_model_lacks_are_refused():
    model = onnx_model([("Exp", ["x"], ["y"], {})], {"x": ("float32", _SHAPE)}, {"y": ("float32", _SHAPE)})
    enf = host_enf("onnx", model, [descriptor("x", "float32", _SHAPE)], [descriptor("z", "float32", _SHAPE)])
    with session.create(enf) as s, pytest.raises(ModelDeployFailed, match="'z' is in only one"):
        s.run(np.zeros(_SHAPE, np.float32))


def test_a_host_model_cannot_read_other_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.arange(6, dtype=np.float32).tofile("secret.bin")
    enf = _onnx_enf([("Add", ["x", "w"], ["y"], {})], external={"w": ("secret.bin", _SHAPE)})
    with session.create(enf) as s, pytest.raises(ModelDeployFailed, match="outside the file"):
        s.run(np.zeros(_SHAPE, np.float32))


def test_a_tensor_may_be_named_location():
    model = onnx_model(
        [("Exp", ["location"], ["y"], {})], {"location": ("float32", _SHAPE)}, {"y": ("float32", _SHAPE)}
    )
    enf = host_enf(
        "onnx", model, [descriptor("location", "float32", _SHAPE)], [descriptor("y", "float32", _SHAPE)]
    )
    with session.create(enf) as s:
        assert s.run(np.zeros(_SHAPE, np.float32))[0] == np.ones(_SHAPE, np.float32)


def test_external_data_of_a_branch_are_found():
    import onnx
    from onnx import helper

    value = onnx.TensorProto(name="v", data_type=onnx.TensorProto.FLOAT, dims=[1], data_location=1)
    value.external_data.add(key="location", value="secret.bin")
    info = helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Constant", [], ["b"], value=value)], "branch", [], [info])
    model = onnx_model(
        [("If", ["x"], ["y"], {"then_branch": branch, "else_branch": branch})],
        {"x": ("bool", ())},
        {"y": ("float32", (1,))},
    )
    enf = host_enf("onnx", model, [descriptor("x", "bool", ())], [descriptor("y", "float32", (1,))])
    with session.create(enf) as s, pytest.raises(ModelDeployFailed, match="outside the file"):
        s.run(np.array(True))


def test_two_clusters_hand_a_tensor_on():
    from furiosa.enf import enf_pb2
    from furiosa.runtime.testing.enf_files import build, place

    x, t, y = (descriptor(name, "float32", _SHAPE) for name in "xty")
    place([x, t, y])
    first = onnx_model([("Neg", ["x"], ["t"], {})], {"x": ("float32", _SHAPE)}, {"t": ("float32", _SHAPE)})
    second = onnx_model([("Exp", ["t"], ["y"], {})], {"t": ("float32", _SHAPE)}, {"y": ("float32", _SHAPE)})
    calls = [
        enf_pb2.HostCall(format="onnx", offset=0, size=len(first), inputs=[x], outputs=[t]),
        enf_pb2.HostCall(format="onnx", offset=len(first), size=len(second), inputs=[t], outputs=[y]),
    ]
    steps = [enf_pb2.Step(host_call=c) for c in calls]
    with session.create(build([x], [y], steps, crossing=[t], host_models=first + second)) as s:
        value = np.ones(_SHAPE, np.float32)
        np.testing.assert_allclose(s.run(value)[0].numpy(), np.exp(-value), rtol=1e-6)


_LOUD = """
import os, sys, threading, time
import numpy as np
from furiosa.runtime import session

stop = threading.Event()
def chatter():
    while not stop.is_set():
        os.write(2, b"chatter\\n")
        counts[0] += 1
        time.sleep(0.0005)
counts = [0]
thread = threading.Thread(target=chatter, daemon=True)
thread.start()
for _ in range(3):
    with session.create(sys.argv[1]) as s:
        s.run(np.zeros((2, 3), np.int8))
stop.set(); thread.join()
print(counts[0])
"""


def test_runtimes_are_quiet_and_lose_nothing_of_other_threads(tmp_path):
    path = tmp_path / "host.enf"
    path.write_bytes(
        host_enf(
            "tflite",
            tflite_softmax(_SHAPE),
            [descriptor("a", "int8", _SHAPE)],
            [descriptor("b", "int8", _SHAPE)],
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", _LOUD, path], env=own_path(), capture_output=True, timeout=60, check=True
    )
    assert done.stderr == b"chatter\n" * int(done.stdout)


def test_a_failing_onnx_model_writes_nothing_to_stderr(capfd):
    with (
        session.create(_onnx_enf([("NoSuchOperator", ["x"], ["y"], {})])) as s,
        pytest.raises(ModelDeployFailed),
    ):
        s.run(np.zeros(_SHAPE, np.float32))
    assert capfd.readouterr().err == ""
