"""Stage cdfg -> gir for one NPU cluster: stages of work, every operator cut to what fits SRAM.

A tensor lives in SRAM as a whole for as long as it is needed, or, where that does not fit, in DRAM; an operator on a tensor
in DRAM runs band by band, or several in a cascade.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from furiosa.compiler import limits
from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.errors import OutOfSram
from furiosa.compiler.gir import bands
from furiosa.compiler.gir.cascade import Cascade, Runner
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.gir.form import Form, Read
from furiosa.compiler.gir.forms import forms
from furiosa.compiler.gir.memory import Memory
from furiosa.compiler.gir.residents import Residents
from furiosa.compiler.gir.storage import Storage
from furiosa.compiler.gir.tile import (
    ALIGNMENT,
    Box,
    Buffer,
    Holder,
    Stage,
    box_bytes,
    whole,
)
from furiosa.compiler.gir.work import dma, form_cycles, operand, transfer, work
from furiosa.enf.isa import Engine, Space
from furiosa.enf.target import Target


class Tiler(Memory):
    """Tiles one cluster; ``forms`` are those of its operators.

    ``compares`` says whether to compare ways to cut an operator into bands, or to take the one that its form prefers.
    """

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        pool: ConstantPool,
        dram: dict[Tensor, Buffer],
        residents: Residents,
        *,
        compares: bool = True,
    ):
        super().__init__(cluster, target, pool, dram, residents)
        self._compares = compares
        self.forms = [forms(op, target) for op in cluster.operators]

    def tile(self, spilled: set[Storage], cascades: Sequence[Cascade] = ()) -> list[Stage]:
        """The stages with the given storages in DRAM, and the given operators run part by part.

        Raises:
            OutOfSram: not even the smallest band of an operator fits.
            TooLarge: there is more work than a program may have.
        """
        self.begin(spilled)
        self._limits = self._band_limits()
        stages: list[Stage] = []
        count = counted = 0
        starts = {c.first: c for c in cascades}
        inside = {place for c in cascades for place in range(c.first, c.last + 1)}
        for place, op in enumerate(self.cluster.operators):
            if place in starts:
                stages += Runner(self, starts[place]).stages()
            if place in inside:
                continue
            if place == 0 or place - 1 in inside or self.batches[place] is not self.batches[place - 1]:
                constants_at_hand: dict[Tensor, Holder] = {}
            for form in self.forms[place]:
                for box in self._bands(place, op, form):
                    stages.append(self._stage(op, form, box, place, constants_at_hand))
            if not self.forms[place]:
                stages.append(self._rename(op))
            self.store_outputs(op, stages)
            count += sum(map(len, stages[counted:]))
            counted = len(stages)
            limits.check_commands(count)
        return stages

    def _band_limits(self) -> list[int]:
        """For each operator the bytes that the tiles of one band may take: a third of what is free, for bands overlap."""
        live = self.live_bytes(self.spilled)
        ops = self.cluster.operators
        fixed = [batch.nbytes if self.loads_whole(op) else 0 for op, batch in zip(ops, self.batches)] + [0]
        return [
            (self.capacity - live[i] - fixed[i] - fixed[i + 1]) // 3 - 4 * ALIGNMENT for i in range(len(ops))
        ]

    # -- one operator -----------------------------------------------------------------------------------------------

    def _bands(self, place: int, op: Operator, form: Form) -> Iterator[Box]:
        """Cuts the form's output so that the tiles of one band fit; where there is a choice, into the bands of least time."""
        limit = self._limits[place]
        footprint = partial(self._footprint, op, form)
        orders = bands.orders(form) if self._compares else [form.bands]
        if footprint(whole(form.shape)) <= max(limit, 0):  # where all is in SRAM there is nothing to cut
            return iter([whole(form.shape)])
        found = (bands.fitting(form, order, footprint, limit) for order in orders)
        sizes = [size for size in dict.fromkeys(found) if size is not None]
        if not sizes:
            raise OutOfSram(
                f"operator '{op.name}' ({op.op_type}) does not fit the {self.target.sram_bytes} bytes of SRAM of "
                f"{self.target.name}, not even in the smallest tiles: use a smaller batch or smaller tensors"
            )
        size = min(sizes, key=partial(self._band_cycles, op, form)) if len(sizes) > 1 else sizes[0]
        if bands.count(form.shape, size) > bands.MAX_BANDS:
            raise OutOfSram(
                f"operator '{op.name}' ({op.op_type}) would need more than {bands.MAX_BANDS} tiles"
            )
        return bands.boxes(form.shape, size)

    def _band_cycles(self, op: Operator, form: Form, size: tuple[int, ...]) -> float:
        """Cycles of all bands of a size: of the PE, or of the transfers where they take longer."""
        box = whole(size)
        dma = self._footprint(op, form, box) * self.target.clock_hz / self.target.dram_bytes_per_s
        return bands.count(form.shape, size) * max(form_cycles(form, op, self.target, box), dma)

    def _footprint(self, op: Operator, form: Form, box: Box) -> int:
        """Bytes of the tiles that a band brings to SRAM and takes from it."""
        total = 0
        reads, _ = form.operands(box)
        for read in reads:
            if read.tensor.is_constant:
                if read.tensor not in self.residents.holders and not self.loads_whole(op):
                    total += box_bytes(read.box, read.tensor.dtype) + ALIGNMENT
            elif self.storage[read.tensor] in self.spilled:
                total += box_bytes(read.box, read.tensor.dtype) + ALIGNMENT
        if self.storage[form.output] in self.spilled:
            total += box_bytes(box, form.output.dtype) + ALIGNMENT
        return total

    def _stage(
        self, op: Operator, form: Form, box: Box, place: int, constants_at_hand: dict[Tensor, Holder]
    ) -> Stage:
        stage = Stage()
        out_storage = self.storage[form.output]
        out_spilled = out_storage in self.spilled
        reads, params = form.operands(box)
        if form.is_copy and self._move(op, form, box, reads[0], stage, constants_at_hand):
            return stage
        holders = [self.hold(op, read, stage, constants_at_hand) for read in reads]
        if out_spilled:
            tile = Buffer(f"{form.output.name}/band", box_bytes(box, form.output.dtype), Space.SRAM)
            band = Holder(tile, form.output.dtype, tuple(s for _, s in box), tuple(s for s, _ in box))
            written = band.view
        else:
            whole_output = Holder(
                self.resident(out_storage), form.output.dtype, form.out_shape, (0,) * len(form.out_shape)
            )
            written = partial(form.place, whole_output)
        operands = [operand(h, r) for h, r in zip(holders, reads)]
        operands.append(written(box))
        stage.computes.append(work(form.instruction, Engine.PE, operands, params, op))
        if out_spilled:
            home = self.dram_holder(out_storage, form.output.dtype, form.out_shape)
            stage.stores.extend(dma("STORE", Engine.STORE, written(box), form.place(home, box), op))
        return stage

    def _move(
        self,
        op: Operator,
        form: Form,
        box: Box,
        read: Read,
        stage: Stage,
        constants_at_hand: dict[Tensor, Holder],
    ) -> bool:
        """A copy to or from DRAM is a DMA and nothing else; False where it is not."""
        source_spilled = self.storage[read.tensor] in self.spilled if not read.tensor.is_constant else False
        out_storage = self.storage[form.output]
        if source_spilled == (out_storage in self.spilled):
            return False
        if source_spilled:
            source = self.dram_holder(self.storage[read.tensor], read.tensor.dtype, read.shape)
            origin = (0,) * len(form.out_shape)
            out = Holder(self.resident(out_storage), form.output.dtype, form.out_shape, origin)
            name, engine, works = "LOAD", Engine.LOAD, stage.loads
        else:
            source = self.hold(op, read, stage, constants_at_hand)
            out = self.dram_holder(out_storage, form.output.dtype, form.out_shape)
            name, engine, works = "STORE", Engine.STORE, stage.stores
        works.extend(dma(name, engine, operand(source, read), form.place(out, box), op))
        return True

    # -- crossings ----------------------------------------------------------------------------------------------------

    def _rename(self, op: Operator) -> Stage:
        """A reshape moves nothing, but what it renames must have come from outside; constants are brought in."""
        stage = Stage()
        x, y = op.inputs[0], op.outputs[0]
        if x.is_constant:
            flat = (1, 1, 1, x.size)
            home = Holder(self.pool.buffer, x.dtype, flat, (0,) * 4, self.pool.place(x))
            out = Holder(self.resident(self.storage[y]), y.dtype, flat, (0,) * 4)
            stage.loads.append(
                work("LOAD", Engine.LOAD, [home.view(whole(flat)), out.view(whole(flat))], {}, op)
            )
        elif self.storage[x] not in self.spilled:
            self.hold(op, Read(x, x.shape, whole(x.shape)), stage, {})
        return stage

    def store_outputs(self, op: Operator, stages: list[Stage]) -> None:
        """Sends what an operator made to DRAM where somebody outside needs it."""
        y = op.outputs[0]
        if y not in self.outputs:
            return
        storage, home = self.storage[y], self.dram[y]
        if storage not in self.spilled:
            stages[-1].stores.append(
                transfer("STORE", Engine.STORE, self.resident(storage), home, storage.size, op)
            )
        elif self._spill.get(storage) is not home:
            self._copy_within_dram(storage, home, op, stages)

    def _copy_within_dram(self, storage: Storage, home: Buffer, op: Operator, stages: list[Stage]) -> None:
        """A spilled tensor that is needed under a second name."""
        source = self.dram_holder(storage, "int8", (1, 1, 1, storage.size)).buffer
        step = max(self._limits[self._places[op]] // ALIGNMENT * ALIGNMENT, ALIGNMENT)
        for start in range(0, storage.size, step):
            size = min(step, storage.size - start)
            tile = Buffer(f"{storage.name}/band", size, Space.SRAM)
            stage = Stage()
            stage.loads.append(transfer("LOAD", Engine.LOAD, source, tile, size, op, source_offset=start))
            stage.stores.append(
                transfer("STORE", Engine.STORE, tile, home, size, op, destination_offset=start)
            )
            stages.append(stage)
