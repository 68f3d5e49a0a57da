"""The verifier: proves of a program, without running it, that it is safe to run.

Of the program:
- it fits SRAM, and DRAM with three times as much host memory behind it; the figures about it are finite and agree with it;
- its setup and the steps of its plan run every command once and in order;
- setup only loads constants to buffers that live to the end of the program, and no step writes to those, so that each
  run finds them as the one before;
- buffers lie within their memory and live within the program; those that live at the same time do not overlap.

Of every command:
- the instruction table allows its engine, and the target has the slices that its work is split over;
- it waits for commands that stand before it only, so nothing waits for ever;
- every operand is not empty, has the memory and element type that the table asks for, is aligned to its elements, lies
  within one live buffer or the constants, and has no more elements than SRAM holds;
- operands and parameters fit together (the ranges of the instruction table, and relations.py);
- no two elements that it writes share a byte, and no byte that it writes is among those that it reads;
- every byte that it reads was written before, in the buffer's own lifetime;
- it waits for every earlier command that touches the same bytes, if one of the two writes (no races).

Of every tensor that users or host clusters hand over or get:
- its element type is known, it is aligned to its elements, and lies within one buffer of working DRAM, or, where it is only
  read, within the constants; if it is read, all of it was written before.

Bounds are checked by subtraction (``a > n - b``), which cannot overflow in any language.  Time and memory are bounded by the
size of the file times a constant, see the limits in codec.py, coverage.py, hazards.py and reader.py.
"""

from __future__ import annotations

import math
from operator import mul
from typing import TYPE_CHECKING

from furiosa.enf import dtypes
from furiosa.enf.coverage import Effort
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.hazards import ZERO, Buffer, Clock, Clocks, Memory, Overlap
from furiosa.enf.isa import Command, Operand
from furiosa.enf.machine import Engine, Region, Space, dense_strides

if TYPE_CHECKING:
    from furiosa.enf.enf_pb2 import HostCall, TensorDescriptor
    from furiosa.enf.reader import Enf

MAX_RANK = 16  # of tensors at the interface
MAX_US = 1e30  # of an estimated time: sums of them stay finite
FORMATS = ("onnx", "tflite")
_ITEMSIZE = dtypes.ITEMSIZE
_WAITS_FOR_NOTHING = (0,) * Engine.COUNT


def verify(enf: Enf) -> None:
    """Checks a decoded program.

    Raises:
        EnfVerifyError: the first violation found, naming the command.
    """
    try:
        _Verifier(enf).run()
    except Overlap as e:
        raise EnfVerifyError(str(e)) from None


