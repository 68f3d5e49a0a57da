"""The backend test suite that ships in the onnx package, as one list of cases; nothing is downloaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import DATA_DIR, load_model_tests
from onnx.backend.test.runner import Runner

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
Tensors = list[Any]  # arrays; lists or None where the model has sequences or optionals
DataSet = tuple[Tensors, Tensors]  # inputs and expected outputs


@dataclass(frozen=True, slots=True)
class Case:
    """One model of the suite with its data, read when asked for, and its tolerances."""

    name: str
    kind: str
    rtol: float
    atol: float
    load: Callable[[], tuple[bytes, list[DataSet]]]


def all_cases() -> list[Case]:
    """Every case, sorted by kind and name."""
    return sorted((c for kind in KINDS for c in _of_kind(kind)), key=lambda c: (c.kind, c.name))


def same(case: Case, expected: Tensors, actual: Tensors) -> str:
    """Empty where outputs equal the expected ones by the suite's own comparison, else the first line that says how not."""
    try:
        Runner.assert_similar_outputs(expected, actual, rtol=case.rtol, atol=case.atol)
    except (AssertionError, TypeError, AttributeError) as e:
        lines = [line.strip() for line in str(e).splitlines() if line.strip()]
        told = [
            line for line in lines if line.startswith(("Mismatched elements", "ACTUAL", "Output", "x and y"))
        ]
        return (told or lines or [type(e).__name__])[0]
    return ""


def _of_kind(kind: str) -> Iterator[Case]:
    for test in load_model_tests(kind=kind):
        if test.model is not None:
            load = _generated(test.model, test.data_sets)
        elif test.model_dir is not None:
            load = _stored(Path(test.model_dir))
        else:
            load = _light(Path(DATA_DIR) / "light" / Path(test.url).name)
        yield Case(test.name, kind, test.rtol, test.atol, load)


def _generated(model: onnx.ModelProto, data_sets: Any) -> Callable:
    def load() -> tuple[bytes, list[DataSet]]:
        sets = [([_array(x) for x in inputs], [_array(y) for y in outputs]) for inputs, outputs in data_sets]
        return model.SerializeToString(), sets

    return load


def _stored(folder: Path) -> Callable:
    """A model with files of data beside it."""

    def load() -> tuple[bytes, list[DataSet]]:
        data = (folder / "model.onnx").read_bytes()
        graph = onnx.load_model_from_string(data).graph
        sets = []
        for data_set in sorted(folder.glob("test_data_set_*")):
            sets.append((_files(data_set, "input", graph.input), _files(data_set, "output", graph.output)))
        return data, sets

    return load


def _light(path: Path) -> Callable:
    """A model without weights of its own: a ramp goes in, as in the suite's runner; the expected outputs are files."""

    def load() -> tuple[bytes, list[DataSet]]:
        data = path.read_bytes()
        graph = onnx.load_model_from_string(data).graph
        constants = {t.name for t in graph.initializer}
        inputs = [Runner.generate_dummy_data(v) for v in graph.input if v.name not in constants]
        return data, [(inputs, _files(path.parent, f"{path.stem}_output", graph.output))]

    return load


def _files(folder: Path, prefix: str, values: Any) -> Tensors:
    paths = sorted(folder.glob(f"{prefix}_*.pb"), key=lambda p: int(re.findall(r"\d+", p.stem)[-1]))
    return [_file(path, value.type) for path, value in zip(paths, values, strict=False)]


def _file(path: Path, kind: onnx.TypeProto) -> Any:
    data = path.read_bytes()
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value
