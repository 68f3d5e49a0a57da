"""The reference runtimes with a look at their intermediate tensors, which must not change what they compute."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from furiosa.runtime.errors import ModelDeployFailed, ModelExecutionFailed

Key = str | int  # an ONNX name, an index of a TFLite tensor
Values = dict[Key, np.ndarray]


class Reference(Protocol):
    """A model under its format's reference runtime; ``version`` names the runtime."""

    version: str

    def run(self, inputs: Sequence[np.ndarray], names: Sequence[str]) -> tuple[list[np.ndarray], Values]:
        """One inference: the outputs of the untouched model, and those intermediate tensors that can be had beside them.

        Raises:
            ModelDeployFailed, ModelExecutionFailed: the runtime refuses the model or its inputs.
        """


def open_reference(
    source_format: str, model: bytes, name: str, folder: str | None, keys: Mapping[Key, str]
) -> Reference:
    """Loads the model file; ``keys`` are the tensors to keep, with their element types.

    Raises:
        ModelDeployFailed: the runtime refuses the model.
    """
    if source_format == "onnx":
        return OnnxReference(model, name, folder, keys)
    return TfliteReference(model, name, keys)


def run_batched(
    reference: Reference, inputs: Sequence[np.ndarray], names: Sequence[str], batch_size: int
) -> tuple[list[np.ndarray], dict[Key, list[np.ndarray]]]:
    """Runs the samples of a batch one after the other.

    Returns:
        The outputs, joined along dimension 0, and for each intermediate tensor its value for every sample.
    """
    # a model of one sample may have scalars for inputs, or no inputs at all
    parts = [np.split(x, batch_size) if batch_size > 1 else [x] for x in inputs]
    runs = [reference.run([p[i] for p in parts], names) for i in range(batch_size)]
    outputs = []
    for i, single in enumerate(runs[0][0]):
        outputs.append(np.concatenate([r[0][i] for r in runs]) if single.ndim else single)
    kept = [k for k in runs[0][1] if all(k in values for _, values in runs)]
    return outputs, {k: [values[k] for _, values in runs] for k in kept}


