"""The command ``furiosa compile``."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from furiosa.compiler import __version__
from furiosa.compiler.cli import arguments, outcome, output, terminal
from furiosa.compiler.errors import CompileError, LowCoverage
from furiosa.enf import host_trial
from furiosa.enf.command import say
from furiosa.enf.outputs import Outputs
from furiosa.enf.progress import Activity, detail, now

if TYPE_CHECKING:
    from furiosa.compiler.dfg.graph import Graph
    from furiosa.compiler.pipeline import Compilation
    from furiosa.compiler.tune.point import Point
    from furiosa.compiler.tune.search import Choice


def version() -> str:
    """What ``--version`` prints: the compiler's, and that of the format it writes."""
    from furiosa.enf.container import MAJOR, MINOR

    return f"furiosa-compiler {__version__}\nENF {MAJOR}.{MINOR}\n"


def main(argv: list[str]) -> int:
    """Runs ``furiosa compile ARGV…``.

    Returns:
        0; 255 for arguments that cannot be used; else a native code, see furiosa.compiler.errors.
    """
    return outcome.run("furiosa compile", arguments.parse, _run, argv)


def _run(options: arguments.Namespace) -> None:
    if options.version or options.description:
        sys.stdout.write(version() if options.version else f"{arguments.DESCRIPTION}\n")
        return
    _start_quickly()
    _compile(options)


def _start_quickly() -> None:
    """Spares a short process what only a long one needs."""
    # compiling is no matrix work: OpenBLAS need not start a thread for each core when numpy is imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # imports make many objects and no garbage: look for cycles more seldom than every 700 objects
    gc.set_threshold(50_000)


def _compile(options: arguments.Namespace) -> None:
    loud = options.verbose or sys.stderr.isatty()
    paths = arguments.outputs(options)
    output.check_writable(paths)
    if loud:
        say(f"Using furiosa-compiler {__version__}")
    compilation, choice, progress = _stages(options, loud)
    if options.target_ir == "enf" and options.host_trial:
        host_trial.check(compilation.program, options.source)
    try:
        with Outputs() as outputs, Activity(options.source):
            now("writing the output")
            _write(compilation, choice, options, outputs)
    except OSError as e:
        raise output.unwritable(e) from None
    progress.finish()
    if options.target_ir != "dfg":
        _tell_placement(compilation, options, loud)
    if options.target_ir in ("lir", "enf") and compilation.beyond_dram:
        say(f"WARNING: {options.source}: {compilation.beyond_dram}")
    if loud:
        say(f"output has been saved to {options.output}")


def _stages(options: arguments.Namespace, loud: bool) -> tuple[Compilation, Choice | None, terminal.Progress]:
    """Reads the model, finds the batch size where that is asked for, and runs the stages that the outputs need."""
    from furiosa.compiler.pipeline import STAGES, Compilation, Options

    data = options.files.model()
    last = max(STAGES.index(options.target_ir), STAGES.index("cdfg") if options.dot_graph is not None else 0)
    chosen = Options(
        options.target_npu,
        options.batch_size,
        options.compatibility,
        options.min_npu_coverage,
        tuple(options.deny),
        options.optimize,
        options.selection,
        options.max_host_operators,
    )
    choice = None
    if options.auto_batch_size:
        from furiosa.compiler.tune.search import choose

        def tell(point: Point) -> None:
            now(f"looking for a batch size, beyond {point.batch_size}")
            if loud:
                _tell_tried(point)

        try:
            with Activity(options.source):
                now("looking for a batch size")
                choice = choose(data, chosen, files=options.files, tell=tell)
        except CompileError:  # of a batch of 1: it comes again below, where a table goes with it
            pass
        else:
            _tell_choice(choice, options, loud)
            chosen.batch_size = choice.batch_size
    compilation = Compilation(data, chosen, files=options.files)
    try:
        with Activity(options.source):
            progress = terminal.Progress(last + 1, loud)
            compilation.run(STAGES[last], progress.stage, detail)
    except LowCoverage:
        _tell_table(compilation, options)
        raise
    progress.done()
    if loud and chosen.selection.signature:
        _tell_signature(compilation.dfg)
    return compilation, choice, progress


