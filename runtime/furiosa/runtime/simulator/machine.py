"""The simulated machine: its memories, and the engines that run the commands of a verified program."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import Command, Engine, Region, Space
from furiosa.enf.reader import Enf
from furiosa.runtime.simulator.blas import single_threaded
from furiosa.runtime.simulator.dispatch import KERNELS

# a step with less work than this (output elements times taps) is run by one thread: handing over would cost more
PARALLEL_WORK = 1 << 22


class Simulator:
    """A Warboy with one program on it.

    Commands of the second PE run on a thread of their own; what each command waits for keeps them apart, which the
    verifier has proved, so the result does not depend on timing.  Not for several threads at once.
    """

    def __init__(self, enf: Enf):
        self._enf = enf
        self._dtypes = {name: np.dtype(name) for name in ITEMSIZE if name != "bfloat16"} | {
            "bfloat16": np.dtype("uint16")
        }
        used = zip(enf.memory.sram_address, enf.memory.sram_size)
        self._memories = {
            Space.SRAM: np.zeros(max((a + n for a, n in used), default=0), np.uint8),
            Space.DRAM: np.zeros(enf.metadata.working_dram_bytes, np.uint8),
            Space.CONST: np.frombuffer(enf.constants, np.uint8),
        }
        self._bound: list[Callable[[], None] | None] = [None] * len(enf.commands)
        self._issued = _places(enf.commands)

    def write(self, address: int, array: np.ndarray) -> None:
        """Copies a dense array into working DRAM."""
        dram = self._memories[Space.DRAM]
        dram[address : address + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def read(self, address: int, dtype: str, shape: tuple[int, ...], space: int = Space.DRAM) -> np.ndarray:
        """A view of a dense tensor in working DRAM, or another memory; the next run changes it."""
        return np.ndarray(shape, self._dtypes[dtype], self._memories[space].data, address)

    def run(self, first: int, count: int) -> None:
        """Runs a range of commands, which the plan made one step."""
        commands = range(first, first + count)
        for i in commands:
            if self._bound[i] is None:
                self._bound[i] = self._bind(self._enf.commands[i])
        second = [i for i in commands if self._enf.commands[i].engine == Engine.PE1]
        if second and sum(_work(self._enf.commands[i]) for i in second) >= PARALLEL_WORK:
            self._run_parallel(commands, second)
        else:
            with np.errstate(all="ignore"):  # infinities and NaN among a stranger's constants are data
                for i in commands:
                    self._bound[i]()

    def _run_parallel(self, commands: range, second: list[int]) -> None:
        """The second PE on its own thread, everything else in program order on this one."""
        progress = _Progress(self._issued_before(commands.start))
        others = [i for i in commands if self._enf.commands[i].engine != Engine.PE1]
        with single_threaded():
            thread = threading.Thread(target=self._run_engine, args=(second, progress), name="pe1")
            thread.start()
            self._run_engine(others, progress)
            thread.join()
        if progress.failure is not None:
            raise progress.failure

    def _issued_before(self, first: int) -> list[int]:
        """How many commands of each engine earlier steps have run."""
        ended = [0] * Engine.COUNT
        for command, place in zip(self._enf.commands[:first], self._issued):
            ended[command.engine] = place
        return ended

    def _run_engine(self, commands: list[int], progress: _Progress) -> None:
        try:
            with np.errstate(all="ignore"):
                for i in commands:
                    command = self._enf.commands[i]
                    if not progress.wait(command.waits):
                        return
                    self._bound[i]()
                    progress.end(command.engine, self._issued[i])
        except BaseException as e:  # noqa: BLE001 - handed to the caller's thread; the other engine must not wait for ever
            progress.fail(e)

    def _bind(self, command: Command) -> Callable[[], None]:
        """The command with its operands resolved to memory and its parameters named."""
        kernel = KERNELS[command.instruction.name]
        views = [self._view(region) for region in command.operands]
        return kernel(views, command.arguments)

    def _view(self, region: Region) -> np.ndarray:
        memory = self._memories[region.space]
        return np.ndarray(
            region.shape, self._dtypes[region.dtype], memory.data, region.address, region.strides
        )


class _Progress:
    """How many commands of each engine have ended in a step that two threads run."""

    def __init__(self, ended: list[int]) -> None:
        self.ended = ended
        self.failure: BaseException | None = None
        self._changed = threading.Condition()

    def wait(self, waits: tuple[int, ...]) -> bool:
        """Blocks until all waits are met; False where the other thread has failed."""
        ended = self.ended
        if all(e >= w for e, w in zip(ended, waits)):
            return self.failure is None
        with self._changed:
            self._changed.wait_for(
                lambda: self.failure is not None or all(e >= w for e, w in zip(ended, waits))
            )
        return self.failure is None

    def end(self, engine: int, place: int) -> None:
        with self._changed:
            self.ended[engine] = place
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self.failure = self.failure or error
            self._changed.notify_all()


def _places(commands: list[Command]) -> list[int]:
    """For each command its place in its engine's order, from 1."""
    counts = [0] * Engine.COUNT
    out = []
    for c in commands:
        counts[c.engine] += 1
        out.append(counts[c.engine])
    return out


def _work(command: Command) -> int:
    """A rough count of what a command computes."""
    n = 1
    for d in command.operands[-1].shape:
        n *= d
    if command.instruction.name in ("CONV2D", "DEPTHWISE_CONV2D"):
        for d in command.operands[1].shape[-3:]:
            n *= d
    return n
