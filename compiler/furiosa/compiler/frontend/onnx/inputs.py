"""The inputs of an ONNX model: initialisers are none of them, and every dimension gets a size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import onnx

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend import open_dims
from furiosa.compiler.frontend.open_dims import Dim
from furiosa.compiler.selection import Selection, Shape

# entries of the model's metadata in which exporters state the height and width, or one number, of images
_IMAGE_SIZE = ("imgsz", "image_size", "img_size", "input_size")


def fix_inputs(model: onnx.ModelProto, chosen: Selection) -> dict[str, Shape]:
    """Makes initialisers no inputs, and open dimensions what the user says, or 1 for a batch.

    A dimension is open where it has a name, no value or a negative one; a 0 that is written is a size: no elements.

    Returns:
        The shapes that are not those of the file without a user's word, by name.

    Raises:
        InvalidModel: an input is no tensor, or a dimension is still open.
        InvalidConfig: what the user says does not fit the model.
    """
    without_constants(model.graph)
    for value in model.graph.input:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            kind = "value of no type" if kind is None else kind.removesuffix("_type")
            raise InvalidModel(f'input "{value.name}" is a {kind}, not a tensor')
    declared = {value.name: declared_dims(value) for value in model.graph.input}
    shapes = open_dims.fix(declared, chosen, lambda name, dims: _hint(model.metadata_props, dims))
    usual = open_dims.defaults(declared) if chosen else shapes
    for value in model.graph.input:
        set_shape(value, shapes[value.name])
    return {name: shape for name, shape in shapes.items() if usual.get(name) != shape}


def without_constants(graph: onnx.GraphProto) -> None:
    """Old files list initialisers as inputs, too."""
    constants = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)


def declared_dims(value: onnx.ValueInfoProto) -> list[Dim] | None:
    """The dimensions of a tensor as the file has them; None where it does not even state a rank."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else open_dims.named(d.dim_param)
        for d in tensor.shape.dim
    ]


def set_shape(value: onnx.ValueInfoProto, shape: Sequence[Dim]) -> None:
    """Gives a tensor a shape."""
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    value.type.tensor_type.shape.SetInParent()  # a scalar has a shape, too
    for size in shape:
        if isinstance(size, int):
            dims.add(dim_value=size)
        else:
            dims.add(dim_param=size or "")


def _hint(properties: Iterable[onnx.StringStringEntryProto], dims: Sequence[Dim]) -> Shape | None:
    """A shape with the size of images that the exporter noted down; the other open dimensions would have to be batches."""
    places = [i for i, d in enumerate(dims) if i and not isinstance(d, int)]
    if len(dims) != 4 or places not in ([1, 2], [2, 3]):
        return None
    for p in properties:
        if p.key not in _IMAGE_SIZE or len(p.value) > 100:
            continue
        try:
            size = json.loads(p.value)
        except (ValueError, RecursionError):
            continue
        size = size if isinstance(size, list) else [size] * 2
        if len(size) == 2 and all(type(n) is int and 0 < n < 1 << 16 for n in size):
            first = dims[0] if isinstance(dims[0], int) else 1
            whole = [first, *dims[1:]]
            for place, n in zip(places, size):
                whole[place] = n
            return tuple(whole)
    return None
