"""Reads and writes flatbuffers after the tables of schema.py; every access is checked against the file's end."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from furiosa.compiler.frontend.tflite.schema import Field, fields, members

Table = dict[str, Any]  # only the fields that the file stores; a vector of scalars is a view of the file

# struct and numpy codes of the schema's scalars
_FORMATS = {
    "bool": "?", "i8": "b", "u8": "B", "i16": "h", "u16": "H",
    "i32": "i", "u32": "I", "i64": "q", "u64": "Q", "f32": "f",
}  # fmt: skip
_STRUCTS = {code: struct.Struct("<" + fmt) for code, fmt in _FORMATS.items()}
_DTYPES = {code: np.dtype("<" + fmt) for code, fmt in _FORMATS.items()}
_U16, _I32, _U32 = _STRUCTS["u16"], _STRUCTS["i32"], _STRUCTS["u32"]
_VECTOR_ALIGNMENT = 16  # of Buffer.data, which the schema declares with force_align: 16


class Malformed(ValueError):
    """The bytes break the rules of the format."""


class UnknownField(ValueError):
    """A table has a field that the schema does not list: the file is newer than this compiler."""


class Reader:
    """Decodes tables into dictionaries.

    A table may be reached by several offsets, so a small file could unfold into a huge tree: the number of tables
    is limited by the number that the file could hold side by side.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._size = len(data)
        self._tables_left = len(data) // 4 + 1

    def root(self, table: str) -> Table:
        """Decodes the root table.

        Raises:
            Malformed: an offset, a length or a string leads out of the file.
            UnknownField: the file uses a newer schema.
        """
        try:
            return self._table(self._follow(0), table)
        except struct.error:
            raise Malformed("an offset leads out of the file") from None

    def _follow(self, position: int) -> int:
        (offset,) = _U32.unpack_from(self._data, position)
        return position + offset

    def _table(self, position: int, name: str) -> Table:
        self._tables_left -= 1
        if self._tables_left < 0:
            raise Malformed("more tables than the file has room for")
        vtable = position - _I32.unpack_from(self._data, position)[0]
        if not 0 <= vtable <= self._size - 4:
            raise Malformed(f"the vtable of a {name} lies outside of the file")
        (length,) = _U16.unpack_from(self._data, vtable)
        slots = struct.unpack_from(f"<{max(length - 4, 0) // 2}H", self._data, vtable + 4)
        known = fields(name)
        if any(slots[len(known) :]):
            raise UnknownField(f"a {name} uses a field that this compiler's TFLite schema does not know")
        result: Table = {}
        for field, offset in zip(known, slots):
            if offset and field is not None:
                result[field.name] = self._value(position + offset, field, result)
        return result

    def _value(self, position: int, field: Field, table: Table) -> Any:
        kind = field.kind
        if kind == "scalar":
            return _STRUCTS[field.type].unpack_from(self._data, position)[0]
        target = self._follow(position)
        if kind == "vector":
            return self._vector(target, field.type)
        if kind == "string":
            text = self._vector(target, "u8")
            return text.tobytes().decode("utf-8", "backslashreplace")
        if kind == "table":
            return self._table(target, field.type)
        if kind == "union":
            return self._table(target, union_member(field, table))
        (count,) = _U32.unpack_from(self._data, target)
        if count > (self._size - target) // 4:
            raise Malformed(f"a vector of {field.type} is longer than the file")
        target += 4
        return [self._table(self._follow(p), field.type) for p in range(target, target + 4 * count, 4)]

    def _vector(self, position: int, code: str) -> np.ndarray:
        (count,) = _U32.unpack_from(self._data, position)
        dtype = _DTYPES[code]
        if count > (self._size - position - 4) // dtype.itemsize:
            raise Malformed("a vector is longer than the file")
        return np.frombuffer(self._data, dtype, count, position + 4)


def union_member(field: Field, table: Table) -> str:
    """The table that a union field holds, after the discriminator stored before it."""
    names = members(field.type)
    tag = table.get(field.name + "_type", 0)
    if not 0 < tag < len(names):
        raise UnknownField(f"member {tag} of {field.type} is not in this compiler's TFLite schema")
    return names[tag]


class Writer:
    """Encodes dictionaries as one flatbuffer, parents before children; the same tables give the same bytes."""

    def __init__(self, identifier: bytes) -> None:
        self._out = bytearray(4) + identifier
        self._vtables: dict[bytes, int] = {}

    def finish(self, root: Table, name: str) -> bytes:
        """Encodes the tree below ``root``."""
        self._point(0, self._table(root, name))
        return bytes(self._out)

    def _align(self, alignment: int, ahead: int = 0) -> None:
        """Pads so that the byte ``ahead`` of the end is aligned."""
        self._out.extend(bytes(-(len(self._out) + ahead) % alignment))

    def _point(self, position: int, target: int) -> None:
        _U32.pack_into(self._out, position, target - position)

    def _table(self, table: Table, name: str) -> int:
        present = [(slot, f) for slot, f in enumerate(fields(name)) if f is not None and f.name in table]
        size, offsets = 4, {}
        # Widest first leaves no holes.
        for slot, f in sorted(present, key=lambda sf: (-_width(sf[1]), sf[0])):
            size += -size % _width(f)
            offsets[slot] = size
            size += _width(f)
        count = max(offsets, default=-1) + 1
        vtable = struct.pack(
            f"<{2 + count}H", 4 + 2 * count, size, *(offsets.get(s, 0) for s in range(count))
        )
        self._align(2)
        if vtable not in self._vtables:
            self._vtables[vtable] = len(self._out)
            self._out.extend(vtable)
        self._align(8)
        position = len(self._out)
        self._out.extend(bytes(size))
        struct.pack_into("<i", self._out, position, position - self._vtables[vtable])
        for slot, f in present:
            at, value = position + offsets[slot], table[f.name]
            if f.kind == "scalar":
                _STRUCTS[f.type].pack_into(self._out, at, value)
            else:
                self._point(at, self._child(f, value, table))
        return position

    def _child(self, field: Field, value: Any, table: Table) -> int:
        if field.kind == "table":
            return self._table(value, field.type)
        if field.kind == "union":
            return self._table(value, union_member(field, table))
        if field.kind == "string":
            return self._vector(value.encode() + b"\0", 1, terminated=True)
        if field.kind == "vector":
            array = np.ascontiguousarray(value, _DTYPES[field.type])
            alignment = _VECTOR_ALIGNMENT if field.type == "u8" else array.itemsize
            return self._vector(memoryview(array.reshape(-1)).cast("B"), array.itemsize, alignment)
        self._align(4)
        position = len(self._out)
        self._out.extend(_U32.pack(len(value)) + bytes(4 * len(value)))
        for i, item in enumerate(value):
            self._point(position + 4 + 4 * i, self._table(item, field.type))
        return position

    def _vector(
        self, data: bytes | memoryview, itemsize: int, alignment: int = 4, terminated: bool = False
    ) -> int:
        self._align(max(4, alignment), ahead=4)
        position = len(self._out)
        self._out.extend(_U32.pack(len(data) // itemsize - terminated))
        self._out.extend(data)
        return position


def _width(field: Field) -> int:
    return _STRUCTS[field.type].size if field.kind == "scalar" else 4
