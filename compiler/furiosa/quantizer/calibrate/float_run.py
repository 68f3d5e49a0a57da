"""Runs the float model in onnxruntime and hands out every float tensor of each sample."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np

# before the import: it would write a device id to the user's home, and complain where there is none
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnx
import onnxruntime

from furiosa.compiler.dfg.graph import Graph, Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.importer import extract_host_model
from furiosa.compiler.frontend.onnx import wire

THREADS = 2
_FATAL = 4  # log severity: whatever is less comes as an exception

onnxruntime.disable_telemetry_events()


def observed(graph: Graph) -> list[Tensor]:
    """The float32 tensors that operators make or that are inputs, in the graph's order; constants are none, nor are tensors of no elements."""
    made = [*graph.inputs, *(t for op in graph.operators for t in op.outputs)]
    return [t for t in made if t.name and t.dtype == "float32" and t.size and not t.is_constant]


class FloatRun:
    """A float model whose every tensor is an output.

    Two threads share an operator's work in a fixed way, and no optimisation changes it: on one kind of processor every run gives the same bits.

    Raises:
        InvalidModel: onnxruntime refuses the model.
    """

    def __init__(self, graph: Graph):
        every = observed(graph)
        self._given = [t for t in every if t in graph.inputs]
        self._made = [t for t in every if t not in graph.inputs]
        whole = extract_host_model(graph, graph.operators, graph.inputs, self._made)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        options.use_deterministic_compute = True
        options.enable_cpu_mem_arena = False  # which grows by more than is needed
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            # the constants are kept, for onnxruntime may read them there
            model, self._constants = _without_constants(whole, graph, options)
            del whole
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except MemoryError:
            raise
        except Exception as e:  # noqa: BLE001  onnxruntime's errors have no common base
            raise InvalidModel(f"onnxruntime refuses the float model: {_line(e)}") from None

    def run(self, feed: Mapping[str, np.ndarray]) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Every observed tensor with its values for one sample, checked to be finite.

        Args:
            feed: an array of the right shape and dtype for each input, by name.

        Raises:
            InvalidModel: onnxruntime fails, or a value is NaN or infinite.
        """
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL
        try:
            results = self._session.run([t.name for t in self._made], dict(feed), options)
        except MemoryError:
            raise
        except Exception as e:  # noqa: BLE001
            raise InvalidModel(f"onnxruntime cannot run the float model: {_line(e)}") from None
        for t, values in (*((t, feed[t.name]) for t in self._given), *zip(self._made, results, strict=True)):
            if not np.isfinite(values).all():
                kind = "NaN" if np.isnan(values).any() else "infinite"
                raise InvalidModel(
                    f"tensor '{t.name}' has values that are {kind}: look whether the sample is what the model expects "
                    "(scale, type), or cut the model before that tensor by --outputs"
                )
            yield t, values


def _without_constants(
    model: bytes, graph: Graph, options: onnxruntime.SessionOptions
) -> tuple[bytes, list[np.ndarray]]:
    """The model with its big constants as external data, and these: ``options`` let onnxruntime find them in the graph's own memory.

    So there is no copy of them that onnxruntime would parse once more.
    """
    small, big = wire.split(memoryview(model))
    proto = onnx.ModelProto.FromString(small)
    own = {t.name: t.data for op in graph.operators for t in op.inputs if t is not None and t.is_constant}
    found: dict[str, np.ndarray] = {}
    for i, raw in big.items():
        tensor = proto.graph.initializer[i]
        values = np.frombuffer(raw, np.uint8)
        data = own.get(tensor.name)
        if data is not None and data.nbytes == values.size and data.flags.c_contiguous:
            same = data.reshape(-1).view(np.uint8)
            if np.array_equal(same, values):  # of two constants of one name the model calls one otherwise
                values = same
        found[tensor.name] = values
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", tensor.name), ("offset", 0), ("length", values.size)):
            tensor.external_data.add(key=key, value=str(value))
    if found:
        views = [memoryview(v) for v in found.values()]
        options.add_external_initializers_from_files_in_memory(list(found), views, list(map(len, views)))
    return proto.SerializeToString(deterministic=True), list(found.values())


def _line(e: Exception) -> str:
    return " ".join(str(e).split())[:300]
