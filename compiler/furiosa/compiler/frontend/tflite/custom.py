"""The custom operators that the reference runtime has kernels for, and what has to be known of them."""

from __future__ import annotations

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.errors import InvalidModel

# The operators that LiteRT's own interpreter registers, with the least number of inputs and the number of outputs: its
# kernels do not all check them.
ARITY = {
    "AudioSpectrogram": (1, 1),
    "Convolution2DTransposeBias": (3, 1),
    "MaxPoolingWithArgmax2D": (1, 2),
    "MaxUnpooling2D": (2, 1),
    "Mfcc": (2, 1),
    "NumericVerify": (2, 1),
    "TFLite_Detection_PostProcess": (3, 4),
}
_MAP = 9  # types of the flexbuffer format
_INTEGERS = frozenset({1, 2})


def check(op: Operator) -> None:
    """Checks a custom operator, and supplies the output shapes of TFLite_Detection_PostProcess, which files leave out.

    These are boxes [1, n, 4], classes and scores [1, n], count [1], where ``n`` is max_detections *
    max_classes_per_detection of its options, as the reference runtime's kernel allocates.

    Raises:
        InvalidModel: nobody knows the operator, inputs or outputs are missing, its options cannot be read, or the file
            states other shapes.
    """
    if op.op_type != "CUSTOM":
        return
    code = op.attributes["custom_code"]
    if code not in ARITY:
        raise InvalidModel(
            f'operator "{op.name}" is the unknown custom operator "{code}": '
            f"the reference runtime has no kernel for it, so the model must do without it"
        )
    where = f'operator "{op.name}" ({code})'
    n_inputs, n_outputs = ARITY[code]
    if len(op.inputs) < n_inputs or None in op.inputs[:n_inputs]:
        raise InvalidModel(f"{where} has {len(op.inputs)} inputs; it needs {n_inputs}")
    if len(op.outputs) != n_outputs:
        raise InvalidModel(f"{where} has {len(op.outputs)} outputs; it makes {n_outputs}")
    if code == "TFLite_Detection_PostProcess":
        _check_anchors(op, where)
        _state_detection_shapes(op, where)


def _check_anchors(op: Operator, where: str) -> None:
    """The runtime's kernel reads beyond the shorter of its inputs."""
    boxes, scores, anchors = (list(t.shape) for t in op.inputs[:3])
    counts = boxes[1:2], scores[1:2], anchors[:1]
    if (len(boxes), len(scores), len(anchors)) != (3, 3, 2) or len(set(map(tuple, counts))) != 1:
        raise InvalidModel(
            f"{where} has boxes {boxes}, scores {scores} and anchors {anchors}; it needs an anchor and scores for each box: anchors are made "
            "for one size of images"
        )


def _state_detection_shapes(op: Operator, where: str) -> None:
    try:
        options = integers(op.attributes["custom_options"])
        n = options["max_detections"] * options["max_classes_per_detection"]
    except (IndexError, ValueError, KeyError):
        raise InvalidModel(f"{where} has options that cannot be read") from None
    for tensor, shape in zip(op.outputs, [(1, n, 4), (1, n), (1, n), (1,)], strict=True):
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
