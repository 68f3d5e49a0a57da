"""Runs an ENF and a bundle out of the runfiles, and compares the answers with onnxruntime's."""

import os
import unittest

import numpy as np
import onnxruntime
from python.runfiles import runfiles

from furiosa.runtime import session

_IMAGES = np.random.default_rng(0).uniform(-1.0, 1.0, (4, 3, 32, 32)).astype(np.float32)


def _runfile(variable: str) -> str:
    return runfiles.Create().Rlocation(os.environ[variable])


def _reference(variable: str) -> np.ndarray:
    """onnxruntime's answer for every image: float32 [4, 10]."""
    options = onnxruntime.SessionOptions()
    # Without it onnxruntime leaves int8 convolutions in float on x86.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    reference = onnxruntime.InferenceSession(_runfile(variable), options, providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in reference.get_inputs())
    return np.concatenate([reference.run(None, {name: image[None]})[0] for image in _IMAGES])


class VisionTest(unittest.TestCase):
    def test_enf(self):
        with session.create(_runfile("ENF")) as sess:
            answers = np.concatenate([sess.run(image[None])[0].numpy() for image in _IMAGES])
        np.testing.assert_array_equal(answers, _reference("INT8_ONNX"))

    def test_model_of_a_bundle(self):
        with session.create(_runfile("BUNDLE") + "#tiny_batch4") as sess:
            np.testing.assert_array_equal(sess.run(_IMAGES)[0].numpy(), _reference("INT8_ONNX"))

    def test_float_model_of_a_bundle(self):
        with session.create(_runfile("BUNDLE") + "#tiny_float32") as sess:
            answers = np.concatenate([sess.run(image[None])[0].numpy() for image in _IMAGES])
        np.testing.assert_allclose(answers, _reference("FLOAT32_ONNX"), rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    unittest.main()
