"""What becomes of a case: here, through compile -> ENF -> session.run, and in onnxruntime itself."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime

from furiosa.compiler.errors import CompileError
from furiosa.compiler.frontend.onnx.constants import dtype_name, is_numpy
from furiosa.compiler.frontend.onnx.shapes import static_shape
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.program import NpuStep
from furiosa.enf import container
from furiosa.runtime import session
from furiosa.runtime.errors import FuriosaRuntimeError, InvalidInput
from tests.conformance.cases import Case, DataSet, same

TARGET = "warboy-2pe"
NOT_PASSED = Path(__file__).with_name("not_passed.txt")


class Outcome(enum.Enum):
    """How a case ends."""

    PASSED = "passed"
    REFUSED = "refused"  # with a sentence: the compiler, or the session the inputs
    NOT_LOADED = "not loaded"  # onnxruntime refuses the model
    FAILED = "failed"  # while it ran
    DIFFERS = "differs"  # other outputs than expected


class Result(NamedTuple):
    """The outcome, the error's sentence or the difference, whether there was work for the NPU, and all outputs."""

    outcome: Outcome
    detail: str = ""
    on_npu: bool = False
    outputs: tuple[np.ndarray, ...] = ()


def ours(case: Case, data: bytes, data_sets: list[DataSet]) -> Result:
    """Compiles and runs a case; errors that are not documented ones are not caught."""
    outputs: list[np.ndarray] = []
    try:
        compilation = Compilation(data, Options(TARGET)).run()
        with session.create(container.to_bytes(compilation.enf)) as sess:
            for inputs, expected in data_sets:
                actual = sess.run(inputs).numpy()
                outputs += actual
                difference = same(case, expected, actual)
                if difference:
                    return Result(Outcome.DIFFERS, difference)
    except (CompileError, InvalidInput) as e:
        return Result(Outcome.REFUSED, str(e))
    except FuriosaRuntimeError as e:
        loading = "refuses the host model" in str(e)
        return Result(Outcome.NOT_LOADED if loading else Outcome.FAILED, str(e))
    on_npu = any(type(step) is NpuStep for step in compilation.steps)
    return Result(Outcome.PASSED, on_npu=on_npu, outputs=tuple(outputs))


def peer(case: Case, data: bytes, data_sets: list[DataSet]) -> Result:
    """Runs a case in onnxruntime as it is."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        runtime = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # noqa: BLE001  # its errors have no common base
        return Result(Outcome.NOT_LOADED, str(e))
    names = [value.name for value in runtime.get_inputs()]
    outputs: list[np.ndarray] = []
    for inputs, expected in data_sets:
        try:
            actual = runtime.run(None, dict(zip(names, inputs, strict=False)))
        except Exception as e:  # noqa: BLE001
            return Result(Outcome.FAILED, str(e))
        outputs += actual
        difference = same(case, expected, actual)
        if difference:
            return Result(Outcome.DIFFERS, difference)
    return Result(Outcome.PASSED, outputs=tuple(outputs))


# Why a case is not passed, most telling first.
BY_DESIGN = {
    "sequence": "an input or output is a sequence or an optional",
    "string": "an input or output holds strings",
    "element-type": "an input or output has an element type that NumPy lacks (bfloat16, float8, int4, …)",
    "dynamic-shape": "an input or output has a dynamic shape",
}
AS_ONNXRUNTIME = {
    Outcome.NOT_LOADED: "onnxruntime has no kernel for an operator, or refuses the model",
    Outcome.FAILED: "onnxruntime refuses it while it runs",
    Outcome.DIFFERS: "onnxruntime's own result differs from the expected one",
}
OPEN = "open"  # onnxruntime passes: this must not be


def reason(data: bytes, here: Result, there: Result) -> str:
    """The key of why a case is not passed: of ``BY_DESIGN``, "onnxruntime …" of ``AS_ONNXRUNTIME``, or ``OPEN``."""
    if here.outcome is Outcome.REFUSED:
        found = _at_the_border(onnx.load_model_from_string(data).graph)
        first = next((key for key in BY_DESIGN if key in found), None)
        if first:
            return first
    if there.outcome is Outcome.PASSED:
        return OPEN
    return f"onnxruntime {there.outcome.value}"


def _at_the_border(graph: onnx.GraphProto) -> set[str]:
    found = set()
    constants = {t.name for t in graph.initializer}
    for value in (*graph.input, *graph.output):
        if value.name in constants:
            continue
        if value.type.WhichOneof("value") != "tensor_type":
            found.add("sequence")
            continue
        dtype = dtype_name(value.type.tensor_type.elem_type, value.name)
        if dtype == "string":
            found.add("string")
        elif not is_numpy(dtype):
            found.add("element-type")
        if static_shape(value.type) is None:
            found.add("dynamic-shape")
    return found


def listed() -> dict[str, str]:
    """The checked-in list of what is not passed: the reason by "kind name"."""
    rows = (line.split("\t") for line in NOT_PASSED.read_text(encoding="utf-8").splitlines())
    return {case: why for case, why in rows}
