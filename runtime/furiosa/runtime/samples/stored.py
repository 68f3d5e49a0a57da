"""One array of a .npy file or of an entry of a .npz file, of which parts are read one at a time."""

from __future__ import annotations

import errno
import io
import math
from collections.abc import Sequence
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from furiosa.enf.files import FileChanged, Part, in_memory, open_file
from furiosa.runtime.errors import InvalidInput

_MAX_HEADER = 1 << 17  # bytes of a .npy file before its numbers: numpy refuses longer ones, too
_MAX_AT_ONCE = 1 << 30  # bytes of one part, and of an array that can only be read as a whole


def read_npy(path: str) -> np.ndarray:
    """An array from a .npy file, in memory and read-only; never unpickled.

    Raises:
        InvalidInput: the file is no .npy file, a truncated one, or one that changes meanwhile.
        OSError: it cannot be opened.
    """
    content, what = open_file(path), f"{path} is not a whole .npy file"
    try:
        head = io.BytesIO(bytes(content[:_MAX_HEADER]))
        shape, is_fortran, dtype = _read_header(head, what)
        size = math.prod(shape) * dtype.itemsize
        data = content[head.tell() :][: max(size, 0)]
        if dtype.hasobject or len(data) != size:
            raise InvalidInput(f"{what} of numbers: {shape} of {dtype} where {len(data)} bytes follow")
        array = np.frombuffer(in_memory(data), dtype) if data else np.empty(0, dtype)
        return array.reshape(shape, order="F" if is_fortran else "C")
    except FileChanged as e:
        raise InvalidInput(f"{path}: {e.strerror}") from None
    except ValueError as e:  # a shape or element type that cannot be
        raise InvalidInput(f"{what}: {e}") from None


class Stored:
    """An array in .npy form that a file is at: ``shape``, ``dtype``, and parts of it on demand.

    Nothing of the size that a header states is allocated before it is known that the file has it.
    """

    def __init__(self, file: BinaryIO, size: int, what: str):
        """Reads the header.

        Args:
            file: can seek; of this array alone.
            size: bytes that it says it has.
            what: names the array in sentences.

        Raises:
            InvalidInput: no array of numbers, a truncated one, or one that is followed by more.
        """
        self.what = what
        self.shape, self._is_fortran, self.dtype = _read_header(file, f"{what} is no array")
        if self.dtype.hasobject or self.dtype.kind not in "biufc" or min(self.shape, default=0) < 0:
            raise InvalidInput(f"{what} is no array of numbers: {self.shape} of {self.dtype}")
        self._file, self._start = file, file.tell()
        if size - self._start != math.prod(self.shape) * self.dtype.itemsize:
            raise InvalidInput(
                f"{what}: the array is truncated or followed by more: {self.shape} of {self.dtype} "
                f"where {size - self._start} bytes follow"
            )
        self._whole: np.ndarray | None = None

    def part(self, number: int, shape: Sequence[int]) -> np.ndarray:
        """Of the array, seen as elements of ``shape`` one after another, this one; read-only.

        Raises:
            InvalidInput: too large, or truncated.
        """
        length = math.prod(shape)
        if self._is_fortran and len(self.shape) > 1:
            flat = self._all().reshape(-1)
            return flat[number * length : (number + 1) * length].reshape(shape)
        return self._read(number * length, length).reshape(shape)

    def _all(self) -> np.ndarray:
        """The whole of an array whose first index runs fastest, so that its samples lie nowhere by themselves."""
        if self._whole is None:
            flat = self._read(0, math.prod(self.shape))
            self._whole = np.ascontiguousarray(flat.reshape(self.shape, order="F"))
        return self._whole

    def _read(self, start: int, length: int) -> np.ndarray:
        itemsize = self.dtype.itemsize
        if length * itemsize > _MAX_AT_ONCE:
            raise InvalidInput(
                f"{self.what}: {length * itemsize} bytes would be read at once, more than {_MAX_AT_ONCE}; "
                "save samples one after another along the first dimension, in C order"
            )
        self._file.seek(self._start + start * itemsize)
        data = self._file.read(length * itemsize)
        if len(data) != length * itemsize:
            raise InvalidInput(f"{self.what}: the array is truncated")
        return np.frombuffer(data, self.dtype)


class BeforeStart(OSError):
    """A seek to before the first byte, by who believes a damaged file."""


class PartFile(io.RawIOBase):
    """The bytes of a ``Part`` as a file that can be read and seeks."""

    def __init__(self, part: Part):
        super().__init__()
        self._part, self._at = part, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._part)}[whence]
        if base + offset < 0:
            raise BeforeStart(errno.EINVAL, "a position before the file's start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        data = bytes(self._part[self._at : self._at + len(buffer)])
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _read_header(file: BinaryIO, what: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first index runs fastest, and element type of the array in .npy form that a file is at.

    Raises:
        InvalidInput: there is none; ``what`` names it in the sentence.
    """
    try:
        version = np.lib.format.read_magic(file)
        first = version == (1, 0)
        return (
            np.lib.format.read_array_header_1_0(file) if first else np.lib.format.read_array_header_2_0(file)
        )
    except (ValueError, EOFError, SyntaxError, TypeError, TokenError, RecursionError) as e:
        raise InvalidInput(f"{what}: {e}") from e
