"""Sessions: what they take, what they refuse, several threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from furiosa.runtime import errors, session
from furiosa.runtime import workers as workers_of_sessions
from furiosa.runtime.tensor import TensorArray
from furiosa.runtime.testing import own_path
from furiosa.runtime.testing.enf_files import build, descriptor, table_enf

SHAPE = (1, 1, 1, 64)
X = np.arange(64, dtype=np.int8).reshape(SHAPE)


@pytest.fixture(autouse=True)
def no_wish_in_the_environment(monkeypatch):
    for name in ("FURIOSA_DEVICES", "NPU_DEVNAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sess():
    with session.create(table_enf()) as s:
        yield s


@pytest.mark.parametrize(
    "form", [lambda s: X, lambda s: [X], lambda s: (X,), lambda s: _filled(s.create_inputs())]
)
def test_run_takes_an_array_a_list_or_a_tensor_array(sess, form):
    outputs = sess.run(form(sess))
    assert isinstance(outputs, TensorArray) and outputs[0] == -1 - X


def _filled(array: TensorArray) -> TensorArray:
    array[0] = X
    return array


def test_a_view_that_is_not_dense_is_fine(sess):
    wide = np.zeros((1, 1, 1, 128), np.int8)
    wide[..., ::2] = X
    assert sess.run(wide[..., ::2])[0] == -1 - X


def test_outputs_outlive_the_next_run(sess):
    first = sess.run(X)
    sess.run(X[..., ::-1])
    assert first[0] == -1 - X


def test_run_with_names(sess):
    assert sess.run_with(["y", "y"], {"x": X}).numpy()[1].tolist() == (-1 - X).tolist()


@pytest.mark.parametrize("where", ["str", "Path", "bytes", "bytearray", "__bytes__"])
def test_create_takes_paths_and_bytes(tmp_path, where):
    class Holder:
        def __bytes__(self):
            return table_enf()

    path = tmp_path / "model.bin"  # known by content, not by name
    path.write_bytes(table_enf())
    model = {
        "str": str(path),
        "Path": path,
        "bytes": table_enf(),
        "bytearray": bytearray(table_enf()),
        "__bytes__": Holder(),
    }
    with session.create(model[where]) as s:
        assert s.run(X)[0] == -1 - X


@pytest.mark.parametrize("model", [None, 3, 1.5, ["model.enf"]])
def test_create_refuses_other_types(model):
    with pytest.raises(TypeError, match="a path or bytes is expected"):
        session.create(model)


def test_the_model_part(sess):
    assert (sess.input_num, sess.output_num) == (1, 1)
    assert sess.input(0) == sess.inputs()[0] and sess.output(0).name == "y"
    assert sess.input(0).quantization_parameter == (0.5, -3)
    for index in (-1, 1):
        with pytest.raises(IndexError):
            sess.input(index)
        with pytest.raises(IndexError):
            sess.output(index)
    assert sess.create_outputs()[0] == np.zeros(SHAPE, np.int8)
    assert [t.desc.name for t in sess.allocate_tensors(["y", "x"])] == ["y", "x"]
    with pytest.raises(errors.TensorNameNotFound):
        sess.create_tensors(["z"])


def test_summary(sess, capsys):
    sess.print_summary()
    assert capsys.readouterr().out == (
        "Inputs:\n"
        '{0: TensorDesc(name="x", shape=(1, 1, 1, 64), dtype=INT8, format=NCHW, size=64, len=64)}\n'
        "Outputs:\n"
        '{0: TensorDesc(name="y", shape=(1, 1, 1, 64), dtype=INT8, format=NCHW, size=64, len=64)}\n'
        "Device:\n"
        "NPU simulator (warboy); no NPU hardware is used\n"
    )


@pytest.mark.parametrize(
    ("inputs", "error", "sentence"),
    [
        ([], errors.InvalidInput, "1 tensors are expected, but 0 are given (native error code: 7)"),
        ([X, X], errors.InvalidInput, "1 tensors are expected, but 2 are given"),
        (X[0], errors.InvalidInput, "input 0 'x': expected (1, 1, 1, 64) (int8) but got (1, 1, 64) (int8)"),
        (
            X.astype(np.float32),
            errors.InvalidInput,
            "expected (1, 1, 1, 64) (int8) but got (1, 1, 1, 64) (float32)",
        ),
        (np.int8(3), errors.InvalidInput, "but got () (int8)"),
        (X.astype(np.longdouble), errors.UnsupportedTensorType, "float128"),
        (X.astype(">i4"), errors.UnsupportedTensorType, ">i4"),
        (np.array([object()]), errors.UnsupportedTensorType, "object"),
        ([[1, 2]], errors.UnsupportedTensorType, "not list"),
        ({"x": X}, errors.UnsupportedTensorType, "not dict"),
        (None, errors.UnsupportedTensorType, "not NoneType"),
    ],
)
def test_inputs_that_do_not_fit(sess, inputs, error, sentence):
    with pytest.raises(error) as e:
        sess.run(inputs)
    assert sentence in str(e.value)


@pytest.mark.parametrize(
    ("outputs", "inputs", "sentence"),
    [
        (None, {"x": X}, "outputs must not be None"),
        (["y"], {}, "'x' is missing"),
        (["z"], {"x": X}, "Tensor 'z' not found in model"),
        (["y"], {"x": X, "z": X}, "Tensor 'z' not found in model"),
        (["y"], {"x": X[0]}, "expected (1, 1, 1, 64)"),
    ],
)
def test_names_that_do_not_fit(sess, outputs, inputs, sentence):
    with pytest.raises(errors.InvalidInput) as e:
        sess.run_with(outputs, inputs)
    assert sentence in str(e.value)


def test_a_closed_session_says_so():
    s = session.create(table_enf())
    s.close()
    s.close()
    with pytest.raises(errors.SessionClosed):
        s.run(X)
    with pytest.raises(errors.SessionClosed), session.create(table_enf()) as s:
        s.__exit__(None, None, None)
        s.run_with(["y"], {"x": X})


def test_devices():
    one, two = table_enf(target="warboy"), table_enf(target="warboy-2pe")
    for model, device in [(one, None), (two, None), (one, "npu0pe1"), (one, "warboy*1"), (two, "npu0pe0-1")]:
        with session.create(model, device) as s:
            assert s.run(X)[0] == -1 - X
    for model, device, target in [(one, "npu0pe0-1", "warboy-2pe"), (two, "npu:0:0", "warboy")]:
        with pytest.raises(errors.IncompatibleModel) as e:
            session.create(model, device)
        assert device in str(e.value) and f"compiled for {'warboy' if model is one else 'warboy-2pe'}" in str(
            e.value
        )
        assert target in str(e.value)


def test_device_of_the_environment(monkeypatch):
    monkeypatch.setenv("NPU_DEVNAME", "npu0pe0-1")
    with pytest.raises(errors.IncompatibleModel, match="NPU_DEVNAME says 'npu0pe0-1'"):
        session.create(table_enf(target="warboy"))
    session.create(table_enf(target="warboy"), "npu0pe0").close()


def test_batch_size_must_be_that_of_the_enf():
    assert session.create(table_enf(batch_size=2), batch_size=2).batch_size == 2
    with pytest.raises(errors.IncompatibleModel, match="batch size 2, but batch_size is 1"):
        session.create(table_enf(batch_size=2), batch_size=1)


@pytest.mark.parametrize("option", ["worker_num", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 1.0, "1", True])
def test_counts_are_whole_numbers_of_at_least_one(option, value):
    with pytest.raises(errors.InvalidSessionOption, match=option):
        session.create(table_enf(), **{option: value})


def test_compile_config_of_an_enf_has_no_effect():
    with pytest.warns(UserWarning, match="compiled already"):
        session.create(table_enf(), compile_config={"allow_precision_error": True}).close()
    with pytest.raises(TypeError, match="two names"):
        session.create(table_enf(), compile_config={}, compiler_config={})


def test_damage_of_large_sections_never_runs(tmp_path):
    """Their checksums may still be compared when the session is there: then every run raises, and none computes."""
    large = table_enf(host_models=bytes(5 << 20))
    for at in range(len(large) - (5 << 20), len(large), 1 << 20):
        damaged = bytearray(large)
        damaged[at] ^= 1
        path = tmp_path / "large.enf"
        path.write_bytes(damaged)
        with session.create(path) as sess:
            for _ in range(2):
                with pytest.raises(errors.IncompatibleModel, match="checksum does not match"):
                    sess.run(X)
    with session.create(large) as sess:
        assert sess.run(X)[0] == -1 - X


def test_damaged_files_are_refused(tmp_path):
    good = table_enf()
    damaged = bytearray(good)
    damaged[-1] ^= 1
    for data in (good[:-1], good + b"\0", bytes(damaged), good[:20], good[:4]):
        path = tmp_path / "bad.enf"
        path.write_bytes(data)
        with pytest.raises(errors.IncompatibleModel, match="bad.enf: "):
            session.create(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        session.create(tmp_path / "none.enf")
    with pytest.raises(IsADirectoryError):
        session.create(tmp_path)


def test_an_unsafe_program_is_refused():
    x = descriptor("x", "int8", (4,))
    y = descriptor("y", "int8", (4,), address=1 << 20)
    with pytest.raises(errors.IncompatibleModel, match="output .y. "):
        session.create(build([x], [y], []))


def test_a_type_without_numpy_equivalent_is_refused():
    x = descriptor("x", "bfloat16", (4,))
    with pytest.raises(errors.UnsupportedTensorType):
        session.create(build([x], [x], []))


def test_constant_and_passed_through_outputs():
    from furiosa.enf.isa import Space

    x = descriptor("x", "int8", (4,))
    constant = descriptor("c", "int32", (2,), 8, Space.CONST)
    data = b"\0" * 8 + np.array([5, -6], np.int32).tobytes()
    with session.create(build([x], [x, constant], [], constants=data)) as s:
        same, c = s.run(np.arange(4, dtype=np.int8)).numpy()
        assert same.tolist() == [0, 1, 2, 3] and c.tolist() == [5, -6]


@pytest.mark.parametrize("workers", [1, 3])
def test_several_threads(workers):
    wrong = []
    with session.create(table_enf(), worker_num=workers) as s:

        def work(seed):
            generator = np.random.default_rng(seed)
            for _ in range(50):
                x = generator.integers(-128, 128, SHAPE, np.int8)
                if s.run(x)[0] != -1 - x:
                    wrong.append(seed)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not wrong


@pytest.mark.parametrize("workers", [1, 2])
def test_as_many_run_at_once_as_there_are_workers(monkeypatch, workers):
    lock, state = threading.Lock(), {"programs": 0, "active": 0, "most": 0, "runs": 0}

    class Slow:
        def __init__(self, *_: object):
            state["programs"] += 1

        def close(self):
            pass

        def run(self, inputs):
            with lock:
                state["active"] += 1
                state["most"] = max(state["most"], state["active"])
            time.sleep(0.02)
            with lock:
                state["active"] -= 1
                state["runs"] += 1
            return [-1 - inputs[0]]

    monkeypatch.setattr(workers_of_sessions, "Program", Slow)
    with session.create(table_enf(), worker_num=workers) as s:
        threads = [threading.Thread(target=s.run, args=(X,)) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert state == {"programs": workers, "active": 0, "most": workers, "runs": 6}


def test_an_enf_starts_without_the_compiler_and_the_reference_runtimes(tmp_path):
    path = tmp_path / "m.enf"
    path.write_bytes(table_enf())
    code = (
        "import sys; from furiosa.runtime import session; session.create(sys.argv[1]).close();"
        "heavy = ('onnx', 'onnxruntime', 'ai_edge_litert', 'tflite');"
        "print([m for m in sys.modules if m.split('.')[0] in heavy"
        " or m.startswith('furiosa.compiler')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, os.fspath(path)],
        env=own_path(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n" and done.stderr == ""
