"""Stage cdfg -> gir for one NPU cluster: stages of work, every operator cut to what fits SRAM.

A tensor lives in SRAM as a whole for as long as it is needed, or, where that does not fit, in DRAM; an operator on a tensor
in DRAM runs band by band.  Which tensors go to DRAM is found by trying: the largest one at the tightest moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.errors import OutOfSram
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.gir.form import Form, Read
from furiosa.compiler.gir.forms import forms
from furiosa.compiler.gir.residents import Residents
from furiosa.compiler.gir.storage import Storage, constants, live_bytes, storages
from furiosa.compiler.gir.tile import (
    ALIGNMENT,
    Box,
    Buffer,
    Holder,
    Stage,
    box_bytes,
    whole,
)
from furiosa.compiler.gir.work import dma, operand, transfer, work
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import Engine, Space
from furiosa.enf.target import Target

BATCH = 1 << 19  # bytes of constants that one transfer may bring ahead of time
_MAX_BANDS = 1 << 16


class Tiler:
    """Tiles one cluster.

    ``dram`` gives the DRAM buffers of the tensors that cross into or out of it, ``residents`` the constants that are in
    SRAM already.
    """

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        pool: ConstantPool,
        dram: dict[Tensor, Buffer],
        residents: Residents,
    ):
        self.cluster, self.target, self.pool, self.dram, self.residents = (
            cluster,
            target,
            pool,
            dram,
            residents,
        )
        self.capacity = target.sram_bytes - residents.nbytes
        self.storage = storages(cluster)
        self.forms = [forms(op, target) for op in cluster.operators]
        self.scratch: list[Buffer] = []  # DRAM buffers of spilled tensors
        self._places = {op: i for i, op in enumerate(cluster.operators)}
        self.batches = self._batches()

    def tile(self, spilled: set[Storage]) -> list[Stage]:
        """The stages with the given storages in DRAM.

        Raises:
            OutOfSram: not even the smallest band of an operator fits.
        """
        self.spilled = spilled
        self.scratch = []
        self._sram: dict[Storage, Buffer] = {}
        self._spill: dict[Storage, Buffer] = {}
        self._limits = self._band_limits()
        self._loaded: set[Storage] = set()
        stages: list[Stage] = []
        for place, op in enumerate(self.cluster.operators):
            if place == 0 or self.batches[place] is not self.batches[place - 1]:
                constants_at_hand: dict[Tensor, Holder] = {}
            for form in self.forms[place]:
                for box in self._bands(place, op, form):
                    stages.append(self._stage(op, form, box, place, constants_at_hand))
            if not self.forms[place]:
                stages.append(self._rename(op))
            self._store_outputs(op, stages)
        return stages

    def homes(self) -> dict[Tensor, Buffer]:
        """For each tensor the buffer that it lies in as a whole, as ``tile`` has placed it."""
        places = {**self._sram, **self._spill}
        return {t: places[s] for t, s in self.storage.items() if s in places}

    # -- residency --------------------------------------------------------------------------------------------------

    def live_bytes(self, spilled: set[Storage]) -> list[int]:
        """Bytes of the tensors in SRAM at each operator."""
        return live_bytes(set(self.storage.values()) - spilled, len(self.cluster.operators))

    def victim(self, spilled: set[Storage], place: int) -> Storage | None:
        """The largest tensor in SRAM at an operator."""
        candidates = [
            s for s in dict.fromkeys(self.storage.values()) if s not in spilled and s.first <= place <= s.last
        ]
        return max(candidates, key=lambda s: s.size, default=None)

    def _band_limits(self) -> list[int]:
        """For each operator the bytes that the tiles of one band may take: a third of what is free, for bands overlap."""
        live = self.live_bytes(self.spilled)
        ops = self.cluster.operators
        fixed = [
            sum(map(self._streamed_bytes, batch)) if self._loaded_whole(op) else 0
            for op, batch in zip(ops, self.batches)
        ] + [0]
        return [
            (self.capacity - live[i] - fixed[i] - fixed[i + 1]) // 3 - 4 * ALIGNMENT for i in range(len(ops))
        ]

    def _batches(self) -> list[list[Operator]]:
        """For each operator the run of operators whose constants are loaded together: a transfer has a fixed cost."""
        out: list[list[Operator]] = []
        total = 0
        for op in self.cluster.operators:
            total += self._streamed_bytes(op)
            if not out or total > min(BATCH, self.target.sram_bytes // 16) or not self._loaded_whole(op):
                batch, total = [], self._streamed_bytes(op)
            batch.append(op)
            out.append(batch)
        return out

    def _streamed(self, op: Operator) -> list[Tensor]:
        """The constants that an operator reads and that are not in SRAM already."""
        return [t for t in constants(op) if t not in self.residents.holders]

    def _streamed_bytes(self, op: Operator) -> int:
        return sum(t.size * ITEMSIZE[t.dtype] for t in self._streamed(op))

    def _loaded_whole(self, op: Operator) -> bool:
        """Whether all that an operator streams is loaded before it starts, not band by band."""
        return self._streamed_bytes(op) <= self.target.sram_bytes // 4

    # -- one operator -----------------------------------------------------------------------------------------------

    def _bands(self, place: int, op: Operator, form: Form) -> Iterator[Box]:
        """Cuts the form's output so that the tiles of one band fit."""
        shape = form.shape
        limit = self._limits[place]
        size = list(shape)

        def fits() -> bool:
            return self._footprint(op, form, tuple((0, s) for s in size)) <= limit

        for dim in form.bands:
            if fits():
                break
            step = form.granularity.get(dim, 1)
            low, high = 1, -(-size[dim] // step)
            while low < high:  # the most steps that fit, by halving
                middle = (low + high + 1) // 2
                size[dim] = min(middle * step, shape[dim])
                if fits():
                    low = middle
                else:
                    high = middle - 1
            size[dim] = min(low * step, shape[dim])
        if not fits():
            raise OutOfSram(
                f"operator '{op.name}' ({op.op_type}) does not fit the {self.target.sram_bytes} bytes of SRAM of "
                f"{self.target.name}, not even in the smallest tiles: use a smaller batch or smaller tensors"
            )
        counts = [-(-d // s) for d, s in zip(shape, size)]
        if int(np.prod(counts)) > _MAX_BANDS:
            raise OutOfSram(f"operator '{op.name}' ({op.op_type}) would need more than {_MAX_BANDS} tiles")
        for index in np.ndindex(*counts):
            yield tuple((i * s, min(s, d - i * s)) for i, s, d in zip(index, size, shape))

    def _footprint(self, op: Operator, form: Form, box: Box) -> int:
        """Bytes of the tiles that a band brings to SRAM and takes from it."""
        total = 0
        reads, _ = form.operands(box)
        for read in reads:
            if read.tensor.is_constant:
                if read.tensor not in self.residents.holders and not self._loaded_whole(op):
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
        if form.is_copy and self._move(op, form, box, reads[0], stage):
            return stage
        holders = [self._hold(op, read, stage, constants_at_hand) for read in reads]
        if out_spilled:
            tile = Buffer(f"{form.output.name}/band", box_bytes(box, form.output.dtype), Space.SRAM)
            band = Holder(tile, form.output.dtype, tuple(s for _, s in box), tuple(s for s, _ in box))
            written = band.view
        else:
            whole_output = Holder(
                self._resident(out_storage), form.output.dtype, form.out_shape, (0,) * len(form.out_shape)
            )
            written = partial(form.place, whole_output)
        operands = [operand(h, r) for h, r in zip(holders, reads)]
        operands.append(written(box))
        stage.computes.append(work(form.instruction, Engine.PE, operands, params, op))
        if out_spilled:
            home = self._dram_holder(out_storage, form.output.dtype, form.out_shape)
            stage.stores.extend(dma("STORE", Engine.STORE, written(box), form.place(home, box), op))
        return stage

    def _move(self, op: Operator, form: Form, box: Box, read: Read, stage: Stage) -> bool:
        """A copy to or from DRAM is a DMA and nothing else; False where it is not."""
        source_spilled = self.storage[read.tensor] in self.spilled if not read.tensor.is_constant else False
        out_storage = self.storage[form.output]
        if source_spilled == (out_storage in self.spilled):
            return False
        if source_spilled:
            source = self._dram_holder(self.storage[read.tensor], read.tensor.dtype, read.shape)
            origin = (0,) * len(form.out_shape)
            out = Holder(self._resident(out_storage), form.output.dtype, form.out_shape, origin)
            name, engine, works = "LOAD", Engine.LOAD, stage.loads
        else:
            source = self._hold(op, read, stage, {})
            out = self._dram_holder(out_storage, form.output.dtype, form.out_shape)
            name, engine, works = "STORE", Engine.STORE, stage.stores
        works.extend(dma(name, engine, operand(source, read), form.place(out, box), op))
        return True

    # -- where bytes are ----------------------------------------------------------------------------------------------

    def _hold(
        self, op: Operator, read: Read, stage: Stage, constants_at_hand: dict[Tensor, Holder]
    ) -> Holder:
        """Brings an operand's box to SRAM where it is not there yet."""
        t = read.tensor
        if t.is_constant:
            if t in self.residents.holders:
                holder = self.residents.holders[t]
                return Holder(holder.buffer, t.dtype, read.shape, (0,) * len(read.shape), holder.offset)
            if self._loaded_whole(op):
                if t not in constants_at_hand:
                    self._load_constants(self.batches[self._places[op]], stage, constants_at_hand)
                holder = constants_at_hand[t]
                return Holder(holder.buffer, t.dtype, read.shape, (0,) * len(read.shape), holder.offset)
            home = Holder(self.pool.buffer, t.dtype, read.shape, (0,) * len(read.shape), self.pool.place(t))
            return self._load(home, read.box, f"{t.name}/band", op, stage)
        storage = self.storage[t]
        if storage in self.spilled:
            home = self._dram_holder(storage, t.dtype, read.shape)
            return self._load(home, read.box, f"{t.name}/band", op, stage)
        buffer = self._resident(storage)
        if storage not in self._loaded and self._from_outside(storage):
            self._loaded.add(storage)
            source = self.dram[storage.tensors[0]]
            stage.loads.append(transfer("LOAD", Engine.LOAD, source, buffer, storage.size, op))
        return Holder(buffer, t.dtype, read.shape, (0,) * len(read.shape))

    def _load(self, home: Holder, box: Box, name: str, op: Operator, stage: Stage) -> Holder:
        tile = Buffer(name, box_bytes(box, home.dtype), Space.SRAM)
        held = Holder(tile, home.dtype, tuple(s for _, s in box), tuple(s for s, _ in box))
        stage.loads.extend(dma("LOAD", Engine.LOAD, home.view(box), held.view(box), op))
        return held

    def _load_constants(
        self, batch: list[Operator], stage: Stage, constants_at_hand: dict[Tensor, Holder]
    ) -> None:
        """One transfer brings all constants of a batch of operators that lie next to each other."""
        op = batch[0]
        runs: list[list[tuple[int, Tensor]]] = []
        for t in dict.fromkeys(t for op in batch for t in self._streamed(op)):
            at = self.pool.place(t)
            if runs:
                last_at, last = runs[-1][-1]
                end = last_at + last.size * ITEMSIZE[last.dtype]
                if 0 <= at - end < ALIGNMENT:
                    runs[-1].append((at, t))
                    continue
            runs.append([(at, t)])
        for run in runs:
            start, (last_at, last) = run[0][0], run[-1]
            size = last_at + last.size * ITEMSIZE[last.dtype] - start
            buffer = Buffer(f"{op.name}/constants", size, Space.SRAM)
            stage.loads.append(
                transfer("LOAD", Engine.LOAD, self.pool.buffer, buffer, size, op, source_offset=start)
            )
            for at, t in run:
                constants_at_hand[t] = Holder(buffer, t.dtype, t.shape, (0,) * len(t.shape), at - start)

    def _resident(self, storage: Storage) -> Buffer:
        if storage not in self._sram:
            self._sram[storage] = Buffer(storage.name, storage.size, Space.SRAM)
        return self._sram[storage]

    def _from_outside(self, storage: Storage) -> bool:
        return storage.tensors[0] in self.cluster.inputs

    def _dram_holder(self, storage: Storage, dtype: str, shape: tuple[int, ...]) -> Holder:
        buffer = self._spill.get(storage)
        if buffer is None:
            outside = [t for t in storage.tensors if t in self.dram]
            if outside:
                buffer = self.dram[outside[0]]
            else:
                buffer = Buffer(f"{storage.name}/spilled", storage.size, Space.DRAM)
                self.scratch.append(buffer)
            self._spill[storage] = buffer
        return Holder(buffer, dtype, shape, (0,) * len(shape))

    # -- crossings ----------------------------------------------------------------------------------------------------

    def _rename(self, op: Operator) -> Stage:
        """A reshape moves nothing, but what it renames must have come from outside; constants are brought in."""
        stage = Stage()
        x, y = op.inputs[0], op.outputs[0]
        if x.is_constant:
            flat = (1, 1, 1, x.size)
            home = Holder(self.pool.buffer, x.dtype, flat, (0,) * 4, self.pool.place(x))
            out = Holder(self._resident(self.storage[y]), y.dtype, flat, (0,) * 4)
            stage.loads.append(
                work("LOAD", Engine.LOAD, [home.view(whole(flat)), out.view(whole(flat))], {}, op)
            )
        elif self.storage[x] not in self.spilled:
            self._hold(op, Read(x, x.shape, whole(x.shape)), stage, {})
        return stage

    def _store_outputs(self, op: Operator, stages: list[Stage]) -> None:
        """Sends what an operator made to DRAM where somebody outside needs it."""
        y = op.outputs[0]
        if y not in self.cluster.outputs:
            return
        storage, home = self.storage[y], self.dram[y]
        if storage not in self.spilled:
            stages[-1].stores.append(
                transfer("STORE", Engine.STORE, self._resident(storage), home, storage.size, op)
            )
        elif self._spill.get(storage) is not home:
            self._copy_within_dram(storage, home, op, stages)

    def _copy_within_dram(self, storage: Storage, home: Buffer, op: Operator, stages: list[Stage]) -> None:
        """A spilled tensor that is needed under a second name."""
        source = self._dram_holder(storage, "int8", (1, 1, 1, storage.size)).buffer
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
