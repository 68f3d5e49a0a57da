"""The arguments of ``furiosa compile``."""

from __future__ import annotations

import argparse
import os
from argparse import Namespace

from furiosa.compiler.errors import InvalidConfig
from furiosa.compiler.ldfg.vendor import RELEASES
from furiosa.compiler.model_files import ModelFiles, parse_data
from furiosa.compiler.selection import Selection
from furiosa.compiler.selection import selection as choose
from furiosa.enf import command, host_trial
from furiosa.enf.command import BAD_ARGUMENTS, CommandError
from furiosa.enf.selection import add_options, said
from furiosa.enf.target import DEFAULT_TARGET, TARGETS

# furiosa.compiler.pipeline.STAGES, MAX_BATCH, WARNINGS and LEVELS, written again because importing them takes as long as a small compilation
IRS = ("dfg", "ldfg", "cdfg", "gir", "lir", "enf")
MAX_BATCH = 1 << 16
WARNINGS = ("out-of-dram",)
LEVELS = (0, 1, 2)

# options that name a file about a whole compilation
REPORTS = ("report_json", "report", "analyze_memory", "chrome_trace")

DESCRIPTION = "Compiles a TFLite or ONNX model to an ENF, a program for the NPU."


class BadArguments(CommandError):
    """Arguments that cannot be used, in one sentence."""

    def __init__(self, sentence: str):
        super().__init__(BAD_ARGUMENTS, sentence)


class Parser(command.Parser):
    """The parser of a command that compiles."""

    verbose_help = "tell more, and also where stderr is not a terminal"


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number between 0 and 1")
    return share


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least 0")
    return int(text)


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """The width of the terminal, found without what argparse imports for it."""
    # asked for the width, argparse would import shutil and with it every compression library, for each argument
    return argparse.HelpFormatter(prog, width=int(os.environ.get("COLUMNS") or 100), max_help_position=28)


def add_compatibility(p: argparse.ArgumentParser) -> None:
    """The option ``--compatibility``, which every command that compiles has."""
    p.add_argument(
        "--compatibility",
        metavar="RELEASE",
        default="latest",
        help=f"the vendor's SDK release whose operators the NPU may take: {', '.join(RELEASES)} or latest (default)",
    )


def add_files(p: argparse.ArgumentParser) -> None:
    """The options that say which files are a model's, which every command that compiles has; ``model_files`` reads them."""
    p.add_argument(
        "--data",
        action="append",
        metavar="[LOCATION=]FILE",
        default=[],
        help="a file of external data of an ONNX model that is not in the model's folder; LOCATION is what the model calls "
        "it (default: what FILE ends with); may be repeated",
    )
    p.add_argument(
        "--hermetic",
        action="store_true",
        help="read no files but the model and those of --data, also of the model's folder; for build systems",
    )


def model_files(options: Namespace) -> ModelFiles:
    """What the options of ``add_files`` say, of the model ``options.source``.

    Raises:
        BadArguments: a file is given for a location twice.
    """
    data = [parse_data(text) for text in options.data]
    for d in data:
        if not d.path:
            raise BadArguments("--data names no file")
    located = [d.location for d in data if d.location]
    for location in located:
        if located.count(location) > 1:
            raise BadArguments(f"--data names two files for {location}")
    return ModelFiles(options.source, data, is_hermetic=options.hermetic)


def selection(options: Namespace) -> Selection:
    """What the options of furiosa.enf.selection say.

    Raises:
        BadArguments: an option of another form.
    """
    try:
        return choose(**said(options))
    except (ValueError, InvalidConfig) as e:
        raise BadArguments(str(e)) from None


