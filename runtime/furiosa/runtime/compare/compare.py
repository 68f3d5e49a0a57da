"""Runs a program and its source model on the same inputs and tallies every tensor that both of them make."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from furiosa.enf import reader, selection
from furiosa.enf.target import DEFAULT_TARGET
from furiosa.runtime import source as sources
from furiosa.runtime.compare import inputs as input_files
from furiosa.runtime.compare.difference import Tally
from furiosa.runtime.compare.observe import ObservedProgram
from furiosa.runtime.compare.reference import Key, Reference, join, open_reference, run_batched
from furiosa.runtime.compile_door import Anatomy, dissect
from furiosa.runtime.errors import CompilationFailed, IncompatibleModel, InvalidInput
from furiosa.runtime.tensor import TensorDesc

if TYPE_CHECKING:
    from furiosa.compiler.report.places import Layer

# Sections that say where a program puts its tensors; constants and host models may differ and the places are the same.
_PLACING = ("interface", "plan", "code", "memory")
_COMPARED = (*_PLACING, "host_models", "constants")
UNFAITHFUL = "to look at it would change what the reference runtime computes, or it is not in the model file"
OTHER_SHAPE = (
    "its samples do not lie along dimension 0, and the reference runs the samples of a batch one by one"
)


@dataclass(slots=True, eq=False)
class Row:
    """One tensor; ``tally`` is None where it was not compared, and then ``reason`` says why."""

    operator: str
    op_type: str
    computes: tuple[str, ...]
    placed_on: str
    tensor: str
    dtype: str
    shape: tuple[int, ...]
    tally: Tally | None
    reason: str = ""


@dataclass(slots=True)
class Comparison:
    """What came out: ``layers`` in the order of the source's operators, then the model's ``outputs``.

    ``changed`` are the sections in which the ENF differs from what this compiler makes of the source; None where there
    was nothing to compare with, for it was compiled here or cannot be.
    """

    model: str
    source: str
    source_format: str
    source_sha256: str
    reference: str
    target_npu: str
    batch_size: int
    compiler_version: str
    max_lsb: int
    seed: int | None
    changed: list[str] | None
    inputs: list[str] = field(default_factory=list)
    layers: list[Row] = field(default_factory=list)
    outputs: list[Row] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        return self.layers + self.outputs

    def first_over(self, lsb: int) -> Row | None:
        """The first tensor with an element that is more than ``lsb`` LSB off."""
        return next((r for r in self.rows if r.tally is not None and r.tally.largest > lsb), None)

    @property
    def first_difference(self) -> Row | None:
        return next((r for r in self.rows if r.tally is not None and r.tally.differing), None)

    @property
    def is_within(self) -> bool:
        return self.first_over(self.max_lsb) is None


def compare(
    model: str,
    source: str | None = None,
    inputs: Sequence[str] = (),
    *,
    target_npu: str | None = None,
    batch_size: int | None = None,
    compatibility: str | None = None,
    chosen: Mapping[str, object] = MappingProxyType({}),
    max_lsb: int = 0,
    seed: int = 0,
) -> Comparison:
    """Compares a program with its source model.

    Args:
        model: an ONNX or TFLite file, which is compiled first, or an ENF (also ``BUNDLE.tar#NAME``).
        source: the model file that the ENF was compiled from; None where ``model`` is that file.
        inputs: .npy and .npz files and folders of them, one inference a file; none: random ones of ``seed``.
        target_npu, batch_size, compatibility: what to compile for; an ENF says so itself.
        chosen: what of the model, under the keys of furiosa.runtime.compile_door.SELECTION; an ENF says so itself.
        max_lsb: how far an element of any compared tensor may be off.

    Raises:
        CompilationFailed: the model cannot be compiled or the source not be read as a model.
        IncompatibleModel, BundleError: the ENF or the bundle cannot be used.
        InvalidInput: the ENF is of another source, arguments that do not go together, or inputs that do not fit.
        ModelDeployFailed, ModelExecutionFailed: a reference runtime failed.
        OSError: a file cannot be read.
    """
    files = input_files.input_files(inputs)
    original, enf, anatomy, changed = _open(model, source, target_npu, batch_size, compatibility, chosen)
    descs = [TensorDesc.from_descriptor(d) for d in enf.interface.inputs]
    keys = {x.key: x.dtype for x in anatomy.layers if x.place is not None and _is_numpy(x.dtype)}
    data = original.read()
    # where build systems hand out links, onnxruntime takes external data only from where the model really lies
    reference = open_reference(
        anatomy.source_format, anatomy.source, original.name, _real_folder(original), keys
    )
    result = Comparison(
        model=os.path.basename(model),
        source=os.path.basename(original.name),
        source_format=anatomy.source_format,
        source_sha256=hashlib.sha256(data).hexdigest(),
        reference=reference.version,
        target_npu=enf.metadata.target_npu,
        batch_size=enf.metadata.batch_size,
        compiler_version=enf.metadata.compiler_version,
        max_lsb=max_lsb,
        seed=None if files else seed,
        changed=changed,
    )
    if files:
        result.inputs = [os.path.basename(f) for f in files]
        arrays: Iterable[list[np.ndarray]] = (input_files.read_inputs(f, descs) for f in files)
    else:
        result.inputs = [f"random {i}" for i in range(input_files.RANDOM)]
        arrays = input_files.random_inputs(descs, anatomy.ranges, seed)
    _run(result, enf, anatomy, reference, arrays)
    return result


def _open(
    model: str,
    source: str | None,
    target_npu: str | None,
    batch_size: int | None,
    compatibility: str | None,
    chosen: Mapping[str, object],
) -> tuple[sources.Source, reader.Enf, Anatomy, list[str] | None]:
    """The source model, the program, what the compiler knows of both, and which sections it would make otherwise."""
    given = sources.read(model)
    if not given.is_enf:
        given = given.in_memory()
        if source is not None:
            raise InvalidInput(f"--source goes with an ENF, and {model} is none: it is its own source")
        anatomy = _dissect(given, target_npu or DEFAULT_TARGET, batch_size or 1, compatibility, None, chosen)
        return given, reader.load(anatomy.enf), anatomy, None
    if source is None:
        raise InvalidInput(f"{model} is an ENF: name the model that it was compiled from by --source")
    original = sources.read(source).in_memory()
    if original.is_enf:
        raise InvalidInput(f"--source {source} is an ENF: name the model that {model} was compiled from")
    enf = given.load()
    m = enf.metadata
    for option, wanted, found in (
        ("--target-npu", target_npu, m.target_npu),
        ("--batch-size", batch_size, m.batch_size),
        ("--compatibility", compatibility, m.compatibility),
    ):
        if wanted is not None and wanted != found:
            raise InvalidInput(f"{option} {wanted}: {model} is compiled for {found}")
    if any(chosen.values()):
        raise InvalidInput(
            f"what of {source} {model} is compiled from, and with which shapes, it says itself"
        )
    if m.source_sha256 and m.source_sha256 != hashlib.sha256(original.data).digest():
        raise InvalidInput(
            f"{model} was not compiled from {source}: it names a source with the SHA-256 {m.source_sha256.hex()}"
        )
    built_for = (
        m.target_npu,
        m.batch_size,
        m.compatibility or None,
        m.optimize,
        selection.recorded(m.selection),
    )
    try:
        anatomy = _dissect(original, *built_for)
    except CompilationFailed:  # another compiler did what this one cannot
        return original, enf, _dissect(original, *built_for, compiled=False), None
    own = reader.load(anatomy.enf)
    changed = [name for name in _COMPARED if own.section(name) != enf.section(name)]
    if any(name in _PLACING for name in changed):
        anatomy = _dissect(original, *built_for, compiled=False)
    return original, enf, anatomy, changed


def _dissect(
    source: sources.Source,
    target_npu: str,
    batch_size: int,
    compatibility: str | None,
    optimize: int | None,
    chosen: Mapping[str, object],
    *,
    compiled: bool = True,
) -> Anatomy:
    data, folders = source.read(), (source.folder, _real_folder(source))
    built_for = target_npu, batch_size, compatibility, optimize, chosen
    return dissect(data, source.name, *folders, *built_for, compiled=compiled)


def _real_folder(source: sources.Source) -> str | None:
    return os.path.dirname(os.path.realpath(source.name)) if source.folder is not None else None


def _run(
    result: Comparison,
    enf: reader.Enf,
    anatomy: Anatomy,
    reference: Reference,
    arrays: Iterable[list[np.ndarray]],
) -> None:
    layers = anatomy.layers
    result.layers = [_row(x) for x in layers]
    names = [d.name for d in enf.interface.inputs]
    outputs = [TensorDesc.from_descriptor(d) for d in enf.interface.outputs]
    result.outputs = [
        Row("", "output", (), "", d.name, str(d.numpy_dtype), d.shape, Tally()) for d in outputs
    ]
    if len(anatomy.units) != len(outputs):
        raise IncompatibleModel(
            f"{result.model} has {len(outputs)} outputs and its source {len(anatomy.units)}"
        )
    program = ObservedProgram(enf, [x.place for x in layers])
    for number, values in enumerate(arrays):
        expected, kept = run_batched(reference, values, names, enf.metadata.batch_size)
        by_name = {x.tensor: e for d, e in zip(outputs, expected) for x in layers if x.tensor == d.name}
        program.visit = _Visitor(result.layers, layers, kept, by_name, number)
        got = program.run(values)
        for row, a, b, unit in zip(result.outputs, got, expected, anatomy.units, strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise IncompatibleModel(
                    f"output '{row.tensor}' is {a.shape} ({a.dtype}), of {result.reference} {b.shape} ({b.dtype})"
                )
            row.tally.add(a, b, unit, number)


class _Visitor:
    """Compares each observed tensor of one inference with the reference's."""

    def __init__(
        self,
        rows: list[Row],
        layers: list[Layer],
        kept: dict[Key, list[np.ndarray]],
        outputs: dict[str, np.ndarray],
        number: int,
    ):
        self._rows, self._layers, self._kept, self._outputs, self._number = (
            rows,
            layers,
            kept,
            outputs,
            number,
        )

    def __call__(self, i: int, array: np.ndarray) -> None:
        row, layer = self._rows[i], self._layers[i]
        if layer.key in self._kept:
            theirs = join(self._kept[layer.key], array.shape)
        else:
            theirs = self._outputs.get(layer.tensor)
            if theirs is None:
                row.tally, row.reason = None, row.reason or UNFAITHFUL
        if row.tally is None:
            return
        if theirs is None or theirs.shape != array.shape or theirs.dtype != array.dtype:
            row.tally, row.reason = None, OTHER_SHAPE
        else:
            row.tally.add(array, theirs, layer.unit, self._number)


def _row(layer: Layer) -> Row:
    tally = Tally() if layer.place is not None else None
    return Row(
        layer.operator,
        layer.op_type,
        layer.computes,
        layer.placed_on,
        layer.tensor,
        layer.dtype,
        tuple(layer.shape),
        tally,
        layer.reason,
    )


def _is_numpy(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "biuf"
    except TypeError:
        return False
