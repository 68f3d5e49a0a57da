"""The arguments of ``furiosa tune``."""

from __future__ import annotations

import argparse
import os
from argparse import Namespace

from furiosa.compiler.cli.arguments import (
    MAX_BATCH,
    BadArguments,
    Parser,
    add_compatibility,
    add_files,
    check_compiling,
    help_formatter,
    model_files,
    same,
    selection,
)
from furiosa.enf.selection import add_options
from furiosa.enf.target import TARGETS

DESCRIPTION = "Predicts latency, throughput and memory of a model for many batch sizes."
MAX_POINTS = 64  # batch sizes of one sweep
MAX_JOBS = 64


def batch_sizes(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, … up to ``most``: the powers of two, and between each two of them the one in the middle."""
    sizes = {1 << k for k in range(most.bit_length())} | {3 << k for k in range(most.bit_length())}
    return sorted(n for n in sizes if n <= most)


def _sizes(text: str) -> list[int]:
    try:
        return [int(n) for n in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of numbers such as 1,2,4") from None


def parser() -> argparse.ArgumentParser:
    """The parser; ``parse`` is what checks the rest."""
    p = Parser(prog="furiosa tune", description=DESCRIPTION, formatter_class=help_formatter)
    p.add_argument("source", metavar="MODEL", help="a .tflite or .onnx file")
    p.add_argument(
        "--target-npu",
        metavar="NPU",
        default="all",
        help=f"{', '.join(TARGETS)}, several with commas between them, or all (default)",
    )
    p.add_argument("--max-batch", type=int, metavar="N", help="try 1, 2, 3, 4, 6, 8, … up to N (default: 64)")
    p.add_argument("--batch-sizes", type=_sizes, metavar="N,…", help="try these batch sizes instead")
    add_files(p)
    add_options(p)
    add_compatibility(p)
    p.add_argument(
        "--optimize",
        type=int,
        metavar="LEVEL",
        default=1,
        help="how much each compilation tries for a better schedule, 0 to 2, as of furiosa compile (default: 1)",
    )
    p.add_argument(
        "-o",
        "--output",
        dest="outputs",
        action="append",
        metavar="FILE",
        default=[],
        help="write FILE instead of stdout: .json, .csv, or a table where it has another ending; may be repeated",
    )
    p.add_argument(
        "--format", choices=("table", "json", "csv"), help="whatever FILE ends with (default: table)"
    )
    p.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="compile for so many points at a time (default: 2, or 1 on a machine of one core)",
    )
    return p


def parse(argv: list[str]) -> Namespace:
    """Parses and checks everything that can be checked without reading the model.

    Raises:
        CommandError: the exit status is 255.
    """
    options = parser().parse_args(argv)
    npus = list(TARGETS) if options.target_npu == "all" else options.target_npu.split(",")
    for npu in npus:
        if npu not in TARGETS:
            raise BadArguments(f"unknown target NPU '{npu}', known: {', '.join(TARGETS)}, all")
    options.npus = list(dict.fromkeys(npus))
    if options.batch_sizes is not None and options.max_batch is not None:
        raise BadArguments("--max-batch and --batch-sizes exclude each other")
    sizes = options.batch_sizes if options.batch_sizes is not None else [options.max_batch or 64]
    for n in [*sizes, *([] if options.max_batch is None else [options.max_batch])]:
        if not 1 <= n <= MAX_BATCH:
            raise BadArguments(f"batch size {n} is not between 1 and {MAX_BATCH}")
    options.sizes = sorted(set(sizes)) if options.batch_sizes is not None else batch_sizes(sizes[0])
    if len(options.sizes) > MAX_POINTS:
        raise BadArguments(f"{len(options.sizes)} batch sizes are more than {MAX_POINTS}")
    check_compiling(options)
    options.selection = selection(options)
    options.files = model_files(options)
    if options.jobs is None:
        options.jobs = min(2, os.cpu_count() or 1)
    if not 1 <= options.jobs <= MAX_JOBS:
        raise BadArguments(f"--jobs {options.jobs} is not between 1 and {MAX_JOBS}")
    named = [options.source, *options.files.data]
    for path in options.outputs:
        if any(same(path, other) for other in named):
            raise BadArguments(f"{path} is named twice: model and outputs must be different files")
        named.append(path)
    return options
