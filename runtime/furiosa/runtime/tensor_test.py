"""Tensors and their descriptions."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.enf import dtypes
from furiosa.runtime import tensor
from furiosa.runtime.errors import InvalidInput, UnsupportedTensorType
from furiosa.runtime.tensor import Axis, DataType, Tensor, TensorArray, TensorDesc
from furiosa.runtime.testing.enf_files import descriptor

_DESC = TensorDesc(
    "image", (2, 3, 4, 5), DataType.FLOAT32, [Axis.BATCH, Axis.CHANNEL, Axis.HEIGHT, Axis.WIDTH]
)
_INTS = TensorDesc("i", (2, 2), DataType.INT8)


def test_desc_speaks_of_itself():
    assert (_DESC.ndim, _DESC.dim(1), _DESC.axis(3), _DESC.format) == (4, 3, Axis.WIDTH, "NCHW")
    assert (_DESC.length, _DESC.size, _DESC.numpy_dtype) == (120, 480, np.float32)
    assert [_DESC.stride(i) for i in range(4)] == [60, 20, 5, 1]
    assert repr(_DESC) == (
        'TensorDesc(name="image", shape=(2, 3, 4, 5), dtype=FLOAT32, format=NCHW, size=480, len=120)'
    )


def test_desc_of_an_enf():
    d = TensorDesc.from_descriptor(descriptor("x", "uint8", (1, 2, 3, 4), quantization=(0.5, 7)))
    assert (d.name, d.shape, d.dtype, d.format) == ("x", (1, 2, 3, 4), DataType.UINT8, "NCHW")
    assert d.quantization_parameter == (0.5, 7)
    plain = TensorDesc.from_descriptor(descriptor("x", "float32", (7,)))
    assert (plain.format, plain.axis(0), plain.quantization_parameter) == ("?", Axis.UNKNOWN, None)


def test_axes_that_do_not_fit_the_shape_are_unknown():
    d = descriptor("x", "int8", (1, 2, 3, 4))
    d.axes = "NC"
    assert TensorDesc.from_descriptor(d).format == "????"


@pytest.mark.parametrize(("name", "code", "size"), dtypes.DTYPES)
def test_data_types_are_those_of_an_enf(name, code, size):
    dtype = DataType(code)
    assert (dtype.name.lower(), dtype.itemsize) == (name, size)
    if name == "bfloat16":
        with pytest.raises(UnsupportedTensorType):
            dtype.numpy_dtype  # noqa: B018
    else:
        assert dtype.numpy_dtype == np.dtype(name)


def test_tensor_keeps_what_is_copied_into_it():
    t = Tensor(_INTS)
    assert t == np.zeros((2, 2), np.int8)
    source = np.array([[1, 2], [3, 4]], np.int8)
    t.copy_from(source)
    source[0, 0] = 9
    assert t == np.array([[1, 2], [3, 4]], np.int8) and t != source
    t.numpy()[0, 0] = 9
    assert t.view()[0, 0] == 1
    t.view()[0, 0] = 9
    assert t.numpy()[0, 0] == 9 and np.asarray(t)[0, 0] == 9


def test_equal_contents_of_another_type_differ():
    assert Tensor(_INTS) != np.zeros((2, 2), np.uint8)
    assert Tensor(_INTS) == Tensor(TensorDesc("another name", (2, 2), DataType.INT8))


@pytest.mark.parametrize("value", [np.zeros((2, 2), np.uint8), np.zeros((4,), np.int8)])
def test_copy_from_refuses_what_does_not_fit(value):
    with pytest.raises(InvalidInput, match=r"tensor 'i': expected \(2, 2\) \(int8\) but got"):
        Tensor(_INTS).copy_from(value)


@pytest.mark.parametrize(
    "value", [[[1, 2], [3, 4]], "text", np.zeros((2, 2), np.longdouble), np.array([["a"]])]
)
def test_copy_from_refuses_other_types(value):
    with pytest.raises(UnsupportedTensorType):
        Tensor(_INTS).copy_from(value)


def test_tensor_array_is_a_sequence():
    array = TensorArray([Tensor(_INTS), Tensor(_DESC)])
    assert len(array) == 2 and not array.is_empty() and TensorArray([]).is_empty()
    assert array[-1].shape == _DESC.shape
    assert isinstance(array[0:1], list) and array[0:1][0] is array[0]
    array[0] = np.full((2, 2), 3, np.int8)
    assert (array.numpy()[0] == 3).all() and array.view()[0] is array[0].view()
    with pytest.raises(IndexError):
        array[2]


def test_helpers():
    for dtype in DataType:
        if dtype is DataType.BFLOAT16:
            continue
        desc = TensorDesc("t", (64,), dtype)
        for value in (tensor.zeros(desc), tensor.rand(desc, 1)):
            desc.check(value, "t")
        assert not tensor.zeros(desc).any() and tensor.rand(desc, 1).any()
        assert (tensor.rand(desc, 1) == tensor.rand(desc, 1)).all()
        assert (
            tensor.numpy_dtype(desc)
            == tensor.numpy_dtype(Tensor(desc))
            == tensor.numpy_dtype(tensor.zeros(desc))
            == dtype.numpy_dtype
        )
