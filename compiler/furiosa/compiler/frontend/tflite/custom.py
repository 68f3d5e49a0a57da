"""The one custom operator whose output shapes files leave out: TFLite_Detection_PostProcess."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.errors import InvalidModel

_MAP = 9  # types of the flexbuffer format
_INTEGERS = frozenset({1, 2})


def check(op: Operator) -> None:
    """States the output shapes of a TFLite_Detection_PostProcess: boxes [1, n, 4], classes and scores [1, n], count [1].

    ``n`` is max_detections * max_classes_per_detection of its options, as the reference runtime's kernel allocates.

    Raises:
        InvalidModel: the options cannot be read, or the file states other shapes.
    """
    if op.attributes.get("custom_code") != "TFLite_Detection_PostProcess":
        return
    where = f'operator "{op.name}" (TFLite_Detection_PostProcess)'
    try:
        options = integers(op.attributes["custom_options"])
        n = options["max_detections"] * options["max_classes_per_detection"]
    except (IndexError, ValueError, KeyError):
        raise InvalidModel(f"{where} has options that cannot be read") from None
    expected = [(1, n, 4), (1, n), (1, n), (1,)]
    if len(op.outputs) != len(expected):
        raise InvalidModel(f"{where} has {len(op.outputs)} outputs; it makes {len(expected)}")
    for tensor, shape in zip(op.outputs, expected):
        if tensor.shape not in ((), shape):
            raise InvalidModel(
                f'{where} makes "{tensor.name}" of shape {list(shape)}, not {list(tensor.shape)}'
            )
        tensor.shape = shape


def integers(data: bytes) -> dict[str, int]:
    """The integers of a flexbuffer whose root is a map.

    Raises:
        ValueError, IndexError: the bytes are no such flexbuffer.
    """

    def number(position: int, width: int) -> int:
        if not 0 <= position <= len(data) - width:
            raise IndexError("an offset leads out of the options")
        return int.from_bytes(data[position : position + width], "little")

    if len(data) < 3 or data[-2] >> 2 != _MAP:
        raise ValueError("the root is no map")
    # The file ends with the root: its value, its packed type (type << 2 | log2 of the width), its width.
    root = len(data) - 2 - data[-1]
    width = 1 << (data[-2] & 3)
    values = root - number(root, data[-1])
    count = number(values - width, width)
    key_width = number(values - 2 * width, width)
    keys = values - 3 * width
    keys -= number(keys, width)
    if key_width not in (1, 2, 4, 8) or count > len(data):
        raise ValueError("the map is damaged")
    result = {}
    for i in range(count):
        key = keys + i * key_width
        key -= number(key, key_width)
        if key < 0:
            raise IndexError("an offset leads out of the options")
        name = data[key : data.index(b"\0", key)].decode()
        if number(values + count * width + i, 1) >> 2 in _INTEGERS:
            result[name] = number(values + i * width, width)
    return result
