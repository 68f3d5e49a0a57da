"""Runs a program and its source model on the same inputs and tallies every tensor that both of them make."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from furiosa.enf import progress, reader, selection
from furiosa.enf.target import DEFAULT_TARGET
from furiosa.runtime import source as sources
from furiosa.runtime.compare.difference import Tally
from furiosa.runtime.compare.end_to_end import WholeModel
from furiosa.runtime.compare.inputs import RANDOM, random_inputs
from furiosa.runtime.compare.isolated import References
from furiosa.runtime.compare.judge import Judge
from furiosa.runtime.compare.observe import ObservedProgram
from furiosa.runtime.compare.reference import version
from furiosa.runtime.compare.result import Comparison, EndToEnd, Row
from furiosa.runtime.compile_door import Anatomy, dissect
from furiosa.runtime.errors import (
    CompilationFailed,
    HostOutputMismatch,
    IncompatibleModel,
    InvalidInput,
    ModelExecutionFailed,
)
from furiosa.runtime.samples import Preprocessing, open_samples
from furiosa.runtime.tensor import TensorDesc

if TYPE_CHECKING:
    from furiosa.compiler.report.places import Layer

# Sections that say where a program puts its tensors; constants and host models may differ and the places are the same.
_PLACING = ("interface", "plan", "code", "memory")
_COMPARED = (*_PLACING, "host_models", "constants")


def compare(
    model: str,
    source: str | None = None,
    inputs: Sequence[str] = (),
    *,
    preprocessing: Preprocessing | None = None,
    data_files: Sequence[str] = (),
    is_hermetic: bool = False,
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
        inputs: samples as ``furiosa.runtime.samples.open_samples`` takes them, one inference each; none: random ones of ``seed``.
        preprocessing: what becomes of samples that are images.
        data_files: files of the model's external data that are not in its folder, as ``furiosa compile --data`` takes them.
        is_hermetic: whether no others may be read.
        target_npu, batch_size, compatibility: what to compile for; an ENF says so itself.
        chosen: what of the model, under the keys of furiosa.runtime.compile_door.SELECTION; an ENF says so itself.
        max_lsb: how far an element of any compared tensor may be off.

    Raises:
        CompilationFailed: the model cannot be compiled or the source not be read as a model.
        IncompatibleModel, BundleError: the ENF or the bundle cannot be used.
        InvalidInput: the ENF is of another source, arguments that do not go together, or inputs that do not fit.
        ModelDeployFailed, ModelExecutionFailed: a host part of the program failed.
        HostRuntimeMissing: the reference runtime is not installed.
        OSError: a file cannot be read.
    """
    allowed = _Allowed(tuple(data_files), is_hermetic)
    original, enf, anatomy, changed = _open(
        model, source, allowed, target_npu, batch_size, compatibility, chosen
    )
    descs = [TensorDesc.from_descriptor(d) for d in enf.interface.inputs]
    data = original.read()
    result = Comparison(
        model=os.path.basename(model),
        source=os.path.basename(original.name),
        source_format=anatomy.source_format,
        source_sha256=hashlib.sha256(data).hexdigest(),
        reference=version(anatomy.source_format),
        target_npu=enf.metadata.target_npu,
        batch_size=enf.metadata.batch_size,
        compiler_version=enf.metadata.compiler_version,
        max_lsb=max_lsb,
        seed=None if inputs else seed,
        changed=changed,
    )
    if inputs:
        samples = open_samples(inputs, descs, preprocessing=preprocessing)
        result.inputs = [os.path.basename(name) for name in samples.names()]
        arrays: Iterable[list[np.ndarray]] = (sample.arrays for sample in samples)
    else:
        result.inputs = [f"random {i}" for i in range(RANDOM)]
        arrays = random_inputs(descs, anatomy.ranges, seed)
    with References(anatomy.source_format) as references:
        try:
            _run(result, enf, anatomy, arrays, references)
        except HostOutputMismatch:
            raise
        except ModelExecutionFailed as e:
            if inputs:
                raise
            raise ModelExecutionFailed(
                f"{e.message}; the inputs are random ones: name those that the model takes by --inputs"
            ) from None
    return result


class _Allowed(NamedTuple):
    """What may be read beside the model: further files, and whether no others."""

    data_files: Sequence[str]
    is_hermetic: bool


def _open(
    model: str,
    source: str | None,
    allowed: _Allowed,
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
        built_for = target_npu or DEFAULT_TARGET, batch_size or 1, compatibility, None, chosen
        anatomy = _dissect(given, allowed, *built_for)
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
        anatomy = _dissect(original, allowed, *built_for)
    except CompilationFailed:  # another compiler did what this one cannot
        return original, enf, _dissect(original, allowed, *built_for, compiled=False), None
    own = reader.load(anatomy.enf)
    changed = [name for name in _COMPARED if own.section(name) != enf.section(name)]
    if any(name in _PLACING for name in changed):
        anatomy = _dissect(original, allowed, *built_for, compiled=False)
    return original, enf, anatomy, changed


def _dissect(
    source: sources.Source,
    allowed: _Allowed,
    target_npu: str,
    batch_size: int,
    compatibility: str | None,
    optimize: int | None,
    chosen: Mapping[str, object],
    *,
    compiled: bool = True,
) -> Anatomy:
    built_for = target_npu, batch_size, compatibility, optimize, chosen
    return dissect(source.read(), source.name, source.path, *allowed, *built_for, compiled=compiled)


def _run(
    result: Comparison,
    enf: reader.Enf,
    anatomy: Anatomy,
    arrays: Iterable[list[np.ndarray]],
    references: References,
) -> None:
    layers, units, batch_size = anatomy.layers, anatomy.units, enf.metadata.batch_size
    outputs = [TensorDesc.from_descriptor(d) for d in enf.interface.outputs]
    if len(units) != len(outputs):
        raise IncompatibleModel(f"{result.model} has {len(outputs)} outputs and its source {len(units)}")
    result.layers = [_row(x) for x in layers]
    result.outputs = [_output(d) for d in outputs]
    names = [d.name for d in enf.interface.inputs]
    whole = WholeModel(
        references,
        anatomy.source,
        anatomy.external,
        anatomy.signature,
        lambda: anatomy.single.whole().model,
        names,
        batch_size,
        [o.whole for o in result.outputs],
        units,
    )
    progress.now("loading the layers into the reference runtime")
    judge = Judge(references, anatomy.single, layers, result.layers, result.outputs, units, batch_size)
    with closing(ObservedProgram(enf, judge.places)) as program:
        program.visit = judge.visit
        for number, values in enumerate(arrays):
            progress.now(f"inference {number + 1} of {len(result.inputs)}")
            judge.begin(number, dict(zip(names, values, strict=True)))
            got = program.run(values)
            judge.end(got)
            progress.detail("the whole model")
            whole.add(number, values, got)


def _row(layer: Layer) -> Row:
    tally = Tally() if layer.place is not None else None
    what = layer.operator, layer.op_type, layer.computes, layer.placed_on
    return Row(*what, layer.tensor, layer.dtype, tuple(layer.shape), tally, layer.reason)


def _output(desc: TensorDesc) -> Row:
    return Row("", "output", (), "", desc.name, str(desc.numpy_dtype), desc.shape, Tally(), whole=EndToEnd())