def join(samples: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray | None:
    """The samples one after another along the dimension by which ``shape`` is as many times as large; where it is no larger,
    the first, for the tensor is the same for all samples; None where no shape fits.
    """
    single = samples[0]
    if single.shape == shape:
        return single
    for axis in range(single.ndim):
        if shape == (*single.shape[:axis], single.shape[axis] * len(samples), *single.shape[axis + 1 :]):
            return np.concatenate(samples, axis)
    return None


class OnnxReference:
    """onnxruntime.  Intermediate tensors are made outputs of a copy of the model; where that changes any output of the
    model (a fusion that is no longer possible), fewer are asked for, by halving.
    """

    def __init__(self, model: bytes, name: str, folder: str | None, keys: Mapping[Key, str]):
        from furiosa.runtime.host.onnx import onnxruntime

        self.version = f"onnxruntime {onnxruntime.__version__}"
        self._model, self._name, self._folder, self._types = model, name, folder, dict(keys)
        self._plain = self._session(model)
        self._outputs = [o.name for o in self._plain.get_outputs()]
        self._expose(self._made_in_the_file(keys))

    def run(self, inputs: Sequence[np.ndarray], names: Sequence[str]) -> tuple[list[np.ndarray], Values]:
        feed = {n: np.require(a, requirements=["C", "A"]) for n, a in zip(names, inputs, strict=True)}
        expected = self._results(self._plain, feed, self._outputs)
        results = self._results(self._watched, feed, self._outputs + self._keys)
        if not _equal(expected, results[: len(expected)]):
            self._expose(self._harmless(feed, expected, self._keys))
            results = self._results(self._watched, feed, self._outputs + self._keys)
            if not _equal(expected, results[: len(expected)]):
                self._expose([])
                results = []
        return expected, dict(zip(self._keys, results[len(expected) :]))

    def _harmless(self, feed: dict, expected: list[np.ndarray], keys: list[str]) -> list[str]:
        """Those of the keys that can be outputs without changing any output of the model."""
        if not keys:
            return []
        results = self._results(self._session(self._with_outputs(keys)), feed, self._outputs)
        if _equal(expected, results):
            return keys
        if len(keys) == 1:
            return []
        middle = len(keys) // 2
        return self._harmless(feed, expected, keys[:middle]) + self._harmless(feed, expected, keys[middle:])

    def _expose(self, keys: list[str]) -> None:
        self._keys = [k for k in keys if k not in self._outputs]
        self._watched = self._session(self._with_outputs(self._keys)) if self._keys else self._plain

    def _made_in_the_file(self, keys: Mapping[Key, str]) -> list[str]:
        """The keys that nodes of the file make; a compiler may also know tensors of functions and of copied operators."""
        if not keys:
            return []
        import onnx

        made = {name for node in onnx.load_model_from_string(self._model).graph.node for name in node.output}
        return [k for k in keys if k in made]

    def _with_outputs(self, keys: list[str]) -> bytes:
        import onnx

        model = onnx.load_model_from_string(self._model)
        for key in keys:
            element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self._types[key]))
            model.graph.output.append(onnx.helper.make_tensor_value_info(key, element, None))
        return model.SerializeToString()

    def _session(self, model: bytes):
        from furiosa.runtime.host.onnx import onnxruntime, session_options

        options = session_options()
        if self._folder is not None:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", self._folder
            )
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # onnxruntime's errors have no common base
            raise ModelDeployFailed(f"{self._name}: onnxruntime refuses the model: {e}") from e

    def _results(self, session, feed: dict, names: list[str]) -> list[np.ndarray]:
        wanted = {i.name for i in session.get_inputs()}
        try:
            results = session.run(names, {n: a for n, a in feed.items() if n in wanted})
        except Exception as e:
            raise ModelExecutionFailed(f"{self._name}: onnxruntime: {e}") from e
        return [np.asarray(r) for r in results]


class TfliteReference:
    """LiteRT with its default kernels; a second interpreter keeps all tensors, and counts where its outputs are the same."""

    def __init__(self, model: bytes, name: str, keys: Mapping[Key, str]):
        import ai_edge_litert

        self.version = f"LiteRT {getattr(ai_edge_litert, '__version__', '')}".rstrip()
        self._name, self._keys = name, list(keys)
        self._plain = self._interpreter(model, keep=False)
        self._watched = self._interpreter(model, keep=True) if self._keys else None

    def run(self, inputs: Sequence[np.ndarray], names: Sequence[str]) -> tuple[list[np.ndarray], Values]:
        expected = self._invoke(self._plain, inputs)
        if self._watched is None:
            return expected, {}
        if not _equal(expected, self._invoke(self._watched, inputs)):
            self._watched = None
            return expected, {}
        return expected, {k: self._watched.get_tensor(k) for k in self._keys}

    def _interpreter(self, model: bytes, *, keep: bool):
        from ai_edge_litert.interpreter import Interpreter

        from furiosa.runtime.host import thread_count
        from furiosa.runtime.host.quiet import without_lines
        from furiosa.runtime.host.tflite import NOISE

        try:
            with warnings.catch_warnings(), without_lines(NOISE):
                warnings.simplefilter("ignore")  # that keeping all tensors takes memory
                interpreter = Interpreter(
                    model_content=model, num_threads=thread_count(), experimental_preserve_all_tensors=keep
                )
                interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as e:
            raise ModelDeployFailed(f"{self._name}: LiteRT refuses the model: {e}") from e
        return interpreter

    def _invoke(self, interpreter, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        try:
            for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
                interpreter.set_tensor(detail["index"], array)
            interpreter.invoke()
            return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
        except (RuntimeError, ValueError) as e:
            raise ModelExecutionFailed(f"{self._name}: LiteRT: {e}") from e


def _equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(a, b, strict=True)
    )
