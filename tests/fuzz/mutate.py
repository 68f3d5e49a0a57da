"""Damages files: bytes anywhere, and fields of protobuf messages and of flatbuffers objects."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

NUMBERS = (0, 1, -1, 2, 3, 4, 5, 7, 16, 127, 128, 255, 256, 65535, 65536, 1 << 20, 10**6, 10**9, 10**12)
NUMBERS += tuple(sign * (1 << bits) + d for bits in (31, 32, 62) for sign in (1, -1) for d in (0, -1))
NUMBERS += ((1 << 63) - 1, -(1 << 63), (1 << 64) - 1)
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 3.4e38, float("inf"), float("-inf"), float("nan"), 256.0)
TEXTS = (
    "",
    "x",
    "y",
    "Relu",
    "Shape",
    "Reshape",
    "Loop",
    "If",
    "Softmax",
    "\x00",
    "\n",
    "../../etc",
    "é" * 9,
    "a" * 5000,
)
MAX_BYTES = 1 << 20


def damage(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Bytes changed without knowledge of the format: flips, cuts, numbers, parts of the file itself or of another."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(out) + 1)
        length = min(rng.choice((1, 2, 4, 8, 16, 64, 1024)), len(out) - at)
        kind = rng.randrange(9)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            start = rng.randrange(len(other) + 1)
            out[at : at + length] = other[start : start + length]
        elif kind in (5, 6, 7):  # a number in its place
            size = rng.choice((1, 2, 4, 4, 8))
            at -= at % size
            number = rng.choice((*NUMBERS, rng.randrange(1 << 16))) & ((1 << 8 * size) - 1)
            out[at : at + size] = number.to_bytes(size, rng.choice(("little", "little", "big")))
        elif rng.random() < 0.3:
            del out[at:]
        if len(out) > MAX_BYTES or not out:
            break
    return bytes(out[:MAX_BYTES])


def number(value: int, rng: random.Random) -> int:
    """Another number: one of the telling ones, or close to the old one."""
    return rng.choice(
        (rng.choice(NUMBERS), value + 1, value - 1, -value, 2 * value, value ^ (1 << rng.randrange(32)))
    )


# Protobuf.

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}


def messages(root: Message) -> list[Message]:
    """The message and all below it."""
    found = [root]
    for message in found:
        for field, value in message.ListFields():
            if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
                found += value if field.is_repeated else [value]
    return found


def change_message(root: Message, rng: random.Random) -> None:
    """Changes one field somewhere below a message: a value, the number or order of elements, a part from elsewhere."""
    everything = messages(root)
    message = rng.choice(everything)
    stated = [field for field, _ in message.ListFields()]
    fields = stated if stated and rng.random() < 0.9 else list(message.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice(fields)
    if field.is_repeated:
        _change_repeated(getattr(message, field.name), field, everything, rng)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        donors = [m for m in everything if m.DESCRIPTOR is field.message_type]
        if rng.random() < 0.5 or not donors:
            message.ClearField(field.name)
        else:
            copy = type(rng.choice(donors))()
            copy.CopyFrom(rng.choice(donors))
            getattr(message, field.name).CopyFrom(copy)
    elif rng.random() < 0.1:
        message.ClearField(field.name)
    else:
        _set(message, field.name, _scalar(getattr(message, field.name), field, everything, rng))


def _set(message: Message, name: str, value: Any) -> None:
    try:
        setattr(message, name, value)
    except (ValueError, TypeError):  # an enum that is closed
        message.ClearField(name)


def _change_repeated(
    values: Any, field: FieldDescriptor, everything: list[Message], rng: random.Random
) -> None:
    kind, n = rng.randrange(5), len(values)
    is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    if kind == 0 and n:
        del values[rng.randrange(n)]
    elif kind == 1 and n > 1:
        order = list(range(n))
        i, j = rng.sample(order, 2)
        order[i], order[j] = j, i
        copies = [values[k] for k in order]
        if is_message:
            copies = [_copy(m) for m in copies]
        del values[:]
        values.extend(copies)
    elif is_message:
        donors = [m for m in everything if m.DESCRIPTOR is field.message_type]
        values.append(_copy(rng.choice(donors))) if donors else values.add()
    elif kind == 2 or not n:
        value = _scalar(values[0] if n else None, field, everything, rng)
        values.extend([value] * rng.choice((1, 1, 2, 100)))
    else:
        i = rng.randrange(n)
        values[i] = _scalar(values[i], field, everything, rng)


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _scalar(value: Any, field: FieldDescriptor, everything: list[Message], rng: random.Random) -> Any:
    if field.cpp_type in _INTEGERS:
        low, high = _INTEGERS[field.cpp_type]
        if field.enum_type is not None and rng.random() < 0.8:
            return rng.choice(field.enum_type.values).number
        return min(max(number(int(value or 0), rng), low), high)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return not value
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(REALS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return damage(bytes(value or b"\0"), bytes(16), rng)
    names = [
        v
        for m in everything
        for f, v in m.ListFields()
        if f.type == FieldDescriptor.TYPE_STRING and isinstance(v, str)
    ]
    return rng.choice((rng.choice(TEXTS), rng.choice(names or TEXTS), rng.choice(names or TEXTS)))


# Flatbuffers, as the objects of the schema's object API.


def objects(root: Any) -> list[Any]:
    """The object and all below it."""
    found = [root]
    for item in found:
        for value in vars(item).values():
            if isinstance(value, list):
                found += [v for v in value if hasattr(v, "__dict__")]
            elif hasattr(value, "__dict__") and not isinstance(value, np.ndarray):
                found.append(value)
    return found


def change_object(root: Any, rng: random.Random) -> None:
    """Changes one field somewhere below an object."""
    everything = [o for o in objects(root) if vars(o)]
    item = rng.choice(everything)
    stated = [name for name, value in vars(item).items() if value is not None]
    name = rng.choice(stated if stated and rng.random() < 0.9 else list(vars(item)))
    value = getattr(item, name)
    if isinstance(value, bool):
        value = not value
    elif isinstance(value, int):
        value = number(value, rng)
    elif isinstance(value, float):
        value = rng.choice(REALS)
    elif isinstance(value, (str, bytes)):
        value = rng.choice(TEXTS).encode()
    elif isinstance(value, (list, np.ndarray)):
        value = _changed_list(list(value), rng, getattr(value, "dtype", None))
    elif value is not None:
        donors = [o for o in everything if type(o) is type(value)]
        value = rng.choice((None, *donors))
    setattr(item, name, value)


def _changed_list(values: list, rng: random.Random, dtype: np.dtype | None) -> Any:
    kind, n = rng.randrange(4), len(values)
    if kind == 0 and n:
        del values[rng.randrange(n)]
    elif kind == 1 and n > 1:
        i, j = rng.sample(range(n), 2)
        values[i], values[j] = values[j], values[i]
    elif n and not hasattr(values[0], "__dict__"):
        i = rng.randrange(n)
        real = isinstance(values[i], (float, np.floating))
        values[i] = rng.choice(REALS) if real else number(int(values[i]), rng)
    elif n:
        values.append(rng.choice(values))
    if dtype is None:
        return values
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = [min(max(int(v), info.min), info.max) for v in values]
    return np.array(values, dtype)
