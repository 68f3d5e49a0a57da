"""Host clusters of ONNX models, run by onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

# before the import: it would write a device id to the user's home, and complain where there is none
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
from google.protobuf.message import DecodeError
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotImplementedByRuntime

from furiosa.enf.enf_pb2 import HostCall
from furiosa.runtime.errors import HostOutputMismatch, ModelDeployFailed, ModelExecutionFailed
from furiosa.runtime.host import expected, mismatch, thread_count

# How protobuf writes the key "location", which external data has, in a name or in an entry of strings.
_LOCATION = b"\n\x08location"
_FATAL = 4  # log severity: whatever is less comes as an exception

onnxruntime.disable_telemetry_events()  # for versions that do not know the variable


def session_options(threads: int | None = None) -> onnxruntime.SessionOptions:
    """How onnxruntime runs wherever it is the reference; with as many threads as there are CPUs where none are named.

    ``session.qdqisint8allowed`` is on: int8 QDQ groups become the integer operators that onnxruntime has for them,
    as uint8 ones do by default.  It changes no float operator.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = (
        threads or thread_count()
    )  # a number also keeps it from pinning its threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    # after a run, threads that spin would slow the simulator
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


class OnnxExecutor:
    """One host cluster under onnxruntime's CPU provider, with its default graph optimisations.

    So a quantised operator that is left to the host gets the integer result of the session that the NPU's arithmetic
    is compared with, not a float emulation of it.  But two pairs of QuantizeLinear and DequantizeLinear in a row stay two, as on the NPU:
    of them onnxruntime makes one with another scale, so that its numbers would depend on where the model is cut.
    """

    def __init__(self, model: bytes, call: HostCall, where: str, threads: int):
        try:
            if _LOCATION in model and _has_external_data(model):
                raise ModelDeployFailed(f"{where}: the host model refers to data outside the file")
        except DecodeError:
            raise ModelDeployFailed(f"{where}: the host model is damaged") from None
        self._where = where
        try:
            options = session_options(threads)
            options.add_session_config_entry("session.disable_double_qdq_remover", "1")
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except MemoryError:
            raise
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
        except NotImplementedByRuntime as e:
            raise ModelDeployFailed(f"{self._where}: onnxruntime cannot run the host model: {e}") from e
        except MemoryError:
            raise
        except Exception as e:
            raise ModelExecutionFailed(f"{self._where}: onnxruntime: {e}") from e
        for (name, shape, dtype), result in zip(self._outputs, results, strict=True):
            if not isinstance(result, (np.ndarray, np.generic)):
                raise ModelExecutionFailed(f"{self._where}: tensor '{name}' is no dense tensor")
            if result.shape != shape or result.dtype != dtype:
                raise HostOutputMismatch(
                    f"{self._where}: {mismatch(name, shape, dtype, result.shape, result.dtype)}"
                )
        return [np.asarray(r) for r in results]


def _has_external_data(model: bytes) -> bool:
    """Whether any tensor of the model lies in another file; nothing may make the runtime read other files."""
    import onnx

    messages: list[Any] = [onnx.ModelProto.FromString(model)]
    while messages:
        message = messages.pop()
        if isinstance(message, onnx.TensorProto) and (
            message.external_data or message.data_location == onnx.TensorProto.EXTERNAL
        ):
            return True
        for field, value in message.ListFields():
            if field.message_type is not None:
                messages += value if field.is_repeated else [value]
    return False
