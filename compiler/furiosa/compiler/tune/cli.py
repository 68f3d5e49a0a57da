"""The command ``furiosa tune``."""

from __future__ import annotations

import hashlib
import os
import sys

from furiosa.compiler.cli import outcome, output
from furiosa.compiler.errors import CompileError
from furiosa.compiler.tune import arguments
from furiosa.compiler.tune.point import OK, Point
from furiosa.enf import progress
from furiosa.enf.command import say
from furiosa.enf.outputs import Outputs


def main(argv: list[str]) -> int:
    """Runs ``furiosa tune ARGV…``.

    Returns:
        0; 255 for arguments that cannot be used; else a native code, see furiosa.compiler.errors.
    """
    return outcome.run("furiosa tune", arguments.parse, _tune, argv)


def _tune(options: arguments.Namespace) -> None:
    output.check_writable(options.outputs)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no thread, so that children can be forked
    from furiosa.compiler.pipeline import Compilation, Options
    from furiosa.compiler.tune.formats import FORMATS, SUFFIXES, Sweep
    from furiosa.compiler.tune.sweep import sweep
    from furiosa.enf.selection import as_json

    data = options.files.model()
    wanted = [(npu, n) for npu in options.npus for n in options.sizes]
    chosen = Options(
        options.npus[0], 1, options.compatibility, optimize=options.optimize, selection=options.selection
    )
    # once here: a model that cannot be compiled at all is an error; and what it imports, children need not
    with progress.Activity(options.source):  # whose thread has ended before children are forked
        once = Compilation(data, chosen, files=options.files).run("cdfg", progress.stage, progress.detail)
    tell = _Progress(len(wanted), options.verbose or sys.stderr.isatty())
    points = sweep(
        data,
        chosen,
        wanted,
        files=options.files,
        jobs=options.jobs,
        tell=tell,
    )
    result = Sweep(
        os.path.basename(options.source),
        hashlib.sha256(data).hexdigest(),
        options.compatibility,
        options.optimize,
        as_json(once.selection) if once.selection else None,
        points,
    )
    if not any(p.outcome == OK for p in points):
        first = points[0]
        raise CompileError(
            f"no batch size compiles; {first.target_npu}, batch {first.batch_size}: {first.message}"
        )
    if not options.outputs:
        sys.stdout.write(FORMATS[options.format or "table"](result))
    try:
        with Outputs() as outputs:
            for path in options.outputs:
                form = options.format or SUFFIXES.get(os.path.splitext(path)[1], "table")
                outputs.open(path).write(FORMATS[form](result).encode("utf-8", "backslashreplace"))
    except OSError as e:
        raise output.unwritable(e) from None


class _Progress:
    """Tells of each point on stderr; says nothing where ``loud`` is false."""

    def __init__(self, count: int, loud: bool):
        self.count, self.loud, self.done = count, loud, 0

    def __call__(self, p: Point) -> None:
        self.done += 1
        if self.loud:
            what = f"{p.throughput_per_s:,.1f} samples/s" if p.outcome == OK else p.outcome
            say(f"[{self.done}/{self.count}] {p.target_npu}, batch {p.batch_size}: {what}")