class _Verifier:
    def __init__(self, enf: Enf):
        self.enf = enf
        self.commands = enf.commands
        self.target = enf.target
        self.constants_size = len(enf.constants)
        self.sram = Memory("SRAM", self.target.sram_bytes)
        self.dram = Memory("working DRAM", enf.metadata.working_dram_bytes)
        self.clocks = Clocks()
        self.effort = Effort()
        self.layouts: dict[tuple[object, ...], tuple[int, int]] = {}
        self.residents: set[Buffer] = set()  # what setup has filled

    def run(self) -> None:
        self._figures()
        self._open_dram()
        self._plan_lifetimes()
        done = self._setup()
        for number, step in enumerate(self.enf.plan.steps):
            kind = step.WhichOneof("step")
            if kind == "commands":
                first, count = step.commands.first, step.commands.count
                if first != done or count > len(self.commands) - done:
                    raise EnfVerifyError("the plan's ranges of commands do not follow each other")
                for i in range(first, first + count):
                    self._command(i, self.commands[i])
                done += count
                self.clocks.barrier()
            elif kind == "host_call":
                self._host_call(step.host_call)
            else:
                raise EnfVerifyError(f"step {number} of the plan is empty")
        if done != len(self.commands):
            raise EnfVerifyError(f"the plan runs {done} of {len(self.commands)} commands")
        for tensor in self.enf.interface.outputs:
            self._at_rest(tensor, "output", read=True)

    # -- the program as a whole -------------------------------------------------------------------------------------

    def _figures(self) -> None:
        m, target = self.enf.metadata, self.target
        if m.dram_bytes > target.memory_bytes or m.sram_peak_bytes > target.sram_bytes:
            raise EnfVerifyError(f"the program needs more memory than {target.name} has")
        if m.dram_bytes != m.working_dram_bytes + self.constants_size:
            raise EnfVerifyError("the metadata's dram_bytes is not the sum of constants and working memory")
        if not m.batch_size or m.source_format not in FORMATS or len(m.source_sha256) not in (0, 32):
            raise EnfVerifyError("the metadata's batch size, source format or source digest makes no sense")
        if not 0 <= m.latency_us < MAX_US or m.npu_macs > m.total_macs:
            raise EnfVerifyError("the metadata's latency or number of multiply-accumulates makes no sense")
        debug = self.enf.debug
        origins = debug.command_operator
        if origins and (len(origins) != len(self.commands) or max(origins) >= len(debug.operators)):
            raise EnfVerifyError("the debug map does not name one operator for each command")

    def _open_dram(self) -> None:
        memory = self.enf.memory
        if len(memory.dram_size) != len(memory.dram_address):
            raise EnfVerifyError("the memory plan's columns differ in length")
        names = _names(memory.dram_tensor, len(memory.dram_address))
        for address, size, name in sorted(zip(memory.dram_address, memory.dram_size, names)):
            self.dram.open(name, address, size)
        for tensor in self.enf.interface.inputs:
            self._at_rest(tensor, "input", read=False)

    def _plan_lifetimes(self) -> None:
        memory = self.enf.memory
        rows = len(memory.sram_address)
        if any(len(c) != rows for c in (memory.sram_size, memory.sram_first, memory.sram_last)):
            raise EnfVerifyError("the memory plan's columns differ in length")
        self.births: dict[int, list[tuple[str, int, int, int]]] = {}
        self.deaths: dict[int, list[Buffer]] = {}
        names = _names(memory.sram_tensor, rows)
        columns = zip(names, memory.sram_address, memory.sram_size, memory.sram_first, memory.sram_last)
        for name, address, size, first, last in columns:
            if first > last or last >= len(self.commands):
                raise EnfVerifyError(f"buffer '{name}' lives outside the program")
            self.births.setdefault(first, []).append((name, address, size, last))

    def _setup(self) -> int:
        """The commands that run once; what they loaded is constant from then on.  Returns their number."""
        setup = self.enf.plan.setup
        if setup.first or setup.count > len(self.commands):
            raise EnfVerifyError("the commands of setup are not the program's first")
        end = len(self.commands) - 1
        for i in range(setup.count):
            command = self.commands[i]
            if command.instruction.name != "LOAD" or command.operands[0].space != Space.CONST:
                raise EnfVerifyError(f"command {i} ({command.instruction}) of setup does not load constants")
            if any(last != end for _, _, _, last in self.births.get(i, ())):
                raise EnfVerifyError("a buffer of setup does not live to the end of the program")
            self._command(i, command)
        self.clocks.barrier()
        self.residents = set(self.sram.live)
        return setup.count

    # -- commands -----------------------------------------------------------------------------------------------------

    def _command(self, number: int, command: Command) -> None:
        for name, address, size, last in self.births.get(number, ()):
            self.deaths.setdefault(last, []).append(self.sram.open(name, address, size))
        try:
            self._check(command)
        except EnfVerifyError as e:
            sentence = f"command {number} ({command.instruction}): {e}"
            raise EnfVerifyError(sentence, is_limit=e.is_limit) from None
        for buffer in self.deaths.pop(number, ()):
            self.sram.close(buffer)

    def _check(self, command: Command) -> None:
        instruction, engine, waits = command.instruction, command.engine, command.waits
        if engine not in instruction.engines:
            raise EnfVerifyError(f"it cannot run on engine {engine}")
        if waits != _WAITS_FOR_NOTHING:
            for other, wait in enumerate(waits):
                if wait > self.clocks.count[other]:
                    raise EnfVerifyError(
                        f"it waits for command {wait} of engine {Engine.NAMES[other]}, not yet issued"
                    )
        *inputs, output = map(self._operand, instruction.operands, command.operands)
        arguments = command.arguments
        problem = instruction.misfit(command.operands, arguments)
        if problem:
            raise EnfVerifyError(problem)
        if arguments.get("split_pixels", 1) * arguments.get("split_channels", 1) > self.target.slices:
            raise EnfVerifyError(
                f"it is split over more than the {self.target.slices} slices of {self.target.name}"
            )

        clock = self.clocks.at_start(engine, waits)
        out, out_start, out_end = output
        for (buffer, start, end), region in zip(inputs, command.operands):
            if buffer is None:
                continue
            needed = buffer.needed_to_read(clock, start, end)
            if needed is not ZERO:
                self._ordered(clock, needed, buffer)
            if not buffer.coverage.has(region, start, end, self.effort):
                raise EnfVerifyError(
                    f"it reads {region} of buffer '{buffer.name}', which is not wholly written"
                )
            if buffer is out and start < out_end and out_start < end:
                raise EnfVerifyError(f"it writes where it reads, in buffer '{buffer.name}'")
        self._ordered(clock, out.needed_to_write(clock, out_start, out_end), out)
        if out in self.residents:
            raise EnfVerifyError(f"it writes to buffer '{out.name}', which setup has filled for every run")

        index = self.clocks.issue(engine, clock)
        for buffer, start, end in inputs:
            if buffer is not None:
                buffer.read(engine, index, start, end)
        out.write(engine, index, out_start, out_end, command.operands[-1])

    @staticmethod
    def _ordered(clock: Clock, needed: Clock, buffer: Buffer) -> None:
        for other, need in enumerate(needed):
            if clock[other] < need:
                raise EnfVerifyError(
                    f"it races with command {need} of engine {Engine.NAMES[other]} in buffer '{buffer.name}'"
                )

    def _operand(self, spec: Operand, region: Region) -> tuple[Buffer | None, int, int]:
        """The live buffer of an operand, None for a constant, and the bytes [start, end) that it spans."""
        space = region.space
        if space not in spec.spaces or region.dtype not in spec.dtypes:
            raise EnfVerifyError(f"operand {spec.name} has the wrong memory or element type: {region}")
        start = region.address
        layout = spec.access, region.dtype, region.shape, region.strides
        found = self.layouts.get(layout)
        if found is None:
            found = self.layouts[layout] = _layout(spec, region, self.sram.size)
        extent, alignment = found
        if start % alignment:
            raise EnfVerifyError(f"operand {spec.name} is not aligned to its elements: {region}")
        if space == Space.CONST:
            if start > self.constants_size or extent > self.constants_size - start:
                raise EnfVerifyError(f"operand {spec.name} is outside the constants: {region}")
            return None, start, start + extent
        memory = self.sram if space == Space.SRAM else self.dram
        if start > memory.size or extent > memory.size - start:
            raise EnfVerifyError(f"operand {spec.name} is outside {memory.name}: {region}")
        buffer = memory.find(start, start + extent)
        if buffer is None:
            raise EnfVerifyError(f"operand {spec.name} does not lie in one live buffer: {region}")
        return buffer, start, start + extent

    # -- what crosses to users and the host -------------------------------------------------------------------------

    def _host_call(self, call: HostCall) -> None:
        if call.format not in FORMATS:
            raise EnfVerifyError(f"a host cluster has the unknown format '{call.format}'")
        size = len(self.enf.section("host_models"))
        if call.offset > size or call.size > size - call.offset:
            raise EnfVerifyError("a host cluster's model is outside its section")
        if not 0 <= call.estimated_us < MAX_US:
            raise EnfVerifyError("a host cluster's estimated time makes no sense")
        for tensor in call.inputs:
            self._at_rest(tensor, "host input", read=True)
        for tensor in call.outputs:
            self._at_rest(tensor, "host output", read=False)

    def _at_rest(self, tensor: TensorDescriptor, what: str, *, read: bool) -> None:
        """A dense tensor that the host reads or writes while no engine runs."""
        name = dtypes.NAME.get(tensor.dtype)
        if name is None or len(tensor.shape) > MAX_RANK or not 0 <= tensor.quantization.scale < math.inf:
            raise EnfVerifyError(f"{what} '{tensor.name}' has an unknown element type, scale or rank")
        if tensor.axes and (len(tensor.axes) != len(tensor.shape) or set(tensor.axes) - set("NCHW")):
            raise EnfVerifyError(f"{what} '{tensor.name}' has axes that do not fit its shape")
        start, itemsize, shape = tensor.address, _ITEMSIZE[name], tuple(tensor.shape)
        if (
            itemsize * math.prod(d or 1 for d in shape) > self.target.memory_bytes
        ):  # also where one dimension is 0
            raise EnfVerifyError(f"{what} '{tensor.name}' is too large")
        nbytes = itemsize * math.prod(shape)
        if start % itemsize:
            raise EnfVerifyError(f"{what} '{tensor.name}' is not aligned to its elements")
        if tensor.space == Space.CONST and read:
            if start > self.constants_size or nbytes > self.constants_size - start:
                raise EnfVerifyError(f"{what} '{tensor.name}' is outside the constants")
            return
        if tensor.space != Space.DRAM or start > self.dram.size or nbytes > self.dram.size - start:
            raise EnfVerifyError(f"{what} '{tensor.name}' is outside working DRAM")
        if nbytes == 0:
            return
        buffer = self.dram.find(start, start + nbytes)
        if buffer is None:
            raise EnfVerifyError(f"{what} '{tensor.name}' does not lie in one buffer of the memory plan")
        if read:
            region = Region(Space.DRAM, name, start, shape, dense_strides(shape, itemsize))
            if not buffer.coverage.has(region, start, start + nbytes, self.effort):
                raise EnfVerifyError(f"{what} '{tensor.name}' is not wholly written")
        else:
            buffer.fill(start, start + nbytes)


