"""What the machine is made of: its memories, its engines, and tiles of memory."""

from __future__ import annotations

from furiosa.enf import dtypes


class Space:
    """The memories an operand may lie in."""

    SRAM, DRAM, CONST = range(3)
    NAMES = ("sram", "dram", "const")
    DOCS = (
        "on chip, shared by the processing elements of the target",
        "working memory on the card: inputs, outputs, what crosses between clusters, tensors that do not fit SRAM",
        "the section `constants`, on the card and read only",
    )


class Engine:
    """The engines; each runs its commands in order, and the engines run side by side."""

    LOAD, STORE, PE = range(3)
    COUNT = 3
    NAMES = ("load", "store", "pe")
    DOCS = (
        "DMA from DRAM and constants to SRAM",
        "DMA from SRAM to DRAM",
        "the processing element; where two are fused, both work on one command, each with its slices",
    )


class Rounding:
    """Which reference runtime's arithmetic a command follows, where they differ."""

    XNNPACK, ONNXRUNTIME, TFLITE, TFLITE_UINT8, QDQ = range(5)
    NAMES = ("xnnpack", "onnxruntime", "tflite", "tflite_uint8", "qdq")
    DOCS = (
        "LiteRT's default kernels",
        "onnxruntime's integer operators",
        "LiteRT's builtin kernels, where XNNPACK has none",
        "the same for a tensor that is uint8 in the model and int8 here",
        "the float32 operators of ONNX one by one: dequantize, compute, quantize",
    )


class Reduction:
    """What a reduction makes of its values."""

    SUM, L2, MAX, MIN = range(4)
    NAMES = ("sum", "l2", "max", "min")
    DOCS = ("of d", "square root of the sum of d * d", "of d", "of d")


class Region:
    """A tile of memory: ``shape`` elements of ``dtype`` from byte ``address`` on, ``strides`` in bytes (>= 0)."""

    __slots__ = ("address", "dtype", "shape", "space", "strides")

    def __init__(
        self, space: int, dtype: str, address: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ):
        self.space = space
        self.dtype = dtype
        self.address = address
        self.shape = shape
        self.strides = strides

    @classmethod
    def dense(cls, space: int, dtype: str, address: int, shape: tuple[int, ...]) -> Region:
        return cls(space, dtype, address, shape, dense_strides(shape, dtypes.ITEMSIZE[dtype]))

    @property
    def extent(self) -> int:
        """Bytes from the first to the last byte touched."""
        n = dtypes.ITEMSIZE[self.dtype]
        for d, s in zip(self.shape, self.strides):
            n += (d - 1) * s
        return n

    @property
    def nbytes(self) -> int:
        """Bytes of the elements, holes between them not counted."""
        n = dtypes.ITEMSIZE[self.dtype]
        for d in self.shape:
            n *= d
        return n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Region) and all(
            getattr(self, s) == getattr(other, s) for s in self.__slots__
        )

    def __repr__(self) -> str:
        """For example ``sram[0x40]:int8[1x8x8x16]``, followed by the strides where they are not dense."""
        space = Space.NAMES[self.space] if self.space < len(Space.NAMES) else f"space{self.space}"
        text = f"{space}[0x{self.address:x}]:{self.dtype}[{'x'.join(map(str, self.shape))}]"
        dense = dense_strides(self.shape, dtypes.ITEMSIZE[self.dtype])
        if any(d > 1 and s != t for d, s, t in zip(self.shape, self.strides, dense)):
            text += "/" + ",".join(map(str, self.strides))
        return text


def dense_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Byte strides of a dense row-major array."""
    out = []
    for d in reversed(shape):
        out.append(itemsize)
        itemsize *= d
    return tuple(reversed(out))
