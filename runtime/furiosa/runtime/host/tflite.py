"""Host clusters of TFLite models, run by LiteRT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from furiosa.enf.enf_pb2 import HostCall
from furiosa.runtime.errors import HostOutputMismatch, ModelDeployFailed, ModelExecutionFailed
from furiosa.runtime.host import expected, mismatch
from furiosa.runtime.host.quiet import without_lines

NOISE = b"INFO: Created TensorFlow Lite XNNPACK delegate"
# With use_regular_nms its boxes depend on the number of threads (LiteRT 2.3); with one they are those of LiteRT's default.
_SINGLE_THREADED = b"TFLite_Detection_PostProcess"


class TfliteExecutor:
    """One host cluster under LiteRT with its default operators and delegate (XNNPACK).

    Tensors go by position: those of the host call are those of the model's first subgraph.
    """

    def __init__(self, model: bytes, call: HostCall, where: str, threads: int):
        self._where = where
        threads = 1 if _SINGLE_THREADED in model else threads

        def load() -> Interpreter:
            interpreter = Interpreter(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
            return interpreter

        try:
            self._interpreter = without_lines(NOISE, load)
            self._inputs = [d["index"] for d in self._interpreter.get_input_details()]
            self._outputs = [d["index"] for d in self._interpreter.get_output_details()]
        except MemoryError:
            raise
        except Exception as e:  # LiteRT's own, or of a name that is no UTF-8
            raise ModelDeployFailed(f"{where}: LiteRT refuses the host model: {e}") from e
        self._expected = expected(call.outputs)
        if len(self._inputs) != len(call.inputs) or len(self._outputs) != len(call.outputs):
            raise ModelDeployFailed(
                f"{where}: the file's plan has {len(call.inputs)} inputs and {len(call.outputs)} outputs, "
                f"its host model {len(self._inputs)} and {len(self._outputs)}"
            )

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        try:
            for index, array in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            results = [self._interpreter.get_tensor(index) for index in self._outputs]
        except MemoryError:
            raise
        except Exception as e:
            raise ModelExecutionFailed(f"{self._where}: LiteRT: {e}") from e
        for (name, shape, dtype), result in zip(self._expected, results, strict=True):
            if result.shape != shape or result.dtype != dtype:
                raise HostOutputMismatch(
                    f"{self._where}: {mismatch(name, shape, dtype, result.shape, result.dtype)}"
                )
        return results
