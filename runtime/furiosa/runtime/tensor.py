"""Tensors and their descriptions."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from furiosa.runtime.errors import InvalidInput, UnsupportedTensorType

if TYPE_CHECKING:
    from furiosa.enf.enf_pb2 import TensorDescriptor


class Axis(enum.IntEnum):
    """What a dimension stands for; ``str()`` gives its letter in a format such as NCHW."""

    WIDTH = 0
    HEIGHT = 1
    CHANNEL = 2
    BATCH = 3
    WIDTH_OUTER = 4
    HEIGHT_OUTER = 5
    CHANNEL_OUTER = 6
    BATCH_OUTER = 7
    UNKNOWN = 8

    def __str__(self) -> str:
        return ("W", "H", "C", "N", "Wo", "Ho", "Co", "No", "?")[self.value]


_AXES = {str(a): a for a in Axis}


class DataType(enum.IntEnum):
    """Element types, by their codes in an ENF: 0 to 7 are the vendor's, the rest this project's."""

    FLOAT32 = 0
    UINT8 = 1
    INT8 = 2
    INT32 = 3
    INT64 = 4
    BFLOAT16 = 5
    FLOAT16 = 6
    INT16 = 7
    BOOL = 8
    FLOAT64 = 9
    UINT16 = 10
    UINT32 = 11
    UINT64 = 12
    COMPLEX64 = 13
    COMPLEX128 = 14

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return 2 if self is DataType.BFLOAT16 else self.numpy_dtype.itemsize

    @property
    def numpy_dtype(self) -> np.dtype:
        """The numpy type of the same name.

        Raises:
            UnsupportedTensorType: numpy has no bfloat16.
        """
        if self is DataType.BFLOAT16:
            raise UnsupportedTensorType("numpy has no element type for BFLOAT16")
        return np.dtype(self.name.lower())

    def __str__(self) -> str:
        return self.name


_SUPPORTED = {d.numpy_dtype for d in DataType if d is not DataType.BFLOAT16}


class TensorDesc:
    """A tensor of a model: its name, shape, element type, the meaning of its axes, its quantisation."""

    __slots__ = ("_axes", "dtype", "name", "quantization_parameter", "shape")

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DataType,
        axes: Sequence[Axis] = (),
        quantization_parameter: tuple[float, int] | None = None,
    ):
        """``axes`` is empty where the model does not say, ``quantization_parameter`` (scale, zero point) or None."""
        self.name = name
        self.shape = tuple(shape)
        self.dtype = dtype
        self._axes = tuple(axes) or (Axis.UNKNOWN,) * len(self.shape)
        self.quantization_parameter = quantization_parameter

    @classmethod
    def from_descriptor(cls, d: TensorDescriptor) -> TensorDesc:
        """The description of a tensor of an ENF."""
        q = (d.quantization.scale, d.quantization.zero_point) if d.HasField("quantization") else None
        axes = [_AXES.get(a, Axis.UNKNOWN) for a in d.axes] if len(d.axes) == len(d.shape) else []
        return cls(d.name, d.shape, DataType(d.dtype), axes, q)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def dim(self, index: int) -> int:
        """Size of one dimension."""
        return self.shape[index]

    def axis(self, index: int) -> Axis:
        """Meaning of one dimension."""
        return self._axes[index]

    def stride(self, index: int) -> int:
        """Elements from one index of a dimension to the next; tensors are dense and row-major."""
        return math.prod(self.shape[range(self.ndim)[index] + 1 :])

    @property
    def length(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.length * self.dtype.itemsize

    @property
    def format(self) -> str:
        """The letters of the axes, e.g. NCHW; "?" for one that the model does not say."""
        return "".join(map(str, self._axes))

    @property
    def numpy_dtype(self) -> np.dtype:
        """The numpy element type."""
        return self.dtype.numpy_dtype

    def check(self, value: np.ndarray, what: str) -> None:
        """Refuses an array that does not fit; ``what`` names it in the sentence.

        Raises:
            InvalidInput: another shape or element type.
            UnsupportedTensorType: an element type that no model can have.
        """
        if value.dtype not in _SUPPORTED:
            raise UnsupportedTensorType(f"{what}: element type {value.dtype} is not supported")
        if value.shape != self.shape or value.dtype != self.numpy_dtype:
            raise InvalidInput(
                f"{what}: expected {self.shape} ({self.numpy_dtype}) but got {value.shape} ({value.dtype})"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorDesc) and all(
            getattr(self, s) == getattr(other, s) for s in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.name, self.shape, self.dtype))

    def __repr__(self) -> str:
        return (
            f'TensorDesc(name="{self.name}", shape={self.shape}, dtype={self.dtype}, format={self.format}, '
            f"size={self.size}, len={self.length})"
        )


class Tensor:
    """One tensor with its description."""

    __slots__ = ("_array", "desc")
    __hash__ = None  # type: ignore[assignment]  # compares by contents

    def __init__(self, desc: TensorDesc, array: np.ndarray | None = None):
        """Takes over ``array``, which fits ``desc``; zeros where it is None."""
        self.desc = desc
        self._array = np.zeros(desc.shape, desc.numpy_dtype) if array is None else array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.desc.shape

    @property
    def dtype(self) -> DataType:
        return self.desc.dtype

    @property
    def numpy_dtype(self) -> np.dtype:
        return self.desc.numpy_dtype

    def numpy(self) -> np.ndarray:
        """A copy of the contents."""
        return self._array.copy()

    def view(self) -> np.ndarray:
        """The contents themselves, not copied."""
        return self._array

    def copy_from(self, data: np.ndarray | np.generic | Tensor) -> None:
        """Copies contents of the same shape and element type into the tensor.

        Raises:
            InvalidInput, UnsupportedTensorType: the data do not fit.
        """
        array = as_array(data, f"tensor '{self.desc.name}'")
        self.desc.check(array, f"tensor '{self.desc.name}'")
        np.copyto(self._array, array)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            return np.asarray(self._array, dtype=dtype)
        return np.array(self._array, dtype=dtype)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Tensor, np.ndarray, np.generic)):
            return NotImplemented
        array = as_array(other, "")
        return array.dtype == self._array.dtype and np.array_equal(self._array, array)

    def __repr__(self) -> str:
        return f"Tensor({self.desc!r})"


class TensorArray(Sequence):
    """Some tensors in order: the inputs or the outputs of one inference."""

    def __init__(self, tensors: Sequence[Tensor]):
        self._tensors = list(tensors)

    def is_empty(self) -> bool:
        return not self._tensors

    def numpy(self) -> list[np.ndarray]:
        """Copies of the contents."""
        return [t.numpy() for t in self._tensors]

    def view(self) -> list[np.ndarray]:
        """The contents themselves, not copied."""
        return [t.view() for t in self._tensors]

    def __len__(self) -> int:
        return len(self._tensors)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index):
        return self._tensors[index]

    def __setitem__(self, index: int, value: np.ndarray | np.generic | Tensor) -> None:
        """Copies contents into a tensor, as ``Tensor.copy_from`` does."""
        self._tensors[index].copy_from(value)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tensors)

    def __repr__(self) -> str:
        return f"TensorArray({self._tensors!r})"


def as_array(value: object, what: str) -> np.ndarray:
    """The array behind a tensor, an array or a numpy scalar, not copied.

    Raises:
        UnsupportedTensorType: something else; ``what`` names it in the sentence.
    """
    if isinstance(value, Tensor):
        return value.view()
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    raise UnsupportedTensorType(f"{what}: a numpy array or a Tensor is expected, not {type(value).__name__}")


def numpy_dtype(value: object) -> np.dtype:
    """The numpy element type of an array, a numpy scalar, a ``Tensor``, a ``TensorDesc`` or a ``DataType``.

    Raises:
        UnsupportedTensorType: anything else, or bfloat16.
    """
    if isinstance(value, (Tensor, TensorDesc, DataType)):
        return value.numpy_dtype
    return as_array(value, "numpy_dtype").dtype


def zeros(desc: TensorDesc) -> np.ndarray:
    """An array of zeros that fits a description."""
    return np.zeros(desc.shape, desc.numpy_dtype)


def rand(desc: TensorDesc, seed: int | None = None) -> np.ndarray:
    """A random array that fits a description: integers over their whole range, reals uniform in [0, 1)."""
    generator = np.random.default_rng(seed)
    dtype = desc.numpy_dtype
    if dtype.kind == "b":
        return generator.integers(0, 2, desc.shape).astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, desc.shape, dtype, endpoint=True)
    return generator.random(desc.shape).astype(dtype)
