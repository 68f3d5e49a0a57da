"""Takes a float model in: imported by the compiler's own frontend, at an operator set that QDQ needs, cleaned."""

from __future__ import annotations

import onnx
from onnx import version_converter

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.errors import InvalidConfig, InvalidFormat, InvalidModel
from furiosa.compiler.frontend.importer import extract_host_model, source_format
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.model_files import ModelFiles
from furiosa.compiler.selection import EVERYTHING, Selection
from furiosa.quantizer.graph.affine_after import fold_affine
from furiosa.quantizer.graph.fold import fold_constants
from furiosa.quantizer.graph.gemm import fold_factors
from furiosa.quantizer.graph.widen import widen

MIN_OPSET = 13  # since when DequantizeLinear knows channels
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinear", "QGemm")


def load(data: bytes, *, selection: Selection = EVERYTHING, files: ModelFiles | None = None) -> Graph:
    """The clean graph of a float ONNX model: static shapes, operator set 13 or newer, every name once.

    Args:
        data: the model file.
        selection: sizes of open dimensions, and where the model is cut, as for compiling.
        files: where external data are read from; None refuses them.

    Raises:
        InvalidModel: a TFLite model, one that is quantised, or without anything in float32.
        CompileError: as the compiler's import.
    """
    if not data:
        raise InvalidFormat("the model is empty (0 bytes)")
    if selection.signature:
        raise InvalidConfig(f"--signature {selection.signature!r}: only TFLite models have signatures")
    if source_format(data) == "tflite":
        raise InvalidModel(
            "float TFLite models cannot be quantised here: export the model to ONNX, or quantise it with TensorFlow's converter"
        )
    graph = import_onnx(data, selection=selection, files=files)
    widen(graph)
    _check_float(graph)
    chosen = graph.selection
    if graph.source.opsets.get("", MIN_OPSET) < MIN_OPSET:
        graph = import_onnx(_newer(model_of(graph), graph.source.opsets[""]))
        graph.selection = chosen
    fold_constants(graph)
    fold_factors(graph)
    fold_affine(graph)
    return graph


def model_of(graph: Graph) -> bytes:
    """A graph as an ONNX model; the same graph gives the same bytes."""
    return extract_host_model(graph, graph.operators, graph.inputs, graph.outputs)


def _check_float(graph: Graph) -> None:
    for op in graph.operators:
        if op.op_type.startswith(_QUANTIZED):
            raise InvalidModel(
                f"the model is quantised already (it has {op.op_type} '{op.name}'): compile it as it is, or quantise the float model"
            )
    made = [t for op in graph.operators for t in op.outputs]
    if not any(t.dtype == "float32" and t.size for t in made):
        kinds = ", ".join(sorted({t.dtype for t in made if t.name}))
        raise InvalidModel(
            f"no operator of the model makes float32 numbers (but {kinds}): there is nothing to quantise"
        )


def _newer(model: bytes, opset: int) -> bytes:
    """The same model at MIN_OPSET."""
    try:
        converted = version_converter.convert_version(onnx.ModelProto.FromString(model), MIN_OPSET)
    except Exception as e:  # noqa: BLE001  the converter's errors have no common base
        raise InvalidModel(
            f"the model's operator set is {opset}, and it cannot be brought to {MIN_OPSET}, which quantisation needs: "
            f"{' '.join(str(e).split())[:200]}; export it with operator set {MIN_OPSET} or newer"
        ) from None
    return converted.SerializeToString(deterministic=True)
