"""``furiosa calibrate`` and ``furiosa quantize``."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from furiosa.compiler.cli import outcome, output
from furiosa.compiler.errors import InvalidConfig, IoError
from furiosa.compiler.selection import listed
from furiosa.enf import outputs, progress
from furiosa.enf.command import say
from furiosa.quantizer.cli import arguments

if TYPE_CHECKING:
    from furiosa.compiler.dfg.graph import Graph
    from furiosa.quantizer.calibrate.ranges import Calibration
    from furiosa.quantizer.int8 import Quantized
    from furiosa.quantizer.place.plan import Plan

_SHOWN = 10  # operators that stay in float


def calibrate_main(argv: list[str]) -> int:
    """Runs ``furiosa calibrate ARGV…``.

    Returns:
        0; 255 for arguments that cannot be used; else a native code, see furiosa.compiler.errors.
    """
    return outcome.run("furiosa calibrate", arguments.parse_calibrate, _calibrate, argv)


def quantize_main(argv: list[str]) -> int:
    """Runs ``furiosa quantize ARGV…``.

    Returns:
        0; 255 for arguments that cannot be used; else a native code, see furiosa.compiler.errors.
    """
    return outcome.run("furiosa quantize", arguments.parse_quantize, _quantize, argv)


def _calibrate(options: Namespace) -> None:
    output.check_writable([options.output])
    from furiosa.quantizer.calibrate.ranges import to_json
    from furiosa.quantizer.graph.load import load

    parts = [_read_calibration(path) for path in options.merge]
    with progress.Activity(options.source):
        progress.now("reading the model")
        chosen = options.selection or (parts[0].selection if parts else options.selection)
        graph = load(options.files.model(), selection=chosen, files=options.files)
        found = _of_samples(graph, options.samples, options) if options.samples else parts.pop(0)
        for part in parts:
            found.merge(part)
    _remark(found, options)
    _write(options.output, to_json(found))


def _quantize(options: Namespace) -> None:
    output.check_writable([options.output])
    data = options.files.model()
    is_calibrated = options.random or options.calibration is not None
    with progress.Activity(options.source):
        progress.now("reading the model")
        result = _calibrated(data, options) if is_calibrated else _as_stated(data, options)
    _tell_plan(result.plan, options)
    _write(options.output, result.model)


def _calibrated(data: bytes, options: Namespace) -> Quantized:
    from furiosa.quantizer.graph.load import load
    from furiosa.quantizer.int8 import quantize

    given = options.calibration
    found = _read_calibration(given) if given is not None and given.endswith(".json") else None
    chosen = options.selection or (found.selection if found else options.selection)
    graph = load(data, selection=chosen, files=options.files)
    if found is None:
        found = _of_random(graph) if options.random else _of_samples(graph, [given], options)
    progress.now("quantising")
    return quantize(
        graph,
        found,
        method=options.method,
        percentage=options.percentage,
        exclude=options.exclude,
        types=options.types,
        tell=progress.detail,
    )


def _as_stated(data: bytes, options: Namespace) -> Quantized:
    """By the ranges that the model itself holds."""
    from furiosa.quantizer.graph.load import load
    from furiosa.quantizer.int8 import Quantized
    from furiosa.quantizer.place.decide import plan
    from furiosa.quantizer.place.write import write
    from furiosa.quantizer.stated import stated

    by = stated(data)
    if by is None:
        raise InvalidConfig(
            "the model holds no ranges: name a calibration or samples by --calibration FILE|FOLDER, or give --random"
        )
    graph = load(data, selection=options.selection, files=options.files)
    progress.now("quantising")
    types = {**by.types, **options.types}
    made = plan(graph, by.ranges, exclude=options.exclude, types=types, fixed=by.fixed, tell=progress.detail)
    return Quantized(write(made), made)


def _of_samples(graph: Graph, paths: list[str], options: Namespace) -> Calibration:
    from furiosa.quantizer.calibrate.ranges import calibrate
    from furiosa.quantizer.samples import FileSamples
    from furiosa.runtime.samples import Preprocessing

    declared = options.preprocessing
    samples = FileSamples(paths, graph.inputs, None if declared is None else Preprocessing.read(declared))
    progress.now("calibrating")
    return calibrate(graph, samples, count=len(samples), tell=progress.detail)


def _of_random(graph: Graph) -> Calibration:
    from furiosa.quantizer.calibrate.ranges import calibrate
    from furiosa.quantizer.samples import random

    progress.now("calibrating with random samples")
    return calibrate(
        graph,
        random(graph.inputs, arguments.RANDOM_SAMPLES),
        count=arguments.RANDOM_SAMPLES,
        tell=progress.detail,
    )


def _read_calibration(path: str) -> Calibration:
    from furiosa.quantizer.calibrate.ranges import MAX_BYTES, from_json

    try:
        with open(path, "rb") as f:
            data = f.read(MAX_BYTES + 1)
    except OSError as e:
        raise IoError(f"cannot read {path}: {e.strerror or e}") from None
    if len(data) > MAX_BYTES:
        raise IoError(f"cannot read {path}: a calibration has up to {MAX_BYTES:,} bytes")
    return from_json(data, path)


def _remark(found: Calibration, options: Namespace) -> None:
    """What of the samples is seldom meant."""
    if found.samples == 1:
        say(
            f"NOTE: {options.source}: there is one sample only; ranges of 100 or more hold for other data, too"
        )
    constant = [n for n, h in found.tensors.items() if h.low == h.high]
    if constant:
        say(f"NOTE: {options.source}: all samples give the same one value for {listed(constant)}")


def _tell_plan(plan: Plan, options: Namespace) -> None:
    """What stays in float, which is told in any case; and on a terminal, how much does not."""
    if options.verbose or sys.stderr.isatty():
        say(f"{len(plan.unit_of())} of {len(plan.graph.operators)} operators are quantised")
    for op, why in plan.unlike.items():
        say(f"NOTE: {options.source}: {op.written_type} '{op.name}' stays in float: {why}")
    for op, reasons in list(plan.reasons.items())[:_SHOWN]:
        why = "; ".join(f"{r.message} ({r.actual})" for r in reasons[:2])
        say(
            f"NOTE: {options.source}: {op.written_type} '{op.name}' stays in float, the NPU does not take it: {why}"
        )
    if len(plan.reasons) > _SHOWN:
        say(f"NOTE: {options.source}: {len(plan.reasons) - _SHOWN} more operators stay in float")


def _write(path: str, data: bytes) -> None:
    try:
        with outputs.replacing(path) as f:
            f.write(data)
    except OSError as e:
        raise output.unwritable(e) from None
