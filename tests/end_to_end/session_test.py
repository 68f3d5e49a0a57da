"""From a model to an answer: a session on an ENF, on a model file, and against the reference runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from furiosa.compiler.pipeline import compile_model
from furiosa.runtime import session


def _reference(model: bytes, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    run = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return run.run(None, {run.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("target", ["warboy", "warboy-2pe"])
def test_equals_onnxruntime(tiny_model: bytes, target: str) -> None:
    enf = compile_model(tiny_model, target_npu=target)
    with session.create(enf, device={"warboy": "npu0pe0", "warboy-2pe": "npu0pe0-1"}[target]) as sess:
        for seed in range(5):
            x = np.random.default_rng(seed).standard_normal((1, 3, 32, 32)).astype(np.float32)
            np.testing.assert_array_equal(sess.run(x)[0].numpy(), _reference(tiny_model, x))


def test_float_model_runs_on_the_host(tiny_float_model: bytes, noise: np.ndarray) -> None:
    with session.create(tiny_float_model) as sess:
        np.testing.assert_array_equal(sess.run(noise)[0].numpy(), _reference(tiny_float_model, noise))


def test_a_model_file_is_compiled_on_the_way(tiny_model: bytes, noise: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model)
    with session.create(path) as a, session.create(compile_model(tiny_model)) as b:
        np.testing.assert_array_equal(a.run(noise)[0].numpy(), b.run(noise)[0].numpy())


@pytest.mark.parametrize("batch", [2, 5])
def test_batch_equals_single_runs(tiny_model: bytes, batch: int) -> None:
    x = np.random.default_rng(1).standard_normal((batch, 3, 32, 32)).astype(np.float32)
    with session.create(compile_model(tiny_model)) as one:
        singles = np.concatenate([one.run(x[i : i + 1])[0].numpy() for i in range(batch)])
    with session.create(compile_model(tiny_model, batch_size=batch)) as sess:
        assert sess.input(0).shape == (batch, 3, 32, 32)
        np.testing.assert_array_equal(sess.run(x)[0].numpy(), singles)
