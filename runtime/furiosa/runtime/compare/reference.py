"""The reference runtimes: a model file as it is, or a part of one, with and without what they optimise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np

from furiosa.runtime.errors import HostRuntimeMissing

NAMES = {"onnx": "onnxruntime", "tflite": "LiteRT"}


class Refused(Exception):
    """The reference runtime refuses a model or fails on its inputs: a sentence that names the runtime."""


class Reference(Protocol):
    """A model that a reference runtime has loaded."""

    def input_types(self) -> dict[str, np.dtype]:
        """The element types of its inputs by their names, in its order.

        Raises:
            Refused: one is no tensor of numbers.
        """

    def run(self, inputs: Sequence[np.ndarray], names: Sequence[str] | None = None) -> list[np.ndarray]:
        """One inference; inputs by position, or by ``names`` for formats that have names.

        Raises:
            Refused: the runtime fails.
        """


def version(source_format: str) -> str:
    """The name and version of a format's reference runtime.

    Raises:
        HostRuntimeMissing: it is not installed.
    """
    try:
        if source_format == "onnx":
            from furiosa.runtime.host.onnx import onnxruntime

            return f"{NAMES[source_format]} {onnxruntime.__version__}"
        import ai_edge_litert
    except ModuleNotFoundError as e:
        raise HostRuntimeMissing(
            f"the reference of this model is {NAMES[source_format]}: {e.name} is not installed"
        ) from None
    return f"{NAMES[source_format]} {getattr(ai_edge_litert, '__version__', '')}".rstrip()


def open_reference(
    source_format: str,
    model: bytes,
    external: Mapping[str, memoryview] = MappingProxyType({}),
    *,
    signature: str = "",
    optimised: bool = True,
) -> Reference:
    """Loads a model; ``external`` are the files in which constants of an ONNX model lie, by what it calls them, and ``signature``
    is the one of a TFLite model that runs, which then has inputs and outputs by its names.

    Not ``optimised``: onnxruntime with no optimisation of the graph, LiteRT with its builtin kernels instead of XNNPACK.

    Raises:
        Refused: the runtime refuses the model.
    """
    if source_format == "onnx":
        return OnnxReference(model, external, optimised)
    return TfliteReference(model, signature, optimised)


class OnnxReference:
    """onnxruntime."""

    def __init__(self, model: bytes, external: Mapping[str, memoryview], optimised: bool):
        from furiosa.runtime.host.onnx import onnxruntime, session_options

        options = session_options()
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if external:  # from memory, so that it opens no file
            files = list(external.values())
            options.add_external_initializers_from_files_in_memory(
                list(external), files, list(map(len, files))
            )
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except MemoryError:
            raise
        except Exception as e:  # onnxruntime's errors have no common base
            raise Refused(f"onnxruntime refuses it: {_line(e)}") from e
        self._names = [i.name for i in self._session.get_inputs()]

    def input_types(self) -> dict[str, np.dtype]:
        types = {}
        for i in self._session.get_inputs():
            name = i.type.removeprefix("tensor(").removesuffix(")")
            try:
                types[i.name] = np.dtype({"float": "float32", "double": "float64"}.get(name, name))
            except TypeError:
                raise Refused(f"input '{i.name}' is {i.type}, which is no tensor of numbers") from None
        return types

    def run(self, inputs: Sequence[np.ndarray], names: Sequence[str] | None = None) -> list[np.ndarray]:
        feed = {
            n: np.require(a, requirements=["C", "A"])
            for n, a in zip(names or self._names, inputs, strict=True)
        }
        try:
            results = self._session.run(None, {n: feed[n] for n in self._names})
        except MemoryError:
            raise
        except Exception as e:
            raise Refused(f"onnxruntime fails: {_line(e)}") from e
        return [np.asarray(r) for r in results]


class TfliteReference:
    """LiteRT."""

    def __init__(self, model: bytes, signature: str, optimised: bool):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        from furiosa.runtime.host import thread_count
        from furiosa.runtime.host.quiet import without_lines
        from furiosa.runtime.host.tflite import NOISE

        kernels = OpResolverType.AUTO if optimised else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

        def load() -> Interpreter:
            interpreter = Interpreter(
                model_content=model, num_threads=thread_count(), experimental_op_resolver_type=kernels
            )
            interpreter.allocate_tensors()
            return interpreter

        try:
            self._interpreter = without_lines(NOISE, load)
            self._runner = self._interpreter.get_signature_runner(signature) if signature else None
        except MemoryError:
            raise
        except Exception as e:  # LiteRT's own, or of a name that is no UTF-8
            raise Refused(f"LiteRT refuses it: {_line(e)}") from e

    def input_types(self) -> dict[str, np.dtype]:
        return {d["name"]: np.dtype(d["dtype"]) for d in self._interpreter.get_input_details()}

    def run(self, inputs: Sequence[np.ndarray], names: Sequence[str] | None = None) -> list[np.ndarray]:
        interpreter = self._interpreter
        try:
            if self._runner is not None:
                found = self._runner(**dict(zip(names or (), inputs, strict=True)))
                return [found[name] for name in sorted(found, key=str.encode)]
            for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
                interpreter.set_tensor(detail["index"], array)
            interpreter.invoke()
            return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
        except MemoryError:
            raise
        except Exception as e:
            raise Refused(f"LiteRT fails: {_line(e)}") from e


def _line(e: Exception) -> str:
    return " ".join(str(e).split())