def parser() -> argparse.ArgumentParser:
    """The parser; ``parse`` is what checks the rest."""
    p = Parser(prog="furiosa compile", description=DESCRIPTION, formatter_class=help_formatter)
    p.add_argument("source", nargs="?", metavar="SOURCE", help="a .tflite or .onnx file")
    p.add_argument(
        "-o", "--output", dest="output", metavar="OUTPUT", help="what to write (default: output.TARGET_IR)"
    )
    p.add_argument(
        "--target-npu",
        metavar="NPU",
        default=DEFAULT_TARGET,
        help=f"{' or '.join(TARGETS)} (default: {DEFAULT_TARGET})",
    )
    p.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="multiplies dimension 0 of inputs and outputs (default: 1)",
    )
    p.add_argument(
        "--auto-batch-size",
        action="store_true",
        help="take the batch size, a power of two up to 64, with the best predicted throughput",
    )
    p.add_argument(
        "--target-ir",
        type=str.lower,
        metavar="IR",
        default="enf",
        help=f"{', '.join(IRS)} (default: enf); text but for enf",
    )
    add_files(p)
    add_options(p)
    add_compatibility(p)
    p.add_argument(
        "--min-npu-coverage",
        type=_share,
        metavar="SHARE",
        default=0.0,
        help="fail where the NPU does less of the multiply-accumulates, e.g. 0.95 (default: 0)",
    )
    p.add_argument(
        "--max-host-operators",
        type=_count,
        metavar="N",
        help="fail where more operators of the model than this run on the host, e.g. 0 (default: any number)",
    )
    p.add_argument(
        "--deny",
        action="append",
        metavar="WARNING",
        default=[],
        help="fail on this warning, out-of-dram: a program that needs host memory beyond the NPU's DRAM; may be repeated",
    )
    p.add_argument(
        "--optimize",
        type=int,
        metavar="LEVEL",
        default=1,
        help="0: the first schedule that fits, 1: a better one where that is quick (default), 2: more is tried",
    )
    host_trial.add_option(p)
    p.add_argument("--dot-graph", metavar="FILE", help="write the clustered graph for Graphviz")
    p.add_argument(
        "--report-json", metavar="FILE", help="write where each operator runs and why, sizes and estimates"
    )
    p.add_argument(
        "--report", metavar="FILE", help="write a page to look at: where the time goes, memory, layers, why"
    )
    p.add_argument("--analyze-memory", metavar="FILE", help="write a page of what lies where in SRAM when")
    p.add_argument(
        "--chrome-trace", metavar="FILE", help="write the simulated timeline for Perfetto or chrome://tracing"
    )
    p.add_argument("--version", action="store_true", help="print the version and exit")
    p.add_argument("--description", action="store_true", help="print what this command does and exit")
    return p


def check_compiling(options: Namespace) -> None:
    """Checks what every command that compiles has besides its source.

    Raises:
        BadArguments: an unknown release or level.
    """
    if options.compatibility not in (*RELEASES, "latest"):
        raise BadArguments(
            f"unknown compatibility '{options.compatibility}', known: {', '.join(RELEASES)}, latest"
        )
    if options.optimize not in LEVELS:
        raise BadArguments(f"optimization level {options.optimize} is not 0, 1 or 2")


def parse(argv: list[str]) -> Namespace:
    """Parses and checks everything that can be checked without reading the model.

    Raises:
        CommandError: the exit status is 255.
    """
    options = parser().parse_args(argv)
    if options.version or options.description:
        return options
    if options.source is None:
        raise BadArguments("no SOURCE is given, name a .tflite or .onnx file; see furiosa compile -h")
    if options.target_npu not in TARGETS:
        raise BadArguments(f"unknown target NPU '{options.target_npu}', known: {', '.join(TARGETS)}")
    if options.target_ir not in IRS:
        raise BadArguments(f"invalid target IR '{options.target_ir}', known: {', '.join(IRS)}")
    check_compiling(options)
    options.selection = selection(options)
    options.files = model_files(options)
    for option, value in (
        ("--min-npu-coverage", options.min_npu_coverage or None),
        ("--max-host-operators", options.max_host_operators),
    ):
        if value is not None and options.target_ir == "dfg":
            raise BadArguments(f"{option} needs another --target-ir than dfg, where nothing is placed yet")
    if options.auto_batch_size and options.batch_size is not None:
        raise BadArguments("--batch-size and --auto-batch-size exclude each other")
    if options.batch_size is None:
        options.batch_size = 1
    if not 1 <= options.batch_size <= MAX_BATCH:
        raise BadArguments(f"batch size {options.batch_size} is not between 1 and {MAX_BATCH}")
    for warning in options.deny:
        if warning not in WARNINGS:
            raise BadArguments(f"unknown warning '{warning}' to deny, known: {', '.join(WARNINGS)}")
    for name in REPORTS:
        if getattr(options, name) is not None and options.target_ir != "enf":
            option = f"--{name.replace('_', '-')}"
            raise BadArguments(
                f"{option} needs --target-ir enf: the figures are those of a whole compilation"
            )
    if options.output is None:
        options.output = f"output.{options.target_ir}"
    named = [options.source, *options.files.data]
    for path in outputs(options):
        if any(same(path, other) for other in named):
            raise BadArguments(
                f"{path} is named twice: what is read and what is written must be different files"
            )
        named.append(path)
    return options


def outputs(options: Namespace) -> list[str]:
    """The files that are to be written."""
    named = (options.output, options.dot_graph, *(getattr(options, name) for name in REPORTS))
    return [path for path in named if path is not None]


def same(path: str, other: str) -> bool:
    """Whether two paths are the same file."""
    return os.path.realpath(path) == os.path.realpath(other)
