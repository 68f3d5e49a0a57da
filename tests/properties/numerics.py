"""How many elements differ between the NPU and the reference runtimes, operator by operator: what docs/numerics.md says.

For each case of operator_cases.py, models of three sizes with drawn scales and zero points are compiled, run on the simulator, and compared with
the reference runtime as it is and with all its optimisation off.  Everything follows from fixed seeds.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter

from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.enf.isa import Command
from furiosa.enf.machine import Engine, Rounding
from furiosa.runtime import session
from furiosa.runtime.compare.difference import Tally, differing
from furiosa.runtime.compare.exact import Exact, Real
from furiosa.runtime.compare.reference import Refused, open_reference
from tests.properties.operator_cases import LEAST, Onnx, Size, Tflite, onnx_cases, tflite_cases
from tests.reference.onnx_op import Operand, run_all

SIZES = (Size(), Size(8, 14, 10), Size(16, 20, 12))
MODELS, RUNS = 24, 4  # of each kind of scales; inferences of each model
ATTEMPTS = 3 * MODELS
KINDS = ("arbitrary", "coarse")  # scales: any float32; powers of two
_MOVES = ("LOAD", "STORE", "COPY")
_AROUND = ("DequantizeLinear", "QuantizeLinear", "Transpose", "Identity")


@dataclass
class Counts:
    """Elements of all models with one kind of scales: beside the reference, beside it unoptimised, and unlike both.

    ``unoptimised`` is None where the runtime has no kernel for that.  ``nearest``: of those unlike both, the ones that the real number rounds to;
    None where nobody computes real numbers.
    """

    default: Tally = field(default_factory=Tally)
    unoptimised: Tally | None = field(default_factory=Tally)
    unlike: int = 0
    nearest: int | None = 0

    def explained(self) -> str:
        """What the page says of those unlike both."""
        right = f", {self.nearest:,} nearest" if self.unlike and self.nearest is not None else ""
        return f"{self.unlike:,}{right}"


def _cell(tally: Tally | None) -> str:
    if tally is None:
        return "no kernel"
    largest = f", {tally.largest} LSB" if tally.differing else ""
    return f"{tally.differing:,} of {tally.elements:,}{largest}"


class Row(NamedTuple):
    """One line of the page: what runs on the NPU and in the reference, and the counts in the order of ``KINDS``."""

    operator: str
    instructions: Sequence[str]
    kernels: Sequence[str]
    counts: Sequence[Counts]

    def line(self) -> str:
        """In Markdown, with a cell for each column of ``COLUMNS``."""
        tallies = [c.default for c in self.counts] + [c.unoptimised for c in self.counts]
        cells = [*map(_cell, tallies), *(c.explained() for c in self.counts)]
        return f"| `{self.operator}` | {'; '.join(self.instructions)} | {'; '.join(self.kernels)} | {' | '.join(cells)} |"


COLUMNS = (
    "operator",
    "on the NPU",
    "in the reference",
    *(f"reference, {kind}" for kind in KINDS),
    *(f"unoptimised, {kind}" for kind in KINDS),
    *(f"unlike both, {kind}" for kind in KINDS),
)


def cases(source_format: str, size: Size = SIZES[0]) -> dict[str, Onnx] | dict[str, Tflite]:
    """The cases of "onnx" or "tflite"."""
    return onnx_cases(size) if source_format == "onnx" else tflite_cases(size)


def measure(source_format: str, name: str) -> Row:
    """The row of a case.

    Raises:
        RuntimeError: too few of the drawn models run on the NPU as a whole.
    """
    found: list[Counts] = []
    instructions: dict[str, None] = {}
    kernels: dict[str, None] = {}
    for kind in KINDS:
        counts, done = Counts(), 0
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([zlib.crc32(name.encode()), attempt, kind == "coarse"])
            shared = None if kind == "arbitrary" else rng.uniform(0.5, 1.0) if attempt % 2 else 1.0
            case = draw(cases(source_format, SIZES[attempt % len(SIZES)])[name], rng, shared)
            compilation = Compilation(case.model(), Options()).run()
            if any(v.placed_on != "npu" for v in compilation.ldfg.verdicts.values()):
                continue
            _compare(counts, case, container.to_bytes(compilation.enf), source_format)
            if getattr(case, "dtype", "int8") == "int8":  # another type takes further commands at the ends
                instructions |= dict.fromkeys(_names(compilation.lir.commands))
            kernels |= dict.fromkeys([_kernels(case, source_format)])
            done += 1
            if done == MODELS:
                break
        else:
            raise RuntimeError(f"{name}: of {ATTEMPTS} models with {kind} scales only {done} run on the NPU")
        found.append(counts)
    return Row(name, sorted(instructions), sorted(kernels), found)


# -- drawing ----------------------------------------------------------------------------------------------------------------


def draw(case: Onnx | Tflite, rng: np.random.Generator, shared: float | None) -> Onnx | Tflite:
    """The case with other scales and zero points.

    Scales are arbitrary, or powers of two; those of activations and outputs times a number that they share, so that their ratios are
    powers of two, and many results lie in the middle between two integers.
    """
    return _draw_onnx(case, rng, shared) if isinstance(case, Onnx) else _draw_tflite(case, rng, shared)


def _scale(about: float | np.ndarray, rng: np.random.Generator, shared: float | None) -> np.ndarray:
    """Scales around others: up to twice or half of them, or powers of two times ``shared``."""
    drawn = np.asarray(about) * np.exp2(rng.uniform(-1, 1, np.shape(about)))
    return (drawn if shared is None else np.exp2(np.rint(np.log2(drawn))) * shared).astype(np.float32)


def _zero(about: int, rng: np.random.Generator, dtype: str) -> int:
    """The least value stays that; in one of four draws any, else one near the middle."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if about == LEAST:
        return int(low)
    if rng.integers(4) == 0:
        return int(rng.integers(low, high, endpoint=True))
    return int((low + high + 1) // 2 + rng.integers(-40, 41))


def _draw_onnx(case: Onnx, rng: np.random.Generator, shared: float | None) -> Onnx:
    dtype = str(rng.choice(("int8", "uint8")))
    operands: list[Operand] = []
    first = None
    for operand in case.inputs:
        o = Operand(**vars(operand))
        if o.scale is not None and o.dtype == "int32":  # a bias: steps of what is summed
            o.scale = np.float32(operands[0].scale) * operands[1].scale
        elif o.scale is not None and o.data is not None:
            o.scale = _scale(o.scale, rng, None if shared is None else 1.0)
        elif o.scale is not None:
            o.dtype = dtype
            o.scale, o.zero_point = float(_scale(o.scale, rng, shared)), _zero(o.zero_point, rng, dtype)
            if case.is_moved and first is not None:
                o.scale, o.zero_point = first.scale, first.zero_point
            first = first or o
        operands.append(o)
    if case.is_moved and first is not None:
        return case._replace(inputs=operands, scale=first.scale, zero=first.zero_point, dtype=dtype)
    if case.scale is None:
        return case._replace(inputs=operands, dtype=dtype)
    scale, zero = float(_scale(case.scale, rng, shared)), _zero(case.zero, rng, dtype)
    return case._replace(inputs=operands, scale=scale, zero=zero, dtype=dtype)


def _draw_tflite(case: Tflite, rng: np.random.Generator, shared: float | None) -> Tflite:
    scales = tuple(float(_scale(s, rng, shared)) for s in case.scales)
    zeros = tuple(_zero(z, rng, "int8") for z in case.zeros)
    weights = float(_scale(case.weight_scale, rng, None if shared is None else 1.0))
    if case.is_moved:
        scales, zeros = scales[:1] * 2, zeros[:1] * 2
        return case._replace(scales=scales, zeros=zeros, scale=scales[0], zero=zeros[0], weight_scale=weights)
    drawn = case._replace(scales=scales, zeros=zeros, weight_scale=weights)
    if case.is_fixed or case.scale is None:
        return drawn
    return drawn._replace(scale=float(_scale(case.scale, rng, shared)), zero=_zero(case.zero, rng, "int8"))


# -- comparing --------------------------------------------------------------------------------------------------------------


def _compare(counts: Counts, case: Onnx | Tflite, enf: bytes, source_format: str) -> None:
    """Counts some inferences of one model; the references are those of ``furiosa compare``."""
    model = case.model()
    default = open_reference(source_format, model)
    try:
        plain = open_reference(source_format, model, optimised=False)
    except Refused:
        plain, counts.unoptimised = None, None
    with session.create(enf) as sess:
        for number in range(RUNS):
            feeds = case.feeds(1000 * number)
            ours = [t.numpy() for t in sess.run(feeds)]
            others = default.run(feeds), plain.run(feeds) if plain is not None else None
            _count(counts, model, feeds, ours, *others)


def _count(
    counts: Counts,
    model: bytes,
    feeds: list[np.ndarray],
    ours: list[np.ndarray],
    default: list[np.ndarray],
    plain: list[np.ndarray] | None,
) -> None:
    for place, (a, b) in enumerate(zip(ours, default, strict=True)):
        counts.default.add(a, b, None, 0)
        unlike = differing(a, b)
        if plain is not None:
            counts.unoptimised.add(a, plain[place], None, 0)
            unlike = np.intersect1d(unlike, differing(a, plain[place]))
        counts.unlike += unlike.size
        if unlike.size and counts.nearest is not None:
            real = _real(model, feeds, place)
            counts.nearest = (
                None if real is None else counts.nearest + int(real.nearest(a, b).flat[unlike].sum())
            )


def _real(model: bytes, feeds: list[np.ndarray], place: int) -> Real | None:
    """The real numbers of an output of an ONNX model; None where nobody computes them."""
    if model[4:8] == b"TFL3":
        return None
    proto = onnx.ModelProto.FromString(model)
    del proto.graph.output[place + 1 :], proto.graph.output[:place]
    try:
        exact = Exact(proto.SerializeToString())
        return Real(*exact.run(feeds), exact.scale)
    except NotImplementedError:
        return None


def _names(commands: Iterable[Command]) -> list[str]:
    """The instructions that compute, and whose arithmetic they follow; those that move where nothing computes."""
    found: dict[str, None] = {}
    for c in commands:
        if c.engine == Engine.PE or c.instruction.name in _MOVES:
            arguments = c.arguments
            whose = f" {Rounding.NAMES[arguments['rounding']]}" if "rounding" in arguments else ""
            found[f"[{c.instruction.name}](enf.md#{c.instruction.name.lower()}){whose}"] = None
    computing = [n for n in found if not n.startswith(tuple(f"[{m}]" for m in _MOVES))]
    return computing or [n for n in found if n.startswith("[COPY]")] or ["moved by DMA"]


def _kernels(case: Onnx | Tflite, source_format: str) -> str:
    """What computes the operator in the reference runtime as it is."""
    model = case.model()
    if source_format == "tflite":
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        kinds = [op["op_name"] for op in interpreter._get_ops_details()]
        return "XNNPACK" if "DELEGATE" in kinds else "builtin kernel"
    kinds = run_all(model, *case.feeds(0))[1]
    inner = [k for k in dict.fromkeys(kinds) if k not in _AROUND] or list(dict.fromkeys(kinds))
    return f"{'float32' if 'DequantizeLinear' in kinds else '8-bit'} {', '.join(inner)}"


# -- the page ---------------------------------------------------------------------------------------------------------------


def lines(page: str, source_format: str) -> dict[str, str]:
    """The lines of a table of the page by the names of their cases."""
    found = re.search(rf"<!-- {source_format} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    table = [line for line in found[1].splitlines() if line.startswith("| `")] if found else []
    return {line.split("`")[1]: line for line in table}


def tally_of(cell: str) -> tuple[int, int, int]:
    """Of a cell of the page: elements that differ, all elements, the largest difference in LSB."""
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\b", cell)]
    differ, elements = numbers[:2]
    return differ, elements, numbers[2] if len(numbers) > 2 else 0
