"""Sessions of models that are not compiled yet."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from furiosa.runtime import errors, session, tensor
from furiosa.runtime.testing import own_path
from furiosa.runtime.testing.enf_files import onnx_model, tflite_softmax

SHAPE = (1, 3)
SHARED = pathlib.Path(__file__).resolve().parents[4] / "shared" / "models"


@pytest.fixture(autouse=True)
def no_wish_in_the_environment(monkeypatch):
    for name in ("FURIOSA_DEVICES", "NPU_DEVNAME"):
        monkeypatch.delenv(name, raising=False)


def exp_model() -> bytes:
    return onnx_model([("Exp", ["x"], ["y"], {})], {"x": ("float32", SHAPE)}, {"y": ("float32", SHAPE)})


X = np.array([[0, 1, -1]], np.float32)


@pytest.mark.parametrize("name", ["model.onnx", "model"])
def test_an_onnx_model_by_path_or_bytes(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(exp_model())
    for model in (path, path.read_bytes()):
        with session.create(model) as s:
            np.testing.assert_allclose(s.run(X)[0].numpy(), np.exp(X), rtol=1e-6)


def test_a_tflite_model():
    with session.create(tflite_softmax(SHAPE)) as s:
        (result,) = s.run(np.zeros(SHAPE, np.int8)).numpy()
        assert result.tolist() == [[-43, -43, -43]]  # 1/3 in steps of 1/256 from -128


def test_the_device_chooses_the_target(monkeypatch):
    assert session.create(exp_model()).target_npu == "warboy-2pe"
    assert session.create(exp_model(), "npu0pe0").target_npu == "warboy"
    monkeypatch.setenv("NPU_DEVNAME", "npu0pe1")
    assert session.create(exp_model()).target_npu == "warboy"


def test_batch_size():
    with session.create(exp_model(), batch_size=2) as s:
        assert s.input(0).shape == (2, 3) and s.batch_size == 2
        np.testing.assert_allclose(
            s.run(np.tile(X, (2, 1)))[0].numpy(), np.exp(np.tile(X, (2, 1))), rtol=1e-6
        )


def test_external_data_lie_beside_the_model(tmp_path, monkeypatch):
    model = onnx_model(
        [("Add", ["x", "w"], ["y"], {})],
        {"x": ("float32", SHAPE)},
        {"y": ("float32", SHAPE)},
        external={"w": ("weights.bin", SHAPE)},
    )
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.onnx").write_bytes(model)
    np.array([1, 2, 3], np.float32).tofile(tmp_path / "m" / "weights.bin")
    monkeypatch.chdir(tmp_path)
    with session.create("m/model.onnx") as s:
        assert s.run(X)[0].numpy().tolist() == [[1, 3, 2]]
    with pytest.raises(errors.CompilationFailed):
        session.create(model)  # bytes have no folder


@pytest.mark.parametrize("data", [b"", b"no model at all", b"\0\0\0\0TFL3", exp_model()[:-4]])
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path, data):
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(errors.CompilationFailed, match=r"bad\.onnx: .*native error code: 14") as e:
        session.create(path)
    assert e.value.compiler_code in (4, 5) and "\n" not in str(e.value)


def test_options_that_the_compiler_does_not_have():
    with pytest.raises(errors.InvalidCompilerConfig, match="'frobnicate' is no option"):
        session.create(exp_model(), compile_config={"frobnicate": True})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"compatibility": "0.5"}, "unknown compatibility '0.5', known: 0.6.3, 0.10, latest"),
        ({"compatibility": 0.6}, "0.6 is no value of 'compatibility'"),
        ({"min_npu_coverage": 1.5}, "min NPU coverage 1.5 is not between 0 and 1"),
        ({"min_npu_coverage": True}, "True is no value of 'min_npu_coverage'"),
        ({"max_host_operators": -1}, "max host operators -1 is negative"),
        ({"max_host_operators": False}, "False is no value of 'max_host_operators'"),
        ({"optimize": 3}, "optimization level 3 is not 0, 1 or 2"),
        ({"optimize": 1.0}, "1.0 is no value of 'optimize'"),
    ],
)
def test_values_that_the_compiler_does_not_take(config, message):
    with pytest.raises(errors.InvalidCompilerConfig, match=re.escape(message)):
        session.create(exp_model(), compile_config=config)


def test_options_reach_the_compiler():
    with pytest.raises(errors.CompilationFailed, match="at least 100 % are asked for") as e:
        session.create(exp_model(), compile_config={"compatibility": "0.6.3", "min_npu_coverage": 1})
    assert e.value.compiler_code == 1


def test_without_the_compiler_the_sentence_says_what_to_do(tmp_path):
    (tmp_path / "m.onnx").write_bytes(exp_model())
    code = (
        "import sys; sys.modules['furiosa.compiler'] = None\n"
        "from furiosa.runtime import session\n"
        "try: session.create(sys.argv[1])\n"
        "except session.errors.CompilationFailed as e: print(e)\n"
    ).replace("session.errors", "__import__('furiosa.runtime.errors', fromlist=['x'])")
    command = [sys.executable, "-c", code, os.fspath(tmp_path / "m.onnx")]
    done = subprocess.run(command, env=own_path(), capture_output=True, text=True, check=True)
    assert "the compiler is not installed: run 'furiosa compile'" in done.stdout


def _tflite_models() -> list[object]:
    """A small model, and those of the shared ones that are there."""
    shared = ("mnistnet_uint8", "split_concat", "tiny_ad_autoencoder_int8", "tiny_vww_mobilenet_float")
    files = [SHARED / f"{name}.tflite" for name in shared]
    return [pytest.param(tflite_softmax((1, 10)), id="softmax")] + [
        pytest.param(f.read_bytes(), id=f.stem) for f in files if f.exists()
    ]


@pytest.mark.parametrize("model", _tflite_models())
@pytest.mark.parametrize("device", ["npu0pe0", "npu0pe0-1"])
def test_models_give_what_litert_gives(model, device):
    from ai_edge_litert.interpreter import Interpreter

    reference = Interpreter(model_content=model, num_threads=1)
    reference.allocate_tensors()
    with session.create(model, device) as s:
        inputs = [tensor.rand(d, i) for i, d in enumerate(s.inputs())]
        for detail, array in zip(reference.get_input_details(), inputs, strict=True):
            reference.set_tensor(detail["index"], array)
        reference.invoke()
        for detail, output in zip(reference.get_output_details(), s.run(inputs), strict=True):
            assert output == reference.get_tensor(detail["index"])
