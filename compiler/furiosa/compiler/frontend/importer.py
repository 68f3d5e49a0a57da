"""The one way in: recognises the format of a model's bytes and imports it."""

from __future__ import annotations

from typing import NamedTuple

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidConfig, InvalidFormat, InvalidModel
from furiosa.compiler.model_files import ModelFiles
from furiosa.compiler.selection import EVERYTHING, Selection

TFLITE_IDENTIFIER = b"TFL3"  # at byte 4 of every TFLite flatbuffer


def import_model(
    data: bytes | memoryview,
    *,
    batch_size: int = 1,
    selection: Selection = EVERYTHING,
    files: ModelFiles | None = None,
) -> Graph:
    """Imports a TFLite or ONNX model.

    Args:
        data: the bytes of the file; constants of the graph stay views of them where the layout allows.
        batch_size: multiplies dimension 0 of every input and output.
        selection: sizes of open dimensions, and where the model is cut.
        files: where external data of an ONNX model are read from; None refuses them.

    Raises:
        InvalidFormat, InvalidModel, InvalidConfig, IoError: see furiosa.compiler.errors.
    """
    if len(data) == 0:
        raise InvalidFormat("the model is empty (0 bytes)")
    if source_format(data) == "tflite":
        from furiosa.compiler.frontend.tflite.importer import import_tflite

        return import_tflite(data, batch_size=batch_size, selection=selection)
    from furiosa.compiler.frontend.onnx.importer import import_onnx

    if selection.signature:
        raise InvalidConfig(f"--signature {selection.signature!r}: only TFLite models have signatures")
    quantized = _quantized(data, selection, files)
    if quantized is not None:
        graph = import_onnx(quantized.model, batch_size=batch_size)
        graph.selection = quantized.selection
        return graph
    return import_onnx(data, batch_size=batch_size, selection=selection, files=files)


def selected_model(data: bytes, selection: Selection, *, files: ModelFiles | None = None) -> bytes:
    """The model file of the part that a selection means, for the format's reference runtime, with inputs of static shapes as in what is
    compiled.  The file itself where it is that already; another TFLite file has no signatures, but inputs and outputs in the order of what is
    compiled.

    Raises:
        CompileError: as ``import_model``.
    """
    if source_format(data) == "tflite":
        from furiosa.compiler.frontend.tflite.importer import selected_model

        return selected_model(data, selection)
    quantized = _quantized(data, selection, files)
    if quantized is not None:
        return quantized.model
    from furiosa.compiler.frontend.onnx.importer import selected_model

    return selected_model(data, selection, files=files)


class _Quantized(NamedTuple):
    model: bytes
    selection: Selection


def _quantized(data: bytes | memoryview, selection: Selection, files: ModelFiles | None) -> _Quantized | None:
    """The int8 model of a float one whose metadata state ranges of its tensors, with the selection as it was found; else None.

    The vendor's quantizer (0.10) leaves operators as they are, and its compiler quantises: so does this one, by the quantizer's placement.
    """
    from furiosa.compiler.frontend.onnx import wire

    if wire.RANGES_KEY not in wire.properties(memoryview(data)):
        return None
    try:
        from furiosa.quantizer.place.write import write
        from furiosa.quantizer.stated import plan_stated, stated
    except ModuleNotFoundError:
        raise InvalidModel(
            f"the model is a float one with ranges in its metadata ({wire.RANGES_KEY}), and this compiler comes without the quantizer: "
            "make an int8 model of it first, by furiosa quantize or npu_quantized_model, which take the ranges from there"
        ) from None
    found = stated(bytes(data))
    plan = plan_stated(bytes(data), found, selection=selection, files=files)
    return _Quantized(write(plan), plan.graph.selection)


def source_format(data: bytes | memoryview) -> str:
    """Either "tflite" or, for anything else, "onnx"."""
    return "tflite" if bytes(data[4:8]) == TFLITE_IDENTIFIER else "onnx"


def checked_format(data: bytes | memoryview) -> str:
    """The same of a file that is such a model by its form; it may be one that the compiler does not take.

    Raises:
        InvalidFormat: it is none.
    """
    form = source_format(data)
    if form == "onnx":
        from furiosa.compiler.frontend.onnx.importer import check_form

        check_form(memoryview(data))
    return form


def external_data(data: bytes | memoryview, files: ModelFiles) -> dict[str, memoryview]:
    """The whole files in which constants of a model lie, by what it calls them; of a model that can be imported.

    Raises:
        InvalidModel, IoError: as import_model.
    """
    if source_format(data) == "tflite" or b"location" not in bytes(data):  # the key that each has
        return {}
    import onnx

    from furiosa.compiler.frontend.onnx.checks import external_locations

    who = "a constant"
    return {
        w: files.read(w, who, 0, files.size(w, who))
        for w in external_locations(onnx.ModelProto.FromString(bytes(data)))
    }


def extract_host_model(
    graph: Graph, operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor]
) -> bytes:
    """Cuts a host cluster out as a model of the graph's own format, for that format's reference runtime.

    Inputs and outputs of the model stand in the order given.
    """
    if graph.format == "tflite":
        from furiosa.compiler.frontend.tflite.extract import extract
    else:
        from furiosa.compiler.frontend.onnx.extract import extract
    return extract(graph, operators, inputs, outputs)
