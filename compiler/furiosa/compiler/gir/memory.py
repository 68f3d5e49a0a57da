"""Where the tensors and constants of one NPU cluster lie: as a whole in SRAM or in DRAM, and how they come to SRAM."""

from __future__ import annotations

from dataclasses import dataclass, field

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.gir.form import Read
from furiosa.compiler.gir.residents import Residents
from furiosa.compiler.gir.storage import Storage, constants, live_bytes, storages
from furiosa.compiler.gir.tile import ALIGNMENT, Box, Buffer, Holder, Stage, box_bytes
from furiosa.compiler.gir.work import dma, transfer
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import Engine, Space
from furiosa.enf.target import Target

_BATCH = 1 << 19  # bytes of constants that one transfer may bring ahead of time

Piece = tuple[Buffer, int, int]  # a buffer that has the bytes [start, end) of a tensor


@dataclass(slots=True, eq=False)
class Batch:
    """Operators whose constants, ``nbytes`` together, one transfer brings: each has a fixed cost."""

    operators: list[Operator] = field(default_factory=list)
    nbytes: int = 0


class Memory:
    """The memory of one cluster.

    ``dram`` gives the DRAM buffers of the tensors that cross into or out of it, ``residents`` the constants that are in
    SRAM already; ``capacity`` is what they leave of SRAM, in bytes.
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
        self.scratch: list[Buffer] = []  # DRAM buffers of spilled tensors
        self._inputs, self.outputs = set(cluster.inputs), set(cluster.outputs)
        self._places = {op: i for i, op in enumerate(cluster.operators)}
        self.batches = self._batches()

    def begin(self, spilled: set[Storage]) -> None:
        """Forgets what was tiled before."""
        self.spilled = set(spilled)
        self.scratch = []
        self._sram: dict[Storage, Buffer] = {}
        self._spill: dict[Storage, Buffer] = {}
        self._loaded: set[Storage] = set()
        self.pieces: dict[Storage, list[Piece]] = {}  # of tensors that never are whole

    def homes(self) -> dict[Tensor, list[Piece]]:
        """For each tensor the pieces of memory that together have all its bytes, as ``tile`` has placed them."""
        homes = {s: [(buffer, 0, s.size)] for s, buffer in {**self._sram, **self._spill}.items()}
        for s, pieces in self.pieces.items():
            end = 0
            for _, start, stop in sorted(pieces, key=lambda p: p[1]):
                end = max(end, stop) if start <= end else end
            if end == s.size:
                homes[s] = pieces
        return {t: homes[s] for t, s in self.storage.items() if s in homes}

    def live_bytes(self, spilled: set[Storage]) -> list[int]:
        """Bytes of the tensors in SRAM at each operator."""
        return live_bytes(set(self.storage.values()) - spilled, 0, len(self.cluster.operators) - 1)

    # -- constants --------------------------------------------------------------------------------------------------

    def _batches(self) -> list[Batch]:
        """For each operator the batch that it belongs to."""
        most = min(_BATCH, self.target.sram_bytes // 16)
        out: list[Batch] = []
        for op in self.cluster.operators:
            size = self.streamed_bytes(op)
            if not out or out[-1].nbytes + size > most or not self.loads_whole(op):
                out.append(Batch())
            else:
                out.append(out[-1])
            out[-1].operators.append(op)
            out[-1].nbytes += size
        return out

    def _streamed(self, op: Operator) -> list[Tensor]:
        """The constants that an operator reads and that are not in SRAM already."""
        return [t for t in constants(op) if t not in self.residents.holders]

    def streamed_bytes(self, op: Operator) -> int:
        """Bytes of the constants that an operator does not find in SRAM."""
        return sum(t.size * ITEMSIZE[t.dtype] for t in self._streamed(op))

    def loads_whole(self, op: Operator) -> bool:
        """Whether all that an operator streams is loaded before it starts, not band by band."""
        return self.streamed_bytes(op) <= self.target.sram_bytes // 4

    # -- where bytes are ----------------------------------------------------------------------------------------------

    def hold(self, op: Operator, read: Read, stage: Stage, constants_at_hand: dict[Tensor, Holder]) -> Holder:
        """Brings an operand's box to SRAM where it is not there yet."""
        t = read.tensor
        if t.is_constant:
            if t in self.residents.holders:
                holder = self.residents.holders[t]
                return Holder(holder.buffer, t.dtype, read.shape, (0,) * len(read.shape), holder.offset)
            if self.loads_whole(op):
                if t not in constants_at_hand:
                    self._load_constants(self.batches[self._places[op]].operators, stage, constants_at_hand)
                holder = constants_at_hand[t]
                return Holder(holder.buffer, t.dtype, read.shape, (0,) * len(read.shape), holder.offset)
            home = Holder(self.pool.buffer, t.dtype, read.shape, (0,) * len(read.shape), self.pool.place(t))
            return self._load(home, read.box, f"{t.name}/band", op, stage)
        storage = self.storage[t]
        if storage in self.spilled:
            home = self.dram_holder(storage, t.dtype, read.shape)
            return self._load(home, read.box, f"{t.name}/band", op, stage)
        buffer = self.resident(storage)
        if storage not in self._loaded and self.from_outside(storage):
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

    def resident(self, storage: Storage) -> Buffer:
        if storage not in self._sram:
            self._sram[storage] = Buffer(storage.name, storage.size, Space.SRAM)
        return self._sram[storage]

    def from_outside(self, storage: Storage) -> bool:
        return storage.tensors[0] in self._inputs

    def dram_holder(self, storage: Storage, dtype: str, shape: tuple[int, ...]) -> Holder:
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
