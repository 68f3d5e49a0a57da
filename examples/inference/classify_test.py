"""The compiled model answers what onnxruntime answers on the model that it was compiled from."""

from __future__ import annotations

import classify
import numpy as np
import onnxruntime
import pytest
from runfiles import Runfiles

ONNX = "furiosa_rules/examples/models/tiny_int8.onnx"


@pytest.fixture(scope="module")
def reference():
    """The reference session, with all operators in integers."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    return onnxruntime.InferenceSession(
        Runfiles.Create().Rlocation(ONNX), options, providers=["CPUExecutionProvider"]
    )


def _image(seed):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (1, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_logits_are_the_references(seed, reference):
    (expected,) = reference.run(None, {"input": _image(seed)})
    np.testing.assert_array_equal(classify.logits(_image(seed)), expected[0])


def test_prints_the_best_classes(tmp_path, capsys, reference):
    np.save(tmp_path / "image.npy", _image(0))
    assert classify.main([str(tmp_path / "image.npy")]) == 0
    (expected,) = reference.run(None, {"input": _image(0)})
    assert capsys.readouterr().out.startswith(f"class {expected.argmax()}: {expected.max():.3f}\n")


@pytest.mark.parametrize("content", [None, b"", b"no array", np.zeros((1, 3, 8, 8), np.float32)])
def test_a_bad_image_is_one_clear_line(content, tmp_path, capsys):
    path = tmp_path / "image.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    assert classify.main([str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"classify: {path}: ") and error.count("\n") == 1
