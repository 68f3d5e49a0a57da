"""One worker: a memory of the card and what executes a plan on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from furiosa.enf import progress
from furiosa.enf.enf_pb2 import CommandRange, HostCall, TensorDescriptor
from furiosa.enf.errors import EnfError
from furiosa.enf.isa import Space
from furiosa.enf.reader import Enf
from furiosa.runtime import recording
from furiosa.runtime.errors import IncompatibleModel
from furiosa.runtime.tensor import DataType

if TYPE_CHECKING:
    from furiosa.runtime.host import Executor
    from furiosa.runtime.host.process import HostProcess


class Program:
    """Runs the plan of an ENF, one inference at a time: commands on the simulator, host clusters on the host.

    Not for several threads at once.  The reference runtimes of host clusters are loaded by the first run.
    """

    def __init__(self, enf: Enf, host_process: bool = False):
        """With ``host_process`` host clusters run in a process of their own."""
        from furiosa.runtime.simulator.machine import Simulator

        self._enf = enf
        self._simulator = Simulator(enf)
        self._inputs = list(enf.interface.inputs)
        self._outputs = list(enf.interface.outputs)
        self._steps = [getattr(step, step.WhichOneof("step")) for step in enf.plan.steps]
        self._clusters = sum(isinstance(step, HostCall) for step in self._steps)
        self._executors: dict[int, Executor] = {}
        self._host_process: HostProcess | None = None
        if host_process:
            from furiosa.runtime.host.process import HostProcess

            self._host_process = HostProcess()

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """One inference: arrays that fit the interface in, new arrays out.

        Raises:
            IncompatibleModel: a large section could not be read, or its checksum does not match.
            ModelDeployFailed, ModelExecutionFailed: a host cluster could not be loaded or failed.
        """
        self._write(inputs)
        for i, step in enumerate(self._steps):
            progress.detail(f"step {i + 1} of {len(self._steps)}")
            self._run_step(i, step)
        return self._read()

    def close(self) -> None:
        """Ends the process of host clusters, if there is one; a further run starts another."""
        if self._host_process is not None:
            self._host_process.close()

    def run_timed(self, inputs: list[np.ndarray], timed: Callable[..., Any]) -> list[np.ndarray]:
        """The same, each part of it by ``timed(name, facts, function, *arguments)``, which calls the function."""
        if self._simulator.needs_setup:
            timed(recording.SETUP, {"commands": self._enf.plan.setup.count}, self._set_up)
        timed(recording.WRITE, {}, self._write, inputs)
        for i, step in enumerate(self._steps):
            if isinstance(step, HostCall):
                facts = {"execution_index": i, "format": step.format, "estimated_us": step.estimated_us}
                timed(recording.HOST, facts, self._call_host, i, step)
            else:
                facts = {"execution_index": i, "commands": step.count}
                timed(recording.SIMULATE, facts, self._run_step, i, step)
        return timed(recording.READ, {}, self._read)

    def _set_up(self) -> None:
        self._wait()
        self._simulator.set_up()

    def _wait(self) -> None:
        try:
            self._enf.wait()
        except (EnfError, OSError) as e:
            raise IncompatibleModel(f"the model cannot run: {e}") from e

    def _write(self, inputs: list[np.ndarray]) -> None:
        self._wait()
        for descriptor, array in zip(self._inputs, inputs, strict=True):
            self._simulator.write(descriptor.address, np.ascontiguousarray(array))

    def _read(self) -> list[np.ndarray]:
        return [self._view(d).copy() for d in self._outputs]

    def _run_step(self, index: int, step: HostCall | CommandRange) -> None:
        if isinstance(step, HostCall):
            self._call_host(index, step)
        else:
            self._simulator.run(step.first, step.count)

    def _call_host(self, index: int, call: HostCall) -> None:
        executor = self._executors.get(index)
        if executor is None:
            from furiosa.runtime.host import open_executor, threads_each

            threads = threads_each(self._clusters)
            executor = open_executor(self._enf, index, call, threads, self._host_process)
            self._executors[index] = executor
        results = executor.run([self._view(d) for d in call.inputs])
        for descriptor, result in zip(call.outputs, results, strict=True):
            self._simulator.write(descriptor.address, result)

    def _view(self, d: TensorDescriptor) -> np.ndarray:
        """A tensor at rest in DRAM or among the constants, not copied."""
        dtype, shape = DataType(d.dtype), tuple(d.shape)
        if d.space == Space.DRAM:
            return self._simulator.read(d.address, dtype.name.lower(), shape)
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._enf.constants, dtype.numpy_dtype, count, d.address).reshape(shape)
