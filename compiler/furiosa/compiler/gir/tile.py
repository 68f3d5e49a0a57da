"""What gir is made of: buffers, views of them, and the work on views."""

from __future__ import annotations

from dataclasses import dataclass, field

from furiosa.compiler.dfg.graph import Operator
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import dense_strides

ALIGNMENT = 64  # of buffers and constants, in bytes: the vendor's io_alignment

Box = tuple[tuple[int, int], ...]  # for each dimension (start, size)


@dataclass(slots=True, eq=False)
class Buffer:
    """Bytes that get an address in lir; ``space`` is a code of furiosa.enf.isa.Space.

    One that ``is_resident`` is filled once and stays in SRAM from run to run.
    """

    name: str
    size: int
    space: int
    is_resident: bool = False


@dataclass(slots=True, eq=False)
class View:
    """Elements in a buffer: byte ``offset`` of the first, byte ``strides``."""

    buffer: Buffer
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Holder:
    """A dense row-major array, or the part of one that starts at ``origin``, in a buffer at byte ``offset``."""

    buffer: Buffer
    dtype: str
    shape: tuple[int, ...]  # of what lies in the buffer
    origin: tuple[int, ...]
    offset: int = 0

    def view(self, box: Box) -> View:
        """The elements of a box given in the coordinates of the whole array."""
        strides = dense_strides(self.shape, ITEMSIZE[self.dtype])
        offset = self.offset + sum((b[0] - o) * s for b, o, s in zip(box, self.origin, strides))
        shape = tuple(size for _, size in box)
        return View(self.buffer, self.dtype, offset, shape, strides)


@dataclass(slots=True, eq=False)
class Work:
    """One command before it has addresses: an instruction on an engine, for one lowered operator."""

    instruction: str
    engine: int
    operands: tuple[View, ...]
    params: dict[str, int | float]
    operator: Operator


@dataclass(slots=True, eq=False)
class Stage:
    """A step of an operator: what it loads, computes and stores; loads may run ahead of the stage before."""

    loads: list[Work] = field(default_factory=list)
    computes: list[Work] = field(default_factory=list)
    stores: list[Work] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loads) + len(self.computes) + len(self.stores)


def box_bytes(box: Box, dtype: str) -> int:
    n = ITEMSIZE[dtype]
    for _, size in box:
        n *= size
    return n


def whole(shape: tuple[int, ...]) -> Box:
    return tuple((0, d) for d in shape)


def pad_rank(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The shape with leading ones."""
    return (1,) * (rank - len(shape)) + tuple(shape)
