"""Host clusters of ONNX models, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime

from furiosa.enf.enf_pb2 import HostCall
from furiosa.runtime.errors import ModelDeployFailed, ModelExecutionFailed
from furiosa.runtime.host import expected, mismatch, thread_count

# How protobuf writes the key "location" of external data.  A host model is whole by itself; nothing may make the
# runtime read other files.
_EXTERNAL_DATA = b"\n\x08location"
_FATAL = 4  # log severity: whatever is less comes as an exception


class OnnxExecutor:
    """One host cluster under onnxruntime's CPU provider, with its default graph optimisations.

    ``session.qdqisint8allowed`` is on: it lets int8 QDQ groups become the integer operators that onnxruntime has for them,
    as it does for uint8 by default.  So a quantised operator that is left to the host gets the integer result of the
    session that the NPU's arithmetic is compared with, not a float emulation of it.  Float operators do not notice.
    """

    def __init__(self, model: bytes, call: HostCall, where: str):
        if _EXTERNAL_DATA in model:
            raise ModelDeployFailed(f"{where}: the host model refers to data outside the file")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = (
            thread_count()
        )  # a number also keeps onnxruntime from pinning its threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        options.add_session_config_entry(
            "session.force_spinning_stop", "1"
        )  # idle threads would slow the simulator
        self._where = where
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # onnxruntime's errors have no common base
            raise ModelDeployFailed(f"{where}: onnxruntime refuses the host model: {e}") from e
        self._options = onnxruntime.RunOptions()
        self._options.log_severity_level = _FATAL
        self._inputs = [d.name for d in call.inputs]
        self._outputs = expected(call.outputs)
        missing = set(self._inputs) ^ {i.name for i in self._session.get_inputs()}
        missing |= {d.name for d in call.outputs} - {o.name for o in self._session.get_outputs()}
        if missing:
            raise ModelDeployFailed(
                f"{where}: tensor '{min(missing)}' is in only one of the file's plan and its host model"
            )

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        feed = {n: np.require(a, requirements=["C", "A"]) for n, a in zip(self._inputs, inputs, strict=True)}
        try:
            results = self._session.run([name for name, _, _ in self._outputs], feed, self._options)
        except Exception as e:
            raise ModelExecutionFailed(f"{self._where}: onnxruntime: {e}") from e
        for (name, shape, dtype), result in zip(self._outputs, results, strict=True):
            if not isinstance(result, (np.ndarray, np.generic)):
                raise ModelExecutionFailed(f"{self._where}: tensor '{name}' is no dense tensor")
            if result.shape != shape or result.dtype != dtype:
                raise ModelExecutionFailed(
                    f"{self._where}: {mismatch(name, shape, dtype, result.shape, result.dtype)}"
                )
        return [np.asarray(r) for r in results]
