"""Turns ONNX tensor messages into numpy arrays: views of the file where the layout allows, checked before use."""

from __future__ import annotations

import numpy as np
import onnx

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx import checks
from furiosa.compiler.model_files import ModelFiles

MAX_TENSOR_BYTES = 2**31 - 1  # the limit of protobuf for one message, and with it of a host cluster's model

MAX_RANK = 64  # of NumPy's arrays

# numpy names by TensorProto.DataType
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
CODES = {name: code for code, name in DTYPES.items()}
_NOT_NUMPY_BITS = {
    "bfloat16": 16,
    "uint4": 4,
    "int4": 4,
    "float4_e2m1fn": 4,
    "uint2": 2,
    "int2": 2,
    "string": 0,
}


def dtype_name(code: int, where: str) -> str:
    """The dfg's name of an element type.

    Raises:
        InvalidModel: the ONNX version that this compiler knows has no such type.
    """
    if code not in DTYPES:
        raise InvalidModel(f"{where} has the unknown element type {code}")
    return DTYPES[code]


def is_numpy(dtype: str) -> bool:
    """Whether numpy itself has the type; other constants are kept as stored bytes."""
    return dtype not in _NOT_NUMPY_BITS and not dtype.startswith("float8")


def stored_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """The bytes that a tensor takes in ``raw_data`` (packed where elements are smaller than a byte)."""
    size = 1
    for d in shape:
        size *= d
    if is_numpy(dtype):
        return size * np.dtype(dtype).itemsize
    return (size * _NOT_NUMPY_BITS.get(dtype, 8) + 7) // 8


def check_size(name: str, shape: tuple[int, ...], dtype: str) -> int:
    """The bytes of a tensor.

    Raises:
        InvalidModel: more than 2 GiB, a negative dimension, or more than 64 dimensions.
    """
    if any(d < 0 for d in shape):
        raise InvalidModel(f'tensor "{name}" has the negative dimension in shape {list(shape)}')
    if len(shape) > MAX_RANK:
        raise InvalidModel(
            f'tensor "{name}" has {len(shape)} dimensions; NumPy arrays have at most {MAX_RANK}'
        )
    least = stored_bytes(tuple(d or 1 for d in shape), dtype)  # a dimension of 0 excuses no other
    if least > MAX_TENSOR_BYTES:
        raise InvalidModel(
            f'tensor "{name}" of shape {list(shape)} would take {least} bytes; the limit is 2 GiB'
        )
    return stored_bytes(shape, dtype)


class Constants:
    """Reads the constants of one model, also from ``files``."""

    def __init__(self, files: ModelFiles) -> None:
        self._files = files

    def read(
        self, tensor, raw: memoryview | None = None, name: str = ""
    ) -> tuple[str, tuple[int, ...], np.ndarray]:
        """Reads a TensorProto, of which ``raw`` is the raw data if that was taken out.

        Returns:
            dtype, shape and data; the data of a type that numpy lacks are the stored bytes, uint8 [n].

        Raises:
            InvalidModel: the data do not fit the declared shape, or external data lie where they must not.
            IoError: external data are missing, or may not be read.
        """
        name = name or tensor.name
        shape = tuple(tensor.dims)
        dtype = dtype_name(tensor.data_type, f'constant "{name}"')
        n_bytes = check_size(name, shape, dtype)
        if tensor.data_location == tensor.EXTERNAL:
            data = self._external(tensor, name, n_bytes)
        elif raw is not None or tensor.HasField("raw_data"):
            data = np.frombuffer(tensor.raw_data if raw is None else raw, np.uint8)
        else:
            return dtype, shape, self._typed(tensor, name, shape, dtype)
        if len(data) != n_bytes:
            raise InvalidModel(
                f'constant "{name}" holds {len(data)} bytes; shape {list(shape)} of {dtype} takes {n_bytes}'
            )
        if is_numpy(dtype):
            data = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
        return dtype, shape, data

    def take_in(self, model: onnx.ModelProto) -> None:
        """Moves external data into the message, but for the main graph's initialisers: others may end up in host models.

        Raises:
            InvalidModel, IoError: as ``read``.
        """
        for tensor in [*checks.external_tensors(model, initializers=False)]:
            name = tensor.name or "a constant of an operator"
            n_bytes = check_size(name, tuple(tensor.dims), dtype_name(tensor.data_type, f'constant "{name}"'))
            tensor.raw_data = self._external(tensor, name, n_bytes).tobytes()
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")

    def densify(self, sparse) -> Tensor:
        """Reads a sparse initialiser as the dense constant that it stands for.

        Raises:
            InvalidModel: values, indices and shape do not fit together.
        """
        name, shape = sparse.values.name, tuple(sparse.dims)
        dtype, value_shape, values = self.read(sparse.values, name=name)
        count = values.size
        index_type, index_shape, indices = self.read(sparse.indices, name=f"{name} (indices)")
        check_size(name, shape, dtype)
        if not is_numpy(dtype) or index_type != "int64" or index_shape not in ((count,), (count, len(shape))):
            raise InvalidModel(
                f'sparse constant "{name}" has values of shape {list(value_shape)}, '
                f"but indices of shape {list(index_shape)}"
            )
        data = np.zeros(shape, dtype)
        try:
            if len(index_shape) == 2:
                indices = np.ravel_multi_index(tuple(indices.T), shape)
            data.reshape(-1)[indices] = values
        except (ValueError, IndexError):
            raise InvalidModel(
                f'sparse constant "{name}" has an index outside of its shape {list(shape)}'
            ) from None
        data.flags.writeable = False
        return Tensor(name, shape, dtype, data=data)

    def _typed(self, tensor, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Data stored as numbers of the message."""
        from onnx import numpy_helper

        if dtype == "string":
            values = list(tensor.string_data)
            array = np.array(values, dtype=np.bytes_) if values else np.empty(0, "S1")
        else:
            try:
                array = numpy_helper.to_array(tensor)
            except (ValueError, TypeError) as e:
                raise InvalidModel(f'constant "{name}" cannot be read: {e}') from None
        size = int(np.prod(shape, dtype=np.int64))
        if array.size != size:
            raise InvalidModel(
                f'constant "{name}" holds {array.size} elements; its shape {list(shape)} has {size}'
            )
        array = array.reshape(shape)
        if dtype != "string" and not is_numpy(dtype):
            packed = numpy_helper.from_array(array)
            array = np.frombuffer(packed.raw_data, np.uint8)
        array.flags.writeable = False
        return array

    def _external(self, tensor, name: str, n_bytes: int) -> np.ndarray:
        """Reads the tensor's bytes from another file."""
        entries = {e.key: e.value for e in tensor.external_data}
        location, who = entries.get("location", ""), f'constant "{name}"'
        size = self._files.size(location, who)
        try:
            offset = int(entries.get("offset", "0") or 0)
            length = int(entries.get("length", "") or n_bytes)
        except ValueError:
            raise InvalidModel(
                f"{who} has external data with an offset or length that is no number"
            ) from None
        if offset < 0 or length != n_bytes or offset > size or length > size - offset:
            raise InvalidModel(
                f"{who} needs {n_bytes} bytes, but its external data are {length} bytes "
                f'at offset {offset} of the {size} bytes of "{location}"'
            )
        return np.frombuffer(self._files.read(location, who, offset, length), np.uint8)
