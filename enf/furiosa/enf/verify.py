"""The verifier: proves of a program, without running it, that it is safe to run.

- every operand of every command lies within its memory, has the element type, rank and shape that the instruction
  table asks for, and belongs to one live buffer of the memory plan;
- buffers that live at the same time do not overlap;
- every byte is written before it is read, in the buffer's own lifetime;
- of two commands that touch the same bytes, one of them writing, the later waits for the earlier (no races);
- what the plan hands to and takes from host clusters and users lies within working DRAM or the constants.

Bounds are checked by subtraction (``a > n - b``), which cannot overflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from furiosa.enf import dtypes
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.hazards import Buffer, Clock, Clocks, Memory, Overlap
from furiosa.enf.isa import Command, Engine, Operand, Region, Space, dense_strides

if TYPE_CHECKING:
    from furiosa.enf.reader import Enf

MAX_RANK = 16  # of tensors at the interface
_ITEMSIZE = dtypes.ITEMSIZE

class _Verifier:
    def __init__(self, enf: Enf):
        self.enf = enf
        self.commands = enf.commands
        self.constants_size = len(enf.constants)
        target = enf.target
        working = enf.metadata.working_dram_bytes
        if working > target.dram_bytes or self.constants_size > target.dram_bytes - working:
            raise EnfVerifyError(f"the program needs more than the {target.dram_bytes} bytes of DRAM of {target.name}")
        self.sram = Memory("sram", target.sram_bytes)
        self.dram = Memory("dram", working)
        self.engines = Engine.PE0 + target.pes
        self.clocks = Clocks()

    def run(self) -> None:
        memory = self.enf.memory
        sizes = {len(memory.sram_address), len(memory.sram_size), len(memory.sram_first), len(memory.sram_last)}
        if len(sizes) != 1 or len(memory.dram_address) != len(memory.dram_size):
            raise EnfVerifyError("the memory plan's columns differ in length")
        self._open_dram()
        self._plan_lifetimes()
        done = 0
        for step in self.enf.plan.steps:
            if step.WhichOneof("step") == "commands":
                first, count = step.commands.first, step.commands.count
                if first != done or count > len(self.commands) - done:
                    raise EnfVerifyError("the plan's command ranges do not follow each other")
                for i in range(first, first + count):
                    self._command(i, self.commands[i])
                done += count
                self.clocks.barrier()
            else:
                self._host_call(step.host_call)
        if done != len(self.commands):
            raise EnfVerifyError(f"the plan runs {done} of {len(self.commands)} commands")
        for tensor in self.enf.interface.outputs:
            self._at_rest(tensor, "output", read=True)

    # -- memory ---------------------------------------------------------------------------------------------------

    def _open_dram(self) -> None:
        memory = self.enf.memory
        names = list(memory.dram_tensor) + [""] * len(memory.dram_address)
        for name, address, size in sorted(
            zip(names, memory.dram_address, memory.dram_size), key=lambda b: b[1]
        ):
            self.dram.open(name, address, size)
        for tensor in self.enf.interface.inputs:
            if tensor.space != Space.DRAM:
                raise EnfVerifyError(f"input '{tensor.name}' is not in working DRAM")
            self._at_rest(tensor, "input", read=False)

    def _plan_lifetimes(self) -> None:
        memory = self.enf.memory
        names = list(memory.sram_tensor) + [""] * len(memory.sram_address)
        total = len(self.commands)
        self.births: dict[int, list[int]] = {}
        self.deaths: dict[int, list[Buffer]] = {}
        self.rows = list(zip(names, memory.sram_address, memory.sram_size, memory.sram_last))
        for row, (first, last) in enumerate(zip(memory.sram_first, memory.sram_last)):
            if first > last or last >= total:
                raise EnfVerifyError(f"buffer '{names[row]}' lives outside the program")
            self.births.setdefault(first, []).append(row)

    # -- commands -------------------------------------------------------------------------------------------------

    def _command(self, number: int, command: Command) -> None:
        for row in self.births.get(number, ()):
            name, address, size, last = self.rows[row]
            self.deaths.setdefault(last, []).append(self.sram.open(name, address, size))
        try:
            self._check(command)
        except EnfVerifyError as e:
            raise EnfVerifyError(f"command {number} ({command.instruction.name}): {e}") from None
        for buffer in self.deaths.pop(number, ()):
            self.sram.close(buffer)

    def _check(self, command: Command) -> None:
        instruction, engine = command.instruction, command.engine
        if engine not in instruction.engines or engine >= self.engines:
            raise EnfVerifyError(f"it cannot run on engine {engine} of {self.enf.target.name}")
        for other, wait in enumerate(command.waits):
            if wait > self.clocks.count[other]:
                raise EnfVerifyError(f"it waits for command {wait} of engine {Engine.NAMES[other]}, which comes later")
        clock = self.clocks.at_start(engine, command.waits)
        accesses = []
        for spec, region in zip(instruction.operands, command.operands):
            access = self._operand(spec, region)
            if access is not None:
                accesses.append((spec.access, *access))
        problem = instruction.check(*command.operands, **command.arguments)
        if problem:
            raise EnfVerifyError(problem)
        index = self.clocks.issue(engine, clock)
        for kind, buffer, region, start, end in accesses:  # reads first: a command may overwrite what it reads
            if kind == "r":
                if not buffer.has(region, start, end):
                    raise EnfVerifyError(f"it reads {region!r} of buffer '{buffer.name}', which is not wholly written")
                self._ordered(clock, buffer.needed_to_read(clock, start, end), buffer)
        for kind, buffer, region, start, end in accesses:
            if kind == "r":
                buffer.read(engine, index, start, end)
            else:
                self._ordered(clock, buffer.needed_to_write(clock, start, end), buffer, engine, index)
                buffer.write(engine, index, start, end, region)

    @staticmethod
    def _ordered(clock: Clock, needed: Clock, buffer: Buffer, engine: int = -1, index: int = 0) -> None:
        for other, need in enumerate(needed):
            if clock[other] < need and (other, need) != (engine, index):
                raise EnfVerifyError(f"it races with command {need} of engine {Engine.NAMES[other]} on buffer '{buffer.name}'")

    def _operand(self, spec: Operand, region: Region) -> tuple[Buffer, Region, int, int] | None:
        if region.space not in spec.spaces or region.dtype not in spec.dtypes:
            raise EnfVerifyError(f"operand {spec.name} has the wrong memory or element type: {region!r}")
        itemsize = _ITEMSIZE[region.dtype]
        extent = elements = itemsize
        for d, s in zip(region.shape, region.strides):
            if d < 1:
                raise EnfVerifyError(f"operand {spec.name} is empty: {region!r}")
            extent += (d - 1) * s
            elements *= d
        start, space = region.address, region.space
        if start % itemsize or any(s % itemsize for s in region.strides):
            raise EnfVerifyError(f"operand {spec.name} is not aligned to its elements: {region!r}")
        if spec.access == "w" and extent < elements:
            raise EnfVerifyError(f"operand {spec.name} is written in overlapping places: {region!r}")
        if space == Space.CONST:
            if start > self.constants_size or extent > self.constants_size - start:
                raise EnfVerifyError(f"operand {spec.name} is outside the constants: {region!r}")
            return None
        memory = self.sram if space == Space.SRAM else self.dram
        if start > memory.size or extent > memory.size - start:
            raise EnfVerifyError(f"operand {spec.name} is outside {Space.NAMES[space]}: {region!r}")
        buffer = memory.find(start, start + extent)
        if buffer is None:
            raise EnfVerifyError(f"operand {spec.name} does not lie in one live buffer: {region!r}")
        if elements > memory.size:  # by strides of 0
            raise EnfVerifyError(f"operand {spec.name} has more elements than its memory: {region!r}")
        return buffer, region, start, start + extent

    # -- what crosses to the host -----------------------------------------------------------------------------------

    def _host_call(self, call: Any) -> None:
        if call.format not in ("onnx", "tflite"):
            raise EnfVerifyError(f"a host cluster has the unknown format '{call.format}'")
        size = len(self.enf.section("host_models"))
        if call.offset > size or call.size > size - call.offset:
            raise EnfVerifyError("a host cluster's model is outside its section")
        for tensor in call.inputs:
            self._at_rest(tensor, "host input", read=True)
        for tensor in call.outputs:
            self._at_rest(tensor, "host output", read=False)

    def _at_rest(self, tensor: Any, what: str, *, read: bool) -> None:
        """A dense tensor that the host reads or writes while no engine runs."""
        name = dtypes.NAME.get(tensor.dtype)
        if name is None or len(tensor.shape) > MAX_RANK:
            raise EnfVerifyError(f"{what} '{tensor.name}' has an unknown element type or too many dimensions")
        shape = tuple(tensor.shape)
        nbytes = _ITEMSIZE[name]
        for d in shape:
            nbytes *= d
        if nbytes == 0:
            return
        start, end = tensor.address, tensor.address + nbytes
        if tensor.address % _ITEMSIZE[name]:
            raise EnfVerifyError(f"{what} '{tensor.name}' is not aligned to its elements")
        if tensor.space == Space.CONST:
            if not read or start > self.constants_size or nbytes > self.constants_size - start:
                raise EnfVerifyError(f"{what} '{tensor.name}' is outside the constants")
            return
        if tensor.space != Space.DRAM or start > self.dram.size or nbytes > self.dram.size - start:
            raise EnfVerifyError(f"{what} '{tensor.name}' is outside working DRAM")
        buffer = self.dram.find(start, end)
        if buffer is None:
            raise EnfVerifyError(f"{what} '{tensor.name}' does not lie in one buffer of the memory plan")
        if read:
            region = Region(Space.DRAM, name, start, shape, dense_strides(shape, _ITEMSIZE[name]))
            if not buffer.has(region, start, end):
                raise EnfVerifyError(f"{what} '{tensor.name}' is never written")
        else:
            buffer.fill(start, end)


def verify(enf: Enf) -> None:
    """Checks a decoded program.

    Raises:
        EnfVerifyError: the first violation found, naming the command.
    """
    try:
        _Verifier(enf).run()
    except Overlap as e:
        raise EnfVerifyError(str(e)) from None
