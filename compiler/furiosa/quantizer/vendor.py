"""The names and signatures of the vendor's quantizer (0.10): ``furiosa.quantizer.Calibrator``, ``quantize``, ``ModelEditor``, …

``quantize`` leaves a float model with ranges in its metadata, as the vendor's does; ``furiosa compile`` and a session quantise it (``stated``).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import InvalidConfig
from furiosa.quantizer.affine import Range
from furiosa.quantizer.calibrate.methods import DEFAULT_PERCENTAGE, choose
from furiosa.quantizer.calibrate.ranges import Calibration, calibrate
from furiosa.quantizer.graph.load import load
from furiosa.quantizer.int8 import check_method
from furiosa.quantizer.samples import Sample
from furiosa.quantizer.stated import RANGES_KEY, TYPES_KEY, format_ranges


class CalibrationMethod(enum.IntEnum):
    """How ranges are chosen; docs/quantize.md says what each makes small."""

    MIN_MAX_ASYM = 0
    MIN_MAX_SYM = 1
    ENTROPY_ASYM = 2
    ENTROPY_SYM = 3
    PERCENTILE_ASYM = 4
    PERCENTILE_SYM = 5
    MSE_ASYM = 6
    MSE_SYM = 7
    SQNR_ASYM = 8
    SQNR_SYM = 9

    @property
    def method(self) -> str:
        """The name on the command line: "min-max", "mse-sym", …"""
        return self.name.lower().replace("_", "-").removesuffix("-asym")


class TensorType(enum.IntEnum):
    """Types that an input or output may have instead of float32."""

    UINT8 = 1
    INT8 = 2


class Calibrator:
    """Counts the values of a float model's tensors and gives their ranges.

    Args:
        model: a float ONNX model, or its bytes.
        calibration_method: how ranges are chosen.
        percentage: of 100 values those within the range, of the percentile methods.

    Raises:
        CompileError: a model that cannot be quantised, or an impossible percentage.
    """

    def __init__(
        self,
        model: onnx.ModelProto | bytes,
        calibration_method: CalibrationMethod,
        *,
        percentage: float = DEFAULT_PERCENTAGE,
    ):
        self._method, self._percentage = CalibrationMethod(calibration_method).method, percentage
        check_method(self._method, percentage)
        self._graph = load(_bytes(model))
        self._found: Calibration | None = None
        self._run = None

    def collect_data(self, calibration_dataset: Iterable[Sequence[np.ndarray]]) -> None:
        """Counts the values that samples give; may be called again with more.

        Args:
            calibration_dataset: samples, each a sequence of arrays for the model's inputs in their order, of their shapes and dtypes.

        Raises:
            CompileError: a sample that does not fit, or that makes NaN or infinite values.
        """
        from furiosa.quantizer.calibrate.float_run import FloatRun

        self._run = self._run or FloatRun(self._graph)
        found = calibrate(self._graph, self._samples(calibration_dataset), run=self._run)
        if self._found is None:
            self._found = found
        else:
            self._found.merge(found)

    def compute_range(self, verbose: bool = False) -> dict[str, tuple[float, float]]:
        """(min, max) of every float tensor, by name.

        Args:
            verbose: taken and not used: no method takes long.

        Raises:
            RuntimeError: no data were collected.
        """
        if self._found is None:
            raise RuntimeError("collect_data must be called before compute_range")
        return {n: tuple(choose(self._method, h, self._percentage)) for n, h in self._found.tensors.items()}

    def _samples(self, dataset: Iterable[Sequence[np.ndarray]]) -> Iterable[Sample]:
        inputs = self._graph.inputs
        for number, arrays in enumerate(dataset, 1):
            name = f"sample {number}"
            if len(arrays) != len(inputs):
                raise InvalidConfig(f"{name}: {len(arrays)} arrays for {len(inputs)} inputs")
            yield Sample(name, {t.name: _checked(t, a, name) for t, a in zip(inputs, arrays, strict=True)})


class ModelEditor:
    """Gives inputs and outputs of a float model other types, which count when it is quantised.

    Args:
        model: the model; its metadata are written.
    """

    def __init__(self, model: onnx.ModelProto):
        self._model = model

    def convert_input_type(self, tensor_name: str, tensor_type: TensorType) -> None:
        """Lets an input be integers, with the scale and zero point of its range.

        Raises:
            ValueError: the model has no such input.
        """
        if tensor_name not in get_pure_input_names(self._model):
            raise ValueError(
                f"the model has no input {tensor_name!r}; it has {get_pure_input_names(self._model)}"
            )
        self._note(tensor_name, tensor_type, None)

    def convert_output_type(
        self, tensor_name: str, tensor_type: TensorType, tensor_range: tuple[float, float] | None = None
    ) -> None:
        """Lets an output be integers, with the scale and zero point of its range or of ``tensor_range``, (min, max).

        Raises:
            ValueError: the model has no such output.
        """
        if tensor_name not in get_output_names(self._model):
            raise ValueError(
                f"the model has no output {tensor_name!r}; it has {get_output_names(self._model)}"
            )
        self._note(tensor_name, tensor_type, tensor_range)

    def _note(self, name: str, kind: TensorType, within: tuple[float, float] | None) -> None:
        noted = {p.key: p.value for p in self._model.metadata_props}
        entry = {"type": TensorType(kind).name.lower()}
        if within is not None:
            entry["range"] = [float(v) for v in within]
        types = json.loads(noted.get(TYPES_KEY, "{}")) | {name: entry}
        _set_property(self._model, TYPES_KEY, json.dumps(types, sort_keys=True))


def quantize(model: onnx.ModelProto | bytes, tensor_name_to_range: Mapping[str, Sequence[float]]) -> bytes:
    """The bytes of a float model that holds the ranges of its tensors, to be compiled.

    Args:
        model: a float ONNX model, or its bytes; a ModelEditor may have edited it.
        tensor_name_to_range: (min, max) of each tensor, as Calibrator.compute_range gives them.
    """
    proto = onnx.ModelProto.FromString(_bytes(model))
    ranges = {name: Range(*map(float, r)) for name, r in tensor_name_to_range.items()}
    _set_property(proto, RANGES_KEY, format_ranges(ranges))
    return proto.SerializeToString(deterministic=True)


def get_pure_input_names(model: onnx.ModelProto) -> list[str]:
    """The names of the inputs that are no constants."""
    constants = {t.name for t in model.graph.initializer}
    return [v.name for v in model.graph.input if v.name not in constants]


def get_output_names(model: onnx.ModelProto) -> list[str]:
    """The names of the outputs."""
    return [v.name for v in model.graph.output]


def _bytes(model: onnx.ModelProto | bytes) -> bytes:
    return model.SerializeToString(deterministic=True) if isinstance(model, onnx.ModelProto) else bytes(model)


def _set_property(model: onnx.ModelProto, key: str, value: str) -> None:
    kept = [p for p in model.metadata_props if p.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend([*kept, onnx.StringStringEntryProto(key=key, value=value)])


def _checked(t: Tensor, array: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(array)
    if array.shape != t.shape or array.dtype != t.dtype:
        raise InvalidConfig(
            f"{name}: input '{t.name}' is {t.shape} ({t.dtype}), but the array {array.shape} ({array.dtype})"
        )
    return np.ascontiguousarray(array)