def _names(names: list[str], count: int) -> list[str]:
    """The names of a memory plan's rows, which may be left out."""
    if names and len(names) != count:
        raise EnfVerifyError("the memory plan's columns differ in length")
    return list(names) or [""] * count


def _layout(spec: Operand, region: Region, most: int) -> tuple[int, int]:
    """Bytes from an operand's first to its last.

    Raises:
        EnfVerifyError: it is empty, not aligned, written twice in the same place, or by strides of 0 larger than ``most``.
    """
    itemsize = _ITEMSIZE[region.dtype]
    shape, strides = region.shape, region.strides
    if len(shape) == 4:  # nearly all: written out, for every operand of a program comes by here
        n, h, w, c = shape
        elements = n * h * w * c
        extent = itemsize - sum(strides) + n * strides[0] + h * strides[1] + w * strides[2] + c * strides[3]
    else:
        elements = math.prod(shape)
        extent = itemsize - sum(strides) + sum(map(mul, shape, strides))
    if not elements:
        raise EnfVerifyError(f"operand {spec.name} is empty: {region}")
    if itemsize > 1 and any(s % itemsize for s, d in zip(strides, shape) if d > 1):
        raise EnfVerifyError(f"operand {spec.name} is not aligned to its elements: {region}")
    if spec.access == "w" and _overlaps(itemsize, shape, strides):
        raise EnfVerifyError(f"operand {spec.name} is written twice in the same place: {region}")
    if itemsize * elements > most and extent != itemsize * elements:
        raise EnfVerifyError(f"operand {spec.name} has more elements than SRAM holds: {region}")
    return extent, itemsize


def _overlaps(size: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether two elements of ``size`` bytes share a byte: no step may be shorter than what lies within it."""
    for s, d in sorted(zip(strides, shape)):
        if d > 1:
            if s < size:
                return True
            size += (d - 1) * s
    return False