def _tell_signature(graph: Graph) -> None:
    inputs, outputs = ", ".join(t.name for t in graph.inputs), ", ".join(graph.output_names or ())
    terminal.say(f"signature {graph.selection.signature}: inputs {inputs}; outputs {outputs}")


def _tell_tried(point: Point) -> None:
    say(f"batch size {point.batch_size} would do {point.throughput_per_s:,.1f} samples/s")


def _tell_choice(choice: Choice, options: arguments.Namespace, loud: bool) -> None:
    """What was chosen.  That a batch is impossible is said in any case: it is not what was asked for."""
    if options.verbose:
        from furiosa.compiler.tune.formats import lines

        for line in lines(choice.tried):
            say(line)
    if loud:
        say(f"batch size {choice.batch_size} is chosen, no more were tried: {choice.ended}")
    elif choice.is_refused and len(choice.tried) == 1:
        say(f"NOTE: {options.source}: the batch size stays 1: {choice.ended}")


def _write(
    compilation: Compilation, choice: Choice | None, options: arguments.Namespace, outputs: Outputs
) -> None:
    size = _write_ir(compilation, options.target_ir, outputs.open(options.output))
    if options.dot_graph is not None:
        from furiosa.compiler.report.dot import dot

        graph = dot(compilation.ldfg.graph, compilation.cdfg, compilation.ldfg.verdicts)
        outputs.open(options.dot_graph).write(graph.encode("utf-8", "backslashreplace"))
    if any(getattr(options, name) is not None for name in arguments.REPORTS):
        _write_reports(compilation, options, size, outputs, choice)


def _write_reports(
    compilation: Compilation,
    options: arguments.Namespace,
    size: int,
    outputs: Outputs,
    choice: Choice | None,
) -> None:
    from furiosa.compiler.report.report import program, report, to_json

    content = report(compilation, os.path.basename(options.source), size, choice)
    if options.report_json is not None:
        outputs.open(options.report_json).write(to_json(content).encode("ascii"))
    if options.report is not None:
        from furiosa.enf.report.html import page

        outputs.open(options.report).write(page(program(compilation), compilation.performance, content))
    if options.analyze_memory is not None:
        from furiosa.enf.report.html import memory_page

        html = memory_page(program(compilation), compilation.performance, content)
        outputs.open(options.analyze_memory).write(html)
    if options.chrome_trace is not None:
        from furiosa.enf.report.trace import chrome_trace

        trace = chrome_trace(program(compilation), compilation.performance, content["model"])
        outputs.open(options.chrome_trace).write(trace)


def _write_ir(compilation: Compilation, ir: str, file: BinaryIO) -> int:
    """Writes one IR and returns its size in bytes."""
    if ir == "enf":
        from furiosa.enf import container

        return container.write(file, compilation.enf)
    from furiosa.compiler.dump.dump import dump

    return sum(file.write(f"{line}\n".encode("utf-8", "backslashreplace")) for line in dump(compilation, ir))


def _tell_table(compilation: Compilation, options: arguments.Namespace) -> None:
    from furiosa.compiler.report import table

    for line in table.placement(compilation.ldfg, everything=options.verbose):
        say(line)


def _tell_placement(compilation: Compilation, options: arguments.Namespace, loud: bool) -> None:
    """What runs where.  That nothing runs on the NPU is said in any case: it is seldom what was wanted."""
    from furiosa.compiler.report import table

    if loud:
        _tell_table(compilation, options)
    note = table.no_npu(compilation.ldfg, why=not loud)
    if note:
        say(f"WARNING: {options.source}: {note}")
