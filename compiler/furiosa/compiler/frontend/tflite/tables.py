"""Reads TFLite tables through the accessors of the reference runtime's own schema, as plain values and never beyond the file."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.number_types import SOffsetTFlags, VOffsetTFlags

from furiosa.compiler.errors import InvalidFormat, InvalidModel

# All fields of a table by their names in schema.fbs, defaults filled in: numbers, str, arrays (of scalars: views of
# the file), Tables and lists of Tables.  None is a table or string that the file leaves out, an absent vector is empty.
Table = dict[str, Any]

_UNIONS = {
    "array_indices": schema.SparseIndexVector,
    "array_segments": schema.SparseIndexVector,
    "builtin_options": schema.BuiltinOptions,
    "builtin_options2": schema.BuiltinOptions2,
    "details": schema.QuantizationDetails,
}
_SHARING = 4  # how often, on average, a byte of the file may be reached
_TABLE_COST = 64  # bytes that a table counts for: real files have far fewer than one in 16 bytes
_DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)
_EMPTY = np.empty(0, np.uint8)
_EMPTY_TABLE = struct.pack("<HHi", 4, 4, 4)  # a vtable without slots, and at 4 the table


def builtin_code(code: Table) -> int:
    """The number of a builtin operator in an OperatorCode table: the wide field replaced the 8-bit one, old files have only that."""
    return max(code["builtin_code"], code["deprecated_builtin_code"])


def read_model(data: memoryview) -> Table:
    """Reads the Model table with all that hangs on it.

    Raises:
        InvalidFormat: an offset or a length leads out of the file, or its parts overlap beyond reason.
        InvalidModel: a table has a field or a union a member that the runtime's schema lacks: the file is newer.
    """
    with guarded(data):
        return _Reader(_SHARING * len(data)).table(schema.Model.GetRootAs(data, 0))


@contextmanager
def guarded(data: memoryview) -> Iterator[None]:
    """Turns what flatbuffers' accessors raise on a damaged file, which they do not verify, into InvalidFormat."""
    try:
        yield
    except _DAMAGE:
        raise _damaged(data, "an offset or a length leads out of the file") from None
    except _Overlap:
        raise _damaged(
            data, "it would unfold to more tables, vectors and strings than it has room for"
        ) from None


def _damaged(data: memoryview, reason: str) -> InvalidFormat:
    return InvalidFormat(f"not a whole TFLite file ({len(data)} bytes): {reason}")


@cache
def names(enum: type) -> dict[int, str]:
    """The members of an enum or union class of the schema by their values."""
    return {v: name for name, v in vars(enum).items() if isinstance(v, int) and not name.startswith("_")}


@cache
def defaults(kind: str) -> Table:
    """The fields of a table that stores none."""
    table = getattr(schema, kind)()
    table.Init(_EMPTY_TABLE, 4)
    return _Reader(_TABLE_COST).table(table)


class _Overlap(Exception):
    """More is reached than lies in the file side by side."""


class _Field(NamedTuple):
    """A field: ``get(table)``, or ``get(table, i)`` where it has a length; ``array(table)`` gives scalars at once."""

    name: str
    get: Callable[..., Any]
    length: Callable[[Any], int] | None
    array: Callable[[Any], Any] | None


@cache
def _fields(cls: type) -> tuple[tuple[_Field, ...], int]:
    """The fields of a generated class in the schema's order, and the size in bytes of a vtable with all of them."""
    methods = {k: v for k, v in vars(cls).items() if isinstance(v, FunctionType) and k != "Init"}
    fields = tuple(
        _Field(
            re.sub("(?<!^)(?=[A-Z])", "_", name).lower(),
            get,
            methods.get(f"{name}Length"),
            methods.get(f"{name}AsNumpy"),
        )
        for name, get in methods.items()
        if re.sub("(Length|AsNumpy|IsNone)$", "", name) not in methods.keys() - {name}
    )
    slots: list[int] = []
    getattr(schema, f"{cls.__name__}Start")(SimpleNamespace(StartObject=slots.append))
    return fields, 4 + 2 * slots[0]


class _Reader:
    """Decodes tables.

    A part of the file may be reached by several offsets, so a small file could unfold into a huge tree: what is left
    of ``budget`` bytes is counted down.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget

    def _take(self, n_bytes: int) -> None:
        self._budget -= n_bytes
        if self._budget < 0:
            raise _Overlap

    def table(self, table: Any) -> Table:
        """All fields of a table, given as an object of the schema's class."""
        self._take(_TABLE_COST)
        fields, known = _fields(type(table))
        position = table._tab
        vtable = position.Pos - position.Get(SOffsetTFlags, position.Pos)
        if (
            position.Get(VOffsetTFlags, vtable) > known
        ):  # writers leave out slots at the end that are not used
            raise _newer(f"a {type(table).__name__} uses a field")
        result: Table = {}
        for field in fields:
            if field.array is not None:
                value = field.array(table)
                value = value if isinstance(value, np.ndarray) else _EMPTY
                self._take(value.nbytes)
            elif field.length is not None:
                count = field.length(table)
                self._take(4 * count)
                value = [self.table(field.get(table, i)) for i in range(count)]
            else:
                value = field.get(table)
                if value is not None and not isinstance(value, int | float):
                    value = self._part(field.name, value, result)
            result[field.name] = value
        return result

    def _part(self, name: str, value: Any, table: Table) -> str | Table:
        """A string, a table, or a member of a union."""
        if isinstance(value, bytes):
            self._take(len(value))
            return value.decode("utf-8", "backslashreplace")
        if isinstance(value, flatbuffers.table.Table):
            tag = table[f"{name}_type"]
            kind = names(_UNIONS[name]).get(tag)
            if not tag or kind is None:
                raise _newer(f"{_UNIONS[name].__name__} has member {tag}")
            member = getattr(schema, kind)()
            member.Init(value.Bytes, value.Pos)
            value = member
        return self.table(value)


def _newer(what: str) -> InvalidModel:
    return InvalidModel(
        f"the TFLite model cannot be read: {what} that this compiler's TFLite schema does not know"
    )
