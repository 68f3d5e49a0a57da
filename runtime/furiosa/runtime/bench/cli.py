"""The command ``furiosa bench``."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from time import perf_counter_ns
from typing import TYPE_CHECKING

from furiosa.enf import selection
from furiosa.enf.progress import Activity, now
from furiosa.runtime.cli import Parser, add_host_process, chosen_for, plain, run_command
from furiosa.runtime.errors import InvalidInput

if TYPE_CHECKING:
    from furiosa.runtime.bench.result import Result

PROG = "furiosa bench"
_MAX_QUERIES, _MAX_THREADS, _MAX_SECONDS = 10_000_000, 256, 86_400.0

_TEXT = """\
Runs a model many times on the NPU simulator and says how long that took, beside what the NPU is estimated to take.
Measured times are those of this machine, on which the NPU is simulated in software: they are no NPU times.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """``furiosa bench MODEL``; returns the exit code."""
    return run_command(_parser, PROG, argv)


def _parser() -> Parser:
    p = Parser(prog=PROG, description=_TEXT, fromfile_prefix_chars="@")
    p.add_argument("model", metavar="MODEL", help="an ENF, an .onnx or .tflite model, or BUNDLE.tar#NAME")
    p.add_argument(
        "--queries",
        "-n",
        type=_whole(1, _MAX_QUERIES),
        default=1,
        metavar="N",
        help="run at least N queries (default: 1)",
    )
    p.add_argument(
        "--duration",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="and for at least S seconds (default: 0)",
    )
    p.add_argument(
        "--batch",
        "-b",
        type=_whole(1, 1 << 16),
        metavar="B",
        help="samples in a query (default: 1, of an ENF its own)",
    )
    p.add_argument(
        "--workload",
        choices=("L", "T"),
        default="L",
        help="L: latency, one query at a time; T: throughput, all workers at once (default: L)",
    )
    p.add_argument(
        "--workers",
        "-w",
        type=_whole(1, _MAX_THREADS),
        default=1,
        metavar="W",
        help="workload T: queries that run at once, each in a memory of its own (default: 1)",
    )
    p.add_argument(
        "--io-threads",
        "-t",
        type=_whole(1, _MAX_THREADS),
        default=1,
        metavar="T",
        help="workload T: threads that submit queries (default: 1)",
    )
    selection.add_options(p)
    p.add_argument("--devices", "-d", metavar="DEVICE", help="e.g. npu0pe0-1; all stand for the simulator")
    group = p.add_mutually_exclusive_group()
    group.add_argument(
        "--input",
        "-i",
        action="append",
        metavar="[NAME=]NPY",
        help="an input as a .npy file, in the model's order or by name; repeated for several",
    )
    group.add_argument(
        "--seed",
        type=_whole(0, 1 << 63),
        default=0,
        metavar="SEED",
        help="of random inputs, which are the same in every query (default: 0)",
    )
    p.add_argument("--output", "-o", metavar="FILE", help="write the result as JSON")
    p.add_argument(
        "--trace-output", "-T", metavar="FILE", help="write a trace for chrome://tracing or Perfetto"
    )
    add_host_process(p)
    p.set_defaults(run=_run)
    return p


def _whole(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text) if text.isascii() and text.lstrip("-").isdigit() and len(text) < 20 else None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {low} to {high}")
        return value

    return number


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds from 0 to {_MAX_SECONDS:.0f}")
    return value


def _run(args: argparse.Namespace) -> None:
    from furiosa.enf.outputs import replacing
    from furiosa.runtime.bench import result

    _check_files(args)
    if args.workload == "L" and (args.workers, args.io_threads) != (1, 1):
        _note("--workers and --io-threads are for --workload T: workload L runs one query at a time")
    found = _measure(args)
    if args.output:
        with replacing(args.output) as f:
            f.write(result.as_json(found).encode("ascii"))
    for line in result.text(found):
        print(plain(line))


def _check_files(args: argparse.Namespace) -> None:
    """Refuses before anything runs what could not be written at the end."""
    written = [(o, p) for o, p in (("--output", args.output), ("--trace-output", args.trace_output)) if p]
    inputs = (text.partition("=") for text in args.input or [])
    read = [args.model, args.model.rpartition("#")[0], *(path or name for name, _, path in inputs)]
    taken = {os.path.realpath(path) for path in read if path}
    for option, path in written:
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder) or os.path.isdir(path):
            raise InvalidInput(f"{option} {path}: no file can be written there")
        if os.path.realpath(path) in taken:
            raise InvalidInput(f"{option} {path}: the file is named twice")
        taken.add(os.path.realpath(path))


def _measure(args: argparse.Namespace) -> Result:
    from furiosa.runtime import session
    from furiosa.runtime import source as sources
    from furiosa.runtime.bench import measure
    from furiosa.runtime.bench.result import Result
    from furiosa.runtime.run_files import input_arrays

    is_throughput = args.workload == "T"
    workers, io_threads = (args.workers, args.io_threads) if is_throughput else (1, 1)
    start = perf_counter_ns()
    with ExitStack() as stack:
        stack.enter_context(Activity(args.model))
        model = sources.read(args.model)
        config = chosen_for(args, model.name, model.is_enf) or None
        sess = session.create(
            model,
            device=args.devices,
            worker_num=workers,
            compile_config=config,
            batch_size=args.batch,
            host_process=args.host_process,
        )
        stack.enter_context(sess)
        created = perf_counter_ns()
        data = model.read()  # once more, unchanged
        inputs = sess.check(input_arrays(sess, args.input or [], None if args.input else args.seed))
        profiler = stack.enter_context(sess.profile(file=args.trace_output)) if args.trace_output else None
        begun = perf_counter_ns()
        now("warming up")
        with profiler.record("warm up, not counted") if profiler else nullcontext():
            sess.warm_up(inputs)
        warm = perf_counter_ns()
        now("measuring")
        if is_throughput:
            measured = measure.throughput(sess, inputs, args.queries, args.duration, io_threads)
        else:
            measured = measure.latency(sess, inputs, args.queries, args.duration)
        performance = sess.performance()
    if profiler and profiler.recorder.dropped:
        _note(
            f"the trace holds the first {len(profiler.spans)} spans; {profiler.recorder.dropped} are left out"
        )
    return Result(
        path=args.model,
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(data).hexdigest(),
        compiler_version=sess.compiler_version,
        target_npu=sess.target_npu,
        batch_size=sess.batch_size,
        workload=args.workload,
        workers=workers,
        io_threads=io_threads,
        seed=None if args.input else args.seed,
        compiled=not model.is_enf,
        create_us=(created - start) / 1e3,
        warm_up_us=(warm - begun) / 1e3,
        measured=measured,
        performance=performance,
    )


def _note(sentence: str) -> None:
    print(f"NOTE: {sentence}", file=sys.stderr)
