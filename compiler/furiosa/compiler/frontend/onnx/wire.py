"""Takes the big constants out of a serialised ONNX model before protobuf copies them.

Parsing a 100 MB model with protobuf costs 100 MB for the message and as much again for every ``raw_data`` that is
read.  The wire format is simple enough to walk by hand, so that constants stay views of the file.
"""

from __future__ import annotations

_LEN = 2  # wire types: 0 varint, 1 64-bit, 2 length-delimited, 5 32-bit
_FIXED = {1: 8, 5: 4}
_GRAPH = 7  # ModelProto.graph
_INITIALIZER = 5  # GraphProto.initializer
_RAW_DATA = 9  # TensorProto.raw_data

_METADATA = 14  # ModelProto.metadata_props

RANGES_KEY = "FurisoaAI.CalibrationResult"  # of the metadata of a float model that the vendor's quantizer (0.10) leaves, spelt so

SMALL = 1024  # bytes; constants up to this size (shapes, axes, pads) stay in the message for shape inference


class Malformed(ValueError):
    """The bytes are not a protobuf message."""


def split(data: memoryview) -> tuple[bytes, dict[int, memoryview]]:
    """Splits a serialised ModelProto.

    Returns:
        The model without the raw data of its main graph's big initialisers, and that raw data by the
        initialiser's index.

    Raises:
        Malformed: a length leads out of the file.
    """
    big: dict[int, memoryview] = {}
    count = 0
    model: list[bytes | memoryview] = []
    for number, whole, payload in _fields(data):
        if number != _GRAPH or payload is None:
            model.append(whole)
            continue
        graph: list[bytes | memoryview] = []
        for inner, inner_whole, inner_payload in _fields(payload):
            if inner == _INITIALIZER and inner_payload is not None:
                if len(inner_payload) > SMALL:
                    rest, raw = _cut(inner_payload)
                    if raw is not None and len(raw) > SMALL:
                        big[count] = raw
                        inner_whole = _delimited(_INITIALIZER, rest)
                count += 1
            graph.append(inner_whole)
        model.append(_delimited(_GRAPH, b"".join(graph)))
    return b"".join(model), big


def join(model: bytes, initializers: list[tuple[bytes, memoryview]]) -> bytes:
    """The inverse: adds initialisers, each a serialised TensorProto without its raw data, and that data.

    Protobuf merges a repeated occurrence of ``ModelProto.graph`` into the first.
    """
    parts: list[bytes | memoryview] = [model]
    for tensor, raw in initializers:
        head = tensor + _key(_RAW_DATA) + _varint(len(raw))
        initializer = _key(_INITIALIZER) + _varint(len(head) + len(raw))
        parts += [_key(_GRAPH), _varint(len(initializer) + len(head) + len(raw)), initializer, head, raw]
    return b"".join(parts)


def properties(data: memoryview) -> dict[str, str]:
    """The metadata of a serialised ModelProto; nothing of bytes that are none, which somebody else will tell."""
    import onnx
    from google.protobuf.message import DecodeError

    found = {}
    try:
        for number, _, payload in _fields(data):
            if number == _METADATA and payload is not None:
                entry = onnx.StringStringEntryProto.FromString(bytes(payload))
                found[entry.key] = entry.value
    except (Malformed, DecodeError):
        pass
    return found


def _cut(tensor: memoryview) -> tuple[bytes, memoryview | None]:
    raw = None
    rest = []
    for number, whole, payload in _fields(tensor):
        if number == _RAW_DATA and payload is not None:
            raw = payload  # the last one wins, as in protobuf
        else:
            rest.append(whole)
    return b"".join(rest), raw


def _fields(data: memoryview):
    """Yields the number, all bytes, and (length-delimited fields only) the payload of every field of a message."""
    position, end = 0, len(data)
    while position < end:
        start = position
        key, position = _read_varint(data, position)
        kind = key & 7
        payload = None
        if kind == _LEN:
            length, position = _read_varint(data, position)
            if length > end - position:
                raise Malformed("a field is longer than the file")
            payload = data[position : position + length]
            position += length
        elif kind == 0:
            _, position = _read_varint(data, position)
        elif kind in _FIXED:
            position += _FIXED[kind]
        else:
            raise Malformed(f"wire type {kind}")
        if position > end:
            raise Malformed("a field is longer than the file")
        yield key >> 3, data[start:position], payload


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise Malformed("a number is cut off")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(number: int) -> bytes:
    return _varint(number << 3 | _LEN)


def _delimited(number: int, payload: bytes) -> bytes:
    return _key(number) + _varint(len(payload)) + payload
