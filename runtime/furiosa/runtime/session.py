"""Sessions: ``session.create("foo.enf").run(x)``.

The only device is the NPU simulator of this package: it runs the commands of the ENF bit-exactly on the host's CPU.
There is no driver for real hardware here, and the time that a run takes says nothing about the NPU's.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from furiosa.enf import reader
from furiosa.enf.target import DEFAULT_TARGET
from furiosa.runtime import device as devices
from furiosa.runtime import recording
from furiosa.runtime import source as sources
from furiosa.runtime.errors import (
    IncompatibleModel,
    InvalidInput,
    InvalidSessionOption,
    SessionClosed,
    not_exhausted,
)
from furiosa.runtime.model import Model, find
from furiosa.runtime.tensor import Tensor, TensorArray, TensorDesc, as_array
from furiosa.runtime.workers import MAX_WORKERS, Workers

if TYPE_CHECKING:
    from furiosa.enf.performance import Performance
    from furiosa.runtime.async_session import AsyncSession, CompletionQueue
    from furiosa.runtime.profiler import Profiler
    from furiosa.runtime.program import Program

Inputs = np.ndarray | np.generic | Tensor | TensorArray | Sequence[np.ndarray | np.generic | Tensor]


class Session(Model):
    """A model that is ready to run on the NPU simulator, from any thread; close it, or use it in a ``with``."""

    def __init__(
        self, enf: reader.Enf, worker_num: int = 1, name: str = "the model", host_process: bool = False
    ):
        """A session of a verified program; up to ``worker_num`` inferences run at once, each in its own memory."""
        self._workers: Workers | None = None
        self.name = name
        self.worker_num = worker_num
        super().__init__(
            [TensorDesc.from_descriptor(d) for d in enf.interface.inputs],
            [TensorDesc.from_descriptor(d) for d in enf.interface.outputs],
        )
        for desc in self._inputs + self._outputs:
            desc.numpy_dtype  # noqa: B018  # refuses a type that numpy lacks now and not in the first run
        self.target_npu: str = enf.metadata.target_npu
        self.batch_size: int = enf.metadata.batch_size
        self.compiler_version: str = enf.metadata.compiler_version
        # source formats whose reference runtimes the first run will load: "onnx", "tflite"
        self.host_formats = frozenset(s.host_call.format for s in enf.plan.steps if s.HasField("host_call"))
        self._workers = Workers(enf, worker_num, host_process)

    def run(self, inputs: Inputs) -> TensorArray:
        """One inference.

        Args:
            inputs: an array where the model has one input, else a list of arrays or a ``TensorArray``, in the
                order and of the exact shapes and element types of ``inputs()``.

        Returns:
            The outputs, in the order of ``outputs()``; they stay valid after further runs.

        Raises:
            InvalidInput: a wrong number of tensors, a wrong shape or element type.
            UnsupportedTensorType: a value that is no tensor.
            SessionClosed: the session is closed.
            ModelDeployFailed, ModelExecutionFailed: a part of the model that runs on the host failed; HostProcessEnded of it, in a
                process of its own.
            ResourceExhausted: there is not enough memory; the next run may have it.
        """
        with not_exhausted():
            results = self._execute(self.check(inputs))
            return TensorArray([Tensor(d, a) for d, a in zip(self._outputs, results, strict=True)])

    def run_with(
        self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray | np.generic | Tensor]
    ) -> TensorArray:
        """One inference with tensors by name: the named outputs, in that order, from all the inputs.

        Raises:
            InvalidInput: no outputs, an unknown name, an input that is missing or does not fit.
            UnsupportedTensorType, SessionClosed, ModelDeployFailed, ModelExecutionFailed, ResourceExhausted: as ``run``.
        """
        if outputs is None:
            raise InvalidInput("outputs must not be None: name at least one output")
        wanted = [find(self._outputs, name) for name in ([outputs] if isinstance(outputs, str) else outputs)]
        for name in inputs:
            find(self._inputs, name)
        missing = [d.name for d in self._inputs if d.name not in inputs]
        if missing:
            raise InvalidInput(f"{self.input_num} tensors are expected, but '{missing[0]}' is missing")
        with not_exhausted():
            results = self._execute(self.check([inputs[d.name] for d in self._inputs]))
            return TensorArray([Tensor(d, results[self._outputs.index(d)]) for d in wanted])

    def close(self) -> None:
        """Ends the session; runs of other threads that have begun still end well.  May be called again."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()

    def summary(self) -> str:
        """The inputs and outputs as text, and what they run on."""
        return f"{super().summary()}\nDevice:\nNPU simulator ({self.target_npu}); no NPU hardware is used"

    def check(self, inputs: Inputs) -> list[np.ndarray]:
        """The arrays of the inputs, not copied, if each fits its description.

        Raises:
            InvalidInput, UnsupportedTensorType: as ``run``.
        """
        if isinstance(inputs, (np.ndarray, np.generic, Tensor)):
            inputs = [inputs]
        elif not isinstance(inputs, (list, tuple, TensorArray)):
            as_array(inputs, "inputs")
        if len(inputs) != self.input_num:
            raise InvalidInput(f"{self.input_num} tensors are expected, but {len(inputs)} are given")
        arrays = []
        for i, (desc, value) in enumerate(zip(self._inputs, inputs, strict=True)):
            what = f"input {i} '{desc.name}'"
            array = as_array(value, what)
            desc.check(array, what)
            arrays.append(array)
        return arrays

    def warm_up(self, inputs: Inputs) -> None:
        """One inference on each worker, so that no later one allocates memory or loads a runtime of a host cluster.

        Raises:
            FuriosaRuntimeError: as ``run``.
        """
        arrays = self.check(inputs)
        workers = self._open_workers()

        def run(program: Program) -> None:
            if recording.active:
                recording.run_on(self, workers.enf, program, arrays)
            else:
                program.run(arrays)

        with not_exhausted():
            workers.use_all(run)

    def performance(self) -> Performance:
        """What one inference is estimated to take on the NPU, by the timing model: nothing is run or measured.

        Raises:
            SessionClosed: the session is closed.
        """
        from furiosa.enf.performance import analyze_enf

        return analyze_enf(self._open_workers().enf)

    def profile(self, **options: Any) -> Profiler:
        """A context manager that records this session's inferences; options are those of ``profiler.profile``."""
        from furiosa.runtime.profiler import Profiler

        return Profiler(session=self, **options)

    def _open_workers(self) -> Workers:
        workers = self._workers  # read once: another thread may close the session
        if workers is None:
            raise SessionClosed("the session is closed")
        return workers

    def _execute(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        workers = self._open_workers()
        if recording.active:
            return recording.run(self, workers, arrays)
        return workers.use(lambda program: program.run(arrays))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._workers is None else "open"
        return f"Session({state}, NPU simulator of {self.target_npu}, batch size {self.batch_size})"


def create(
    model: str | os.PathLike[str] | bytes,
    device: str | None = None,
    worker_num: int | None = None,
    compile_config: Mapping[str, object] | None = None,
    batch_size: int | None = None,
    *,
    compiler_config: Mapping[str, object] | None = None,
    host_process: bool = False,
) -> Session:
    """A session for a model, on the NPU simulator.

    Args:
        model: the path or the bytes of an ENF, which starts at once, or of a .onnx or .tflite model, which is
            compiled first (recognised by content); or ``"vision.tar#resnet50"`` for a model of a bundle.  The session
            answers from a copy in memory: what becomes of the file later changes nothing.
        device: npu0pe0 or npu0pe1 (target warboy), npu0pe0-1 (target warboy-2pe), warboy*1, warboy(2)*1, or
            several of one kind with commas; None for FURIOSA_DEVICES, else NPU_DEVNAME, else what the ENF was
            compiled for, else npu0pe0-1.  Every name stands for the simulator.
        worker_num: how many inferences may run at once, 1 to 4096; None for one a device.  Each has a memory of its own.
        compile_config: options of the compiler; an ENF needs none.  "compatibility": the vendor's SDK release whose
            operators the NPU may take, "0.6.3", "0.10" or "latest"; "min_npu_coverage": the least share of the
            multiply-accumulates that the NPU must do, 0 to 1; "max_host_operators": how many operators may run on the host; "optimize": how much is tried for a schedule of less
            time, 0 to 2; "input_shapes": {"images": (1, 3, 640, 640)} or {"images": "1x3x640x640"}, the shapes of inputs
            whose dimensions the model leaves open; "dims": {"height": 640}, the same by the names that the model has for
            open dimensions; "inputs", "outputs": names of tensors at which the model is cut; "signature": the one of a
            TFLite model's signatures that is meant, with its names of inputs and outputs.
        batch_size: samples in one inference, for a model that is not compiled yet (None for 1); for an ENF it
            must be the one that it was compiled with.
        compiler_config: the same as ``compile_config``, under the name of later SDK versions.
        host_process: whether what the NPU does not take runs in a process of its own, one for each worker: for models of
            strangers, whose reference runtimes a model may crash.  A run in which the process ends raises
            HostProcessEnded, and the next starts another; it costs the start (some 0.3 s, in the first run) and a copy
            of what crosses.

    Raises:
        TypeError: ``model`` is no path and no bytes.
        OSError: the file cannot be opened.
        IncompatibleModel: a damaged or unsafe ENF, one for another target or batch size, or a file that changes while it is
            read.  What concerns more than 1 MiB of weights may be found only by the first run, which then raises the same.
        BundleError: a bundle that cannot be used, or has no such model.
        CompilationFailed, InvalidCompilerConfig: the model cannot be compiled.
        InvalidSessionOption: a device, number of workers or batch size that cannot be.
        ResourceExhausted: there is not enough memory, or no file descriptor.

    With FURIOSA_PROFILER_OUTPUT_PATH in the environment all inferences of the process are recorded, and a Chrome trace is
    written to that path at its end (see ``furiosa.runtime.profiler``).
    """
    if compile_config is not None and compiler_config is not None:
        raise TypeError("compile_config and compiler_config are two names of one thing: give one of them")
    chosen = devices.choose(device)
    worker_num = _at_least_one("worker_num", worker_num)
    if worker_num and worker_num > MAX_WORKERS:
        raise InvalidSessionOption(f"worker_num is {worker_num}, but must be at most {MAX_WORKERS}")
    batch_size = _at_least_one("batch_size", batch_size)
    if "FURIOSA_PROFILER_OUTPUT_PATH" in os.environ:
        from furiosa.runtime.profiler import profile_process

        profile_process(os.environ["FURIOSA_PROFILER_OUTPUT_PATH"])
    with not_exhausted():
        enf, name = _load(model, chosen, compile_config or compiler_config or {}, batch_size)
        return Session(enf, worker_num or (chosen.count if chosen else 1), name, host_process)


def create_async(
    model: str | os.PathLike[str] | bytes,
    context_ty: type | None = None,  # any object may be a context
    device: str | None = None,
    worker_num: int | None = None,
    input_queue_size: int | None = None,
    output_queue_size: int | None = None,
    compile_config: Mapping[str, object] | None = None,
    batch_size: int | None = None,
    *,
    host_process: bool = False,
) -> tuple[AsyncSession, CompletionQueue]:
    """A session in two ends: ``submit(x, context)`` on one, ``recv() -> (context, outputs)`` on the other.

    Args:
        model, device, worker_num, compile_config, batch_size, host_process: as for ``create``.
        context_ty: the type of the contexts; taken for compatibility, any object will do.
        input_queue_size: inputs that may wait, 1 to 2^31 - 1; None for any number.
        output_queue_size: results that may wait, likewise.

    Raises:
        InvalidSessionOption: a queue size out of its range.
        Exception: as ``create``.
    """
    from furiosa.runtime.async_session import connect

    for name, size in (("input_queue_size", input_queue_size), ("output_queue_size", output_queue_size)):
        if (_at_least_one(name, size) or 1) >= 1 << 31:
            raise InvalidSessionOption(f"{name} is {size}, but must be less than 2^31")
    session = create(model, device, worker_num, compile_config, batch_size, host_process=host_process)
    return connect(session, session.worker_num, input_queue_size, output_queue_size)


def _load(
    model: object, chosen: devices.Device | None, config: Mapping[str, object], batch_size: int | None
) -> tuple[reader.Enf, str]:
    """The program, and the name of the file without its folder."""
    source = sources.read(model)
    compiled = source.is_enf
    if compiled and config:
        warnings.warn("compile_config has no effect: the model is compiled already", stacklevel=3)
    if not compiled:
        from furiosa.runtime.compile_door import compile_model

        target = chosen.target if chosen else DEFAULT_TARGET
        data = compile_model(source.read(), source.name, target, batch_size, source.path, config)
        source = source._replace(data=memoryview(data))
    enf = source.load(wait=False)  # the first run waits
    target = enf.metadata.target_npu
    if chosen and chosen.target != target:
        raise IncompatibleModel(
            f"{source.name} is compiled for {target}, "
            f"but {chosen.source} says '{chosen.text}', which is {chosen.target}"
        )
    if batch_size and compiled and enf.metadata.batch_size != batch_size:
        raise IncompatibleModel(
            f"{source.name} is compiled for batch size {enf.metadata.batch_size}, "
            f"but batch_size is {batch_size}"
        )
    return enf, os.path.basename(source.name)


def _at_least_one(name: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidSessionOption(f"{name} is {value!r}, but must be a whole number of at least 1")
    return value
