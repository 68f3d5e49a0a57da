"""The vendor's names, used as the vendor's own clients use them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import furiosa.quantizer
from furiosa.compiler import quantizable
from furiosa.compiler.errors import CompileError
from furiosa.compiler.frontend.onnx.testing import run
from furiosa.quantizer import (
    CalibrationMethod,
    Calibrator,
    ModelEditor,
    TensorType,
    get_output_names,
    get_pure_input_names,
    quantize,
)
from furiosa.quantizer.calibrate.methods import METHODS
from furiosa.quantizer.place.write import write
from furiosa.quantizer.stated import plan_stated, stated
from furiosa.quantizer.testing import network, samples, signal_to_noise


def arrays(count: int) -> list[list[np.ndarray]]:
    return [list(s.arrays.values()) for s in samples(network(), count)]


def int8(model: bytes) -> bytes:
    return write(plan_stated(model, stated(model)))


def test_every_method_has_its_name():
    assert {m.method for m in CalibrationMethod} == set(METHODS)
    assert [m.value for m in CalibrationMethod] == list(range(10))


@pytest.mark.parametrize("method", [CalibrationMethod.MIN_MAX_ASYM, CalibrationMethod.MSE_SYM])
def test_the_way_of_the_vendors_clients(method: CalibrationMethod):
    model = onnx.ModelProto.FromString(network())
    calibrator = Calibrator(model, method)
    for sample in arrays(6):
        calibrator.collect_data([sample])
    ranges = calibrator.compute_range()
    assert set(ranges) >= {"x", "y"} and all(low <= high for low, high in ranges.values())
    whole = Calibrator(network(), method)
    whole.collect_data(arrays(6))
    assert whole.compute_range(verbose=True) == ranges
    quantized = quantize(model, ranges)
    assert [n.op_type for n in onnx.ModelProto.FromString(quantized).graph.node] == [
        n.op_type for n in model.graph.node
    ]
    made = int8(quantized)
    assert quantizable.host_operators(made) == {}
    feeds = [s.arrays for s in samples(network(), 4, seed=9)]
    pairs = [(run(network(), f)[0], run(made, f)[0]) for f in feeds]
    assert signal_to_noise(*map(list, zip(*pairs, strict=True))) > 20


def test_edited_types():
    model = onnx.ModelProto.FromString(network())
    editor = ModelEditor(model)
    for name in get_pure_input_names(model):
        editor.convert_input_type(name, TensorType.UINT8)
    for name in get_output_names(model):
        editor.convert_output_type(name, TensorType.INT8, (0.0, 1.0))
    calibrator = Calibrator(model, CalibrationMethod.PERCENTILE_ASYM, percentage=99.9)
    calibrator.collect_data(arrays(3))
    made = onnx.ModelProto.FromString(int8(quantize(model, calibrator.compute_range())))
    kinds = [v.type.tensor_type.elem_type for v in (*made.graph.input, *made.graph.output)]
    assert kinds == [onnx.TensorProto.UINT8, onnx.TensorProto.INT8]


def test_names_leave_constants_out():
    model = onnx.ModelProto.FromString(network())
    model.graph.input.add(name="w1")
    assert get_pure_input_names(model) == ["x"]
    assert get_output_names(model) == ["y"]


def test_what_is_refused():
    model = onnx.ModelProto.FromString(network())
    with pytest.raises(RuntimeError, match="collect_data must be called before"):
        Calibrator(model, CalibrationMethod.MIN_MAX_ASYM).compute_range()
    with pytest.raises(CompileError, match="the percentage 0"):
        Calibrator(model, CalibrationMethod.PERCENTILE_ASYM, percentage=0)
    calibrator = Calibrator(model, CalibrationMethod.MIN_MAX_ASYM)
    with pytest.raises(CompileError, match="sample 1: 0 arrays for 1 inputs"):
        calibrator.collect_data([[]])
    with pytest.raises(
        CompileError, match=r"sample 2: input 'x' is \(1, 3, 16, 16\) \(float32\), but the array"
    ):
        calibrator.collect_data([arrays(1)[0], [np.zeros((1, 3, 16, 16))]])
    with pytest.raises(ValueError, match="no input 'y'"):
        ModelEditor(model).convert_input_type("y", TensorType.INT8)
    with pytest.raises(ValueError, match="no output 'x'"):
        ModelEditor(model).convert_output_type("x", TensorType.INT8)
    with pytest.raises(AttributeError, match="no attribute 'Graph'"):
        furiosa.quantizer.Graph  # noqa: B018
