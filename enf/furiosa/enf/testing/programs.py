"""Small programs, put together by hand: the format's tests need no compiler."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import xxhash

from furiosa.enf import codec, container, dtypes, enf_pb2, reader
from furiosa.enf.isa import BY_NAME, Command, Instruction
from furiosa.enf.machine import Engine, Region, Space

ITEMSIZE = dtypes.ITEMSIZE


def sram(address: int, *shape: int, dtype: str = "int8", strides: tuple[int, ...] | None = None) -> Region:
    """A tile of SRAM, dense where no strides are given."""
    if strides is None:
        return Region.dense(Space.SRAM, dtype, address, shape)
    return Region(Space.SRAM, dtype, address, shape, strides)


def dram(address: int, *shape: int, dtype: str = "int8") -> Region:
    return Region.dense(Space.DRAM, dtype, address, shape)


def const(address: int, *shape: int, dtype: str = "int8") -> Region:
    return Region.dense(Space.CONST, dtype, address, shape)


def tensor(
    name: str, address: int, *shape: int, dtype: str = "int8", space: int = Space.DRAM
) -> enf_pb2.TensorDescriptor:
    return enf_pb2.TensorDescriptor(
        name=name, dtype=dtypes.CODE[dtype], shape=shape, space=space, address=address
    )


def default(instruction: Instruction) -> dict[str, float]:
    """Parameters in the middle of what the table allows."""
    out: dict[str, float] = {}
    for p in instruction.params:
        low, high = p.low, p.high
        if p.choices:
            out[p.name] = p.choices[0]
        elif p.name == "clamp_min":
            out[p.name] = -128
        elif p.name == "clamp_max":
            out[p.name] = 127
        elif p.code == "f":
            out[p.name] = 0.5
        else:
            out[p.name] = 1 if low == 1 or high == 30 else 0
    return out


def command(
    name: str, engine: int, *operands: Region, waits: Sequence[int] = (0, 0, 0), **params: float
) -> Command:
    row = BY_NAME[name]
    values = default(row) | params
    return Command(row, engine, tuple(waits), operands, tuple(values[n] for n in row.param_names))


class Program:
    """A program whose parts may be changed before it is put together."""

    def __init__(self) -> None:
        self.target = "warboy-2pe"
        self.commands: list[Command] = []
        self.sram: list[tuple[int, int, int, int]] = []  # address, size, first, last
        self.dram: list[tuple[int, int]] = []  # address, size
        self.inputs: list[enf_pb2.TensorDescriptor] = []
        self.outputs: list[enf_pb2.TensorDescriptor] = []
        self.steps: list[enf_pb2.Step] | None = None  # None: one step of all commands
        self.setup = 0  # so many of the first commands run once
        self.constants = b""
        self.host_models = b""
        self.debug = enf_pb2.DebugMap()
        self.metadata: dict[str, object] = {}

    def add(
        self, name: str, engine: int, *operands: Region, waits: Sequence[int] = (0, 0, 0), **params: float
    ) -> None:
        self.commands.append(command(name, engine, *operands, waits=waits, **params))

    def messages(self) -> dict[str, object]:
        """The messages of the sections; SRAM buffers without lifetimes live through the whole program."""
        working = max((a + n for a, n in self.dram), default=0)
        metadata = {
            "compiler_version": "1.2.3",
            "target_npu": self.target,
            "batch_size": 1,
            "source_format": "onnx",
            "source_sha256": bytes(range(32)),
            "sram_peak_bytes": max((row[0] + row[1] for row in self.sram), default=0),
            "dram_bytes": working + len(self.constants),
            "working_dram_bytes": working,
            "latency_us": 1.5,
            "npu_macs": 3,
            "total_macs": 4,
        }
        memory = enf_pb2.MemoryPlan(
            sram_address=[row[0] for row in self.sram],
            sram_size=[row[1] for row in self.sram],
            sram_first=[row[2] for row in self.sram],
            sram_last=[row[3] for row in self.sram],
            dram_address=[a for a, _ in self.dram],
            dram_size=[n for _, n in self.dram],
        )
        steps = self.steps
        if steps is None:
            steps = [ranged(self.setup, max(len(self.commands) - self.setup, 0))]
        setup = enf_pb2.CommandRange(count=self.setup) if self.setup else None
        return {
            "metadata": enf_pb2.Metadata(**(metadata | self.metadata)),
            "interface": enf_pb2.Interface(inputs=self.inputs, outputs=self.outputs),
            "plan": enf_pb2.Plan(steps=steps, setup=setup),
            "memory": memory,
            "debug": self.debug,
        }

    def sections(self) -> dict[str, bytes]:
        out = {name: m.SerializeToString(deterministic=True) for name, m in self.messages().items()}
        return {
            **out,
            "code": codec.encode(self.commands),
            "constants": self.constants,
            "host_models": self.host_models,
        }

    def to_bytes(self) -> bytes:
        return container.to_bytes(self.sections())

    def load(self) -> reader.Enf:
        return reader.load(self.to_bytes())


def ranged(first: int, count: int) -> enf_pb2.Step:
    return enf_pb2.Step(commands=enf_pb2.CommandRange(first=first, count=count))


def lookup() -> Program:
    """Looks int8 "x" [1, 1, 1, 64] up in a table of the constants and gives "y": two loads, a lookup, a store."""
    p = Program()
    p.constants = bytes(range(255, -1, -1))
    p.dram = [(0, 64), (64, 64)]
    p.inputs, p.outputs = [tensor("x", 0, 1, 1, 1, 64)], [tensor("y", 64, 1, 1, 1, 64)]
    p.sram = [(0, 64, 0, 2), (64, 256, 1, 2), (320, 64, 2, 3)]
    p.add("LOAD", Engine.LOAD, dram(0, 1, 1, 1, 64), sram(0, 1, 1, 1, 64))
    p.add("LOAD", Engine.LOAD, const(0, 1, 1, 1, 256, dtype="uint8"), sram(64, 1, 1, 1, 256, dtype="uint8"))
    p.add(
        "TABLE_LOOKUP",
        Engine.PE,
        sram(0, 1, 1, 1, 64),
        sram(64, 1, 256, dtype="uint8"),
        sram(320, 1, 1, 1, 64),
        waits=(2, 0, 0),
    )
    p.add("STORE", Engine.STORE, sram(320, 1, 1, 1, 64), dram(64, 1, 1, 1, 64), waits=(0, 0, 1))
    return p


def resident() -> Program:
    """The same with the table loaded by setup, so that it stays in SRAM."""
    p = lookup()
    p.commands[:2] = p.commands[1::-1]
    p.sram = [(64, 256, 0, 3), (0, 64, 1, 2), (320, 64, 2, 3)]
    p.commands[2].waits = (2, 0, 0)
    p.setup = 1
    return p


# operands of a valid command of each instruction that computes: (element type, shape)
_TYPICAL: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "COPY": (("int16", (1, 1, 2, 3, 4, 5)), ("int16", (1, 1, 2, 3, 4, 5))),
    "FILL": (("uint8", (1, 2, 3, 4)),),
    "CONV2D": (
        ("int8", (1, 5, 6, 8)),
        ("int8", (4, 3, 3, 4)),
        ("int32", (4,)),
        ("float32", (4,)),
        ("int8", (1, 3, 4, 4)),
    ),
    "DEPTHWISE_CONV2D": (
        ("int8", (1, 5, 6, 2)),
        ("int8", (3, 3, 4)),
        ("int32", (4,)),
        ("float32", (4,)),
        ("int8", (1, 3, 4, 4)),
    ),
    "MAX_POOL2D": (("int8", (1, 4, 4, 3)), ("int8", (1, 2, 2, 3))),
    "AVERAGE_POOL2D": (("int8", (1, 4, 4, 3)), ("int8", (1, 2, 2, 3))),
    "RESIZE": (
        ("int8", (1, 4, 4, 3)),
        ("int32", (2, 8)),
        ("float32", (2, 8)),
        ("int32", (2, 6)),
        ("float32", (2, 6)),
        ("int8", (1, 8, 6, 3)),
    ),
    "MATMUL": (
        ("int8", (1, 2, 3, 4)),
        ("int8", (1, 2, 4, 5)),
        ("int32", (1, 2, 3, 5)),
        ("float32", (5,)),
        ("int8", (1, 2, 3, 5)),
    ),
    "REDUCE": (("int8", (2, 4, 4, 3)), ("int8", (2, 1, 4, 1))),
    "SUM": (("int8", (3, 4, 5)), ("float32", (3,)), ("int32", (3,)), ("int8", (4, 5))),
    "ADD": (("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4))),
    "MUL": (("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4))),
    "DIV": (("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4))),
    "MAXIMUM": (("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4))),
    "MINIMUM": (("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4))),
    "TABLE_LOOKUP": (("int8", (1, 2, 3, 4)), ("uint8", (1, 256)), ("uint8", (1, 2, 3, 4))),
    "SOFTMAX": (("int8", (2, 10, 3)), ("float32", (256,)), ("int8", (2, 10, 3))),
    "L2_NORMALIZE": (("int8", (2, 10, 3)), ("int8", (2, 10, 3))),
    "LAYER_NORM": (("int8", (3, 20)), ("float32", (20,)), ("float32", (20,)), ("int8", (3, 20))),
    "VARIANCE": (("int8", (3, 20)), ("int8", (3, 1))),
    "STANDARDIZE": (("int8", (3, 20)), ("int8", (3, 1)), ("float32", (256,)), ("int8", (3, 20))),
    "QUANTIZE": (("float32", (1, 2, 3, 4)), ("int8", (1, 2, 3, 4))),
    "DEQUANTIZE": (("int8", (1, 2, 3, 4)), ("float32", (1, 2, 3, 4))),
}
_PARAMS: dict[str, dict[str, float]] = {
    "ADD": {"shift": 20},
    "CONV2D": {"groups": 2},
    "MAX_POOL2D": {"kernel_h": 2, "kernel_w": 2, "stride_h": 2, "stride_w": 2},
    "AVERAGE_POOL2D": {"kernel_h": 2, "kernel_w": 2, "stride_h": 2, "stride_w": 2},
}
COMPUTING = tuple(_TYPICAL)


def typical(name: str) -> Program:
    """A program with one command of an instruction that computes, the last one, its operands loaded from constants."""
    regions, at = [], 0
    for dtype, shape in _TYPICAL[name]:
        regions.append(sram(at, *shape, dtype=dtype))
        at += -(-math.prod(shape) * ITEMSIZE[dtype] // 64) * 64
    return around(command(name, Engine.PE, *regions, **_PARAMS.get(name, {})))


def around(last: Command) -> Program:
    """A program that loads what a command reads, each operand as one run of bytes, then runs it."""
    p = Program()
    reads = last.operands[:-1]
    total = len(reads) + 1
    for place, region in enumerate(last.operands):
        p.sram.append((region.address, region.extent, place, total - 1))
    p.constants = bytes(max((r.extent for r in reads), default=0))
    for r in reads:
        p.add("LOAD", Engine.LOAD, const(0, 1, 1, 1, r.extent), sram(r.address, 1, 1, 1, r.extent))
    p.commands.append(Command(last.instruction, last.engine, (len(reads), 0, 0), last.operands, last.params))
    return p


def table(data: bytes) -> list[list[object]]:
    """The rows of a file's section table, to be changed and given to ``seal``."""
    count = container.HEADER.unpack_from(data)[5]
    return [
        list(container.ENTRY.unpack_from(data, container.HEADER.size + i * container.ENTRY.size))
        for i in range(count)
    ]


def seal(data: bytes | bytearray, rows: list[list[object]] | None = None, **header: int) -> bytes:
    """The file with the checksums of its sections and its header made right, and a changed section table or header."""
    out = bytearray(data)
    names = [f.name for f in container.HEADER_FIELDS]
    fields = dict(zip(names, container.HEADER.unpack_from(out))) | {"checksum": 0} | header
    rows = table(out) if rows is None else rows
    entries = []
    for name, flags, reserved, offset, size, _ in rows:
        digest = xxhash.xxh3_128_digest(bytes(out[offset : offset + size]))
        entries.append(container.ENTRY.pack(name, flags, reserved, offset, size, digest))
    out[container.HEADER.size : container.HEADER.size + container.ENTRY.size * len(rows)] = b"".join(entries)
    struct.pack_into(container.HEADER.format, out, 0, *fields.values())
    end = min(fields["header_size"], len(out))
    struct.pack_into("<Q", out, container.HEADER.size - 8, xxhash.xxh3_64_intdigest(bytes(out[:end])))
    return bytes(out)
