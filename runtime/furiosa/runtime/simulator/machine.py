"""The simulated machine: its memories, and what runs the commands of a verified program."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Self

import numpy as np

from furiosa.enf import threads
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.files import allocate
from furiosa.enf.isa import Command, Region, Space
from furiosa.enf.reader import Enf
from furiosa.runtime.errors import IncompatibleModel
from furiosa.runtime.simulator.blas import single_threaded
from furiosa.runtime.simulator.dispatch import KERNELS
from furiosa.runtime.simulator.halves import halves

# a command with less work than this (output elements times taps) is run by one thread: handing over would cost more
PARALLEL_WORK = 1 << 19

Bound = list[Callable[[], None]]  # one command as the parts that may run at the same time: one or two


class Simulator:
    """A Warboy with one program on it.

    Commands run one after the other in the program's order; it is the order of every engine, and what a command waits for
    stands before it, so the verifier's proof that the engines do not race makes it one of the orders that the machine may
    take.  A large command is cut in two, and a second thread runs one half.  Not for several threads at once.

    Raises:
        IncompatibleModel: the program needs more memory than this machine has.
    """

    def __init__(self, enf: Enf):
        self._enf = enf
        self._dtypes = {name: np.dtype(name) for name in ITEMSIZE if name != "bfloat16"} | {
            "bfloat16": np.dtype("uint16")
        }
        used = zip(enf.memory.sram_address, enf.memory.sram_size)
        sram = max((a + n for a, n in used), default=0)
        self._memories = {
            Space.SRAM: _zeros(sram),
            Space.DRAM: _working_memory(enf.metadata.working_dram_bytes),
            Space.CONST: np.frombuffer(enf.constants, np.uint8),
        }
        self._bound: list[Bound | None] = [None] * len(enf.commands)
        self._is_set_up = False

    def write(self, address: int, array: np.ndarray) -> None:
        """Copies a dense array into working DRAM."""
        dram = self._memories[Space.DRAM]
        dram[address : address + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def read(self, address: int, dtype: str, shape: tuple[int, ...], space: int = Space.DRAM) -> np.ndarray:
        """A view of a dense tensor in working DRAM, or another memory; the next run changes it."""
        return np.ndarray(shape, self._dtypes[dtype], self._memories[space].data, address)

    def dtype(self, name: str) -> np.dtype:
        """The numpy type in which the simulator holds an element type."""
        return self._dtypes[name]

    @property
    def needs_setup(self) -> bool:
        """Whether the plan has a setup that has not run yet."""
        return not self._is_set_up and self._enf.plan.setup.count > 0

    def set_up(self) -> None:
        """Runs the plan's setup, which the first run does by itself otherwise; one that did not end is done again."""
        self._run(self._enf.plan.setup.first, self._enf.plan.setup.count)
        self._is_set_up = True

    def run(self, first: int, count: int) -> None:
        """Runs a range of commands, which the plan made one step; before the first, the plan's setup."""
        if not self._is_set_up:
            self.set_up()
        self._run(first, count)

    def _run(self, first: int, count: int) -> None:
        commands = []
        for i in range(first, first + count):
            bound = self._bound[i]
            if bound is None:
                bound = self._bound[i] = self._bind(self._enf.commands[i])
            commands.append(bound)
        with np.errstate(all="ignore"):  # a stranger's infinities and NaN are data
            if all(len(parts) == 1 for parts in commands):
                for (work,) in commands:
                    work()
                return
            with _Assistant() as assistant:
                for parts in commands:
                    assistant.run(*parts)

    def _bind(self, command: Command) -> Bound:
        """The command with its operands resolved to memory and its parameters named."""
        name = command.instruction.name
        views = [self._view(region) for region in command.operands]
        parts = [(views, command.arguments)]
        if _work(command) >= PARALLEL_WORK:
            parts = halves(name, *parts[0])
        return [KERNELS[name](*part) for part in parts]

    def _view(self, region: Region) -> np.ndarray:
        memory = self._memories[region.space]
        return np.ndarray(
            region.shape, self._dtypes[region.dtype], memory.data, region.address, region.strides
        )


def _working_memory(size: int) -> np.ndarray:
    """Zeros in the place of the card's DRAM, and of the host memory that a program uses beyond it.

    Raises:
        IncompatibleModel: this machine has not as much; to find that out page by page would be to freeze it.
        MemoryError: it has, but not now.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > available:
        raise IncompatibleModel(
            f"the model needs {size} bytes of working memory, this machine has {available} in all: use a smaller batch"
        )
    return _zeros(size)


def _zeros(size: int) -> np.ndarray:
    """Bytes that cost nothing until they are touched; malloc may hand out used memory, which somebody has to clear."""
    return np.frombuffer(allocate(size), np.uint8)


class _Assistant:
    """A second thread that runs one thing at a time beside the first; it ends with the block that it serves.

    Where the system has no thread to spare, the first does everything.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._outcome: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread: threading.Thread | None = threading.Thread(
            target=_serve, args=(self._work, self._outcome), name="simulator", daemon=True
        )

    def __enter__(self) -> Self:
        if (
            not threads.start(self._thread) or self._wait() is not None
        ):  # there is none, or it could not begin
            self._thread = None
        return self

    def __exit__(self, *_: object) -> None:
        self._work.put(None)
        if self._thread is not None:
            self._thread.join()

    def __del__(self) -> None:
        self._work.put(
            None
        )  # an exception came between the thread's start and the block, or its end and this

    def run(self, own: Callable[[], None], other: Callable[[], None] | None = None) -> None:
        """Runs both at the same time; raises what either of them raises, when neither runs any more."""
        if other is None or self._thread is None:
            own()
            if other is not None:
                other()
            return
        self._work.put(other)
        try:
            own()
        finally:
            outcome = self._wait()
        if outcome is not None:
            raise outcome

    def _wait(self) -> BaseException | None:
        return threads.receive(self._outcome, self._thread)


def _serve(work: SimpleQueue[Callable[[], None] | None], outcomes: SimpleQueue[BaseException | None]) -> None:
    """What the second thread does.  It holds BLAS back, for no signal handler interrupts it in that."""
    try:
        with np.errstate(all="ignore"), single_threaded():
            outcomes.put(None)
            while (function := work.get()) is not None:
                outcomes.put(_outcome(function))
    except BaseException as e:  # noqa: BLE001 - handed to the caller's thread
        outcomes.put(e)


def _outcome(function: Callable[[], None]) -> BaseException | None:
    try:
        function()
    except BaseException as e:  # noqa: BLE001 - the same
        return e
    return None


def _work(command: Command) -> int:
    """A rough count of what a command computes."""
    n = 1
    for d in command.operands[-1].shape:
        n *= d
    if command.instruction.name in ("CONV2D", "DEPTHWISE_CONV2D"):
        for d in command.operands[1].shape[-3:]:
            n *= d
    elif command.instruction.name == "MATMUL":
        n *= command.operands[0].shape[3]
    return n
