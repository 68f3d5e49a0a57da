"""The models that are measured side by side, each from samples to real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from furiosa.runtime import source as sources
from furiosa.runtime.compare.reference import Reference, Refused, open_reference
from furiosa.runtime.compile_door import reference_files
from furiosa.runtime.errors import InvalidInput, ModelExecutionFailed
from furiosa.runtime.session import Session
from furiosa.runtime.tensor import DataType, TensorDesc

Arrays = list[np.ndarray]


class Measured(Protocol):
    """A model: ``inputs`` are those of one sample."""

    inputs: list[TensorDesc]

    def run(self, samples: Sequence[Arrays]) -> list[Arrays]:
        """The outputs of some samples, up to a batch.

        Raises:
            FuriosaRuntimeError: the model fails.
        """


class Program:
    """An ENF on the simulator, in batches of the size that it was compiled for; a last one that is not full is filled with its last sample."""

    def __init__(self, session: Session):
        self._session, self.batch_size = session, session.batch_size
        self.inputs = [_single(d, self.batch_size) for d in session.inputs()]
        self.outputs = [_single(d, self.batch_size) for d in session.outputs()]

    def run(self, samples: Sequence[Arrays]) -> list[Arrays]:
        size = self.batch_size
        filled = [*samples, *[samples[-1]] * (size - len(samples))]
        if size == 1:
            results = [t.view() for t in self._session.run(filled[0])]
            return [[_real(a, d) for a, d in zip(results, self.outputs, strict=True)]]
        batches = [np.concatenate(same) for same in zip(*filled, strict=True)]
        results = [_real(t.view(), t.desc) for t in self._session.run(batches)]
        parts = [np.split(array, size) for array in results]
        return [[p[k] for p in parts] for k in range(len(samples))]


class ReferenceModel:
    """A model file on its format's reference runtime, sample by sample."""

    def __init__(self, path: str, like: Program, data_files: Sequence[str], is_hermetic: bool):
        """Loads it; its inputs and outputs are those of ``like``, in types of its own.

        Raises:
            InvalidInput: other inputs, or an ENF.
            CompilationFailed, IncompatibleModel: a file that is no model.
            ModelExecutionFailed: the runtime refuses it.
            OSError: it cannot be read.
        """
        given = sources.read(path)
        if given.is_enf:
            raise InvalidInput(f"{path} is an ENF: an ONNX or TFLite model is expected here")
        data = given.read()
        form, external = reference_files(data, given.name, given.path, data_files, is_hermetic)
        self._path, self._outputs = path, like.outputs
        try:
            self._model: Reference = open_reference(form, data, external)
            types = self._model.input_types()
        except Refused as e:
            raise ModelExecutionFailed(f"{path}: {e}") from None
        names = [d.name for d in like.inputs]
        if len(types) != len(names):
            raise InvalidInput(f"{path} has {len(types)} inputs, and the compiled model {len(names)}")
        self._names = names if set(names) == set(types) else None
        order = self._names or list(types)
        self.inputs = [
            TensorDesc(d.name, d.shape, DataType[types[n].name.upper()], (), d.quantization_parameter)
            for d, n in zip(like.inputs, order, strict=True)
        ]

    def run(self, samples: Sequence[Arrays]) -> list[Arrays]:
        try:
            found = [self._model.run(arrays, self._names) for arrays in samples]
        except Refused as e:
            raise ModelExecutionFailed(f"{self._path}: {e}") from None
        for results in found:
            if len(results) != len(self._outputs):
                raise InvalidInput(
                    f"{self._path} has {len(results)} outputs, and the compiled model {len(self._outputs)}"
                )
        return [[_real(a, d) for a, d in zip(results, self._outputs, strict=True)] for results in found]


def check_feeds(samples: Sequence[TensorDesc], model: Measured, what: str) -> None:
    """Refuses a model that takes other types than the samples have, unless it says how real numbers are quantised.

    Raises:
        InvalidInput: ``what`` names the model.
    """
    for have, takes in zip(samples, model.inputs, strict=True):
        is_quantised = (
            have.numpy_dtype.kind == "f" and takes.quantization_parameter and takes.numpy_dtype.kind in "iu"
        )
        if have.numpy_dtype != takes.numpy_dtype and not is_quantised:
            raise InvalidInput(
                f"input '{takes.name}' of {what} is {takes.numpy_dtype}, and the samples are {have.numpy_dtype}"
            )


def fed(arrays: Arrays, model: Measured) -> Arrays:
    """A sample as a model takes it: real numbers are quantised for one whose inputs are."""
    return [
        a if a.dtype == d.numpy_dtype else _quantised(a, d) for a, d in zip(arrays, model.inputs, strict=True)
    ]


def _quantised(array: np.ndarray, desc: TensorDesc) -> np.ndarray:
    scale, zero_point = desc.quantization_parameter
    limits = np.iinfo(desc.numpy_dtype)
    steps = np.rint(array.astype(np.float32) / np.float32(scale)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(desc.numpy_dtype)


def _real(array: np.ndarray, desc: TensorDesc) -> np.ndarray:
    """What a quantised output stands for; others as they are."""
    if desc.quantization_parameter is None or array.dtype.kind not in "iu" or array.dtype != desc.numpy_dtype:
        return array
    scale, zero_point = desc.quantization_parameter
    return (array.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _single(desc: TensorDesc, batch_size: int) -> TensorDesc:
    if batch_size == 1:
        return desc
    shape = desc.shape[0] // batch_size, *desc.shape[1:]
    return TensorDesc(desc.name, shape, desc.dtype, (), desc.quantization_parameter)
