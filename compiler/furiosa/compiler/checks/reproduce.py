"""Compiles a model again in other surroundings and compares with what was built; what the rule npu_reproducibility_test runs.

Nothing of the surroundings may reach an output: hash seed, time zone, locale, umask, folder, how files are named, threads, and
whether a process or a worker compiles.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from furiosa.compiler.checks.common import Parser
from furiosa.compiler.checks.processes import Call, run, run_in_worker
from furiosa.compiler.model_files import DataFile, parse_data
from furiosa.enf import command
from furiosa.enf.command import DIFFERENT

MAX_LINES = 12  # of an explanation
OUTPUTS = {"--enf": "-o", "--report": "--report-json", "--dot": "--dot-graph"}  # our option -> the compiler's


class Surroundings(NamedTuple):
    """Where and how a compilation runs; ``folder`` is where the model lies and the compiler starts."""

    name: str
    environment: Mapping[str, str] = MappingProxyType({})
    umask: int = 0o022
    folder: str = "model"
    is_absolute: bool = False


ONE_SHOT = (
    Surroundings("hash seed 0", {"PYTHONHASHSEED": "0"}),
    Surroundings("hash seed 4294967295", {"PYTHONHASHSEED": "4294967295"}),
    Surroundings("time zone Asia/Seoul", {"TZ": "Asia/Seoul"}),
    Surroundings("locale tr_TR.UTF-8", {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}),
    Surroundings("umask 077", umask=0o077),
    Surroundings("another folder", folder="another folder/" + "d" * 40 + "/é"),
    Surroundings("absolute paths", is_absolute=True),
    Surroundings("1 thread", {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
    Surroundings("8 threads", {"OMP_NUM_THREADS": "8", "OPENBLAS_NUM_THREADS": "8"}),
)
# requests of one worker: two side by side
WORKER = ("worker, first request", "worker, second request, side by side")


class Compilation(NamedTuple):
    """What was built, and how: ``outputs`` are built files by the compiler's option.

    ``data`` of no location lie in or below the source's folder, those of the empty one anywhere.  Where ``is_hermetic``, the
    compiler is told which files it may read.
    """

    compiler: str
    options: list[str]
    source: Path
    data: list[DataFile]
    is_hermetic: bool
    outputs: dict[str, Path]


def attempts(c: Compilation, worker: str, scratch: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    """Compiles in each of the surroundings; yields their name and the files that were written there.

    Raises:
        CommandError: a compilation fails.
    """
    for number, around in enumerate(ONE_SHOT):
        call, written = _prepare(c, scratch / str(number), around)
        run(call)
        yield around.name, written
    if worker:
        prepared = [_prepare(c, scratch / f"worker{i}", Surroundings(name)) for i, name in enumerate(WORKER)]
        run_in_worker([call for call, _ in prepared], scratch, worker)
        yield from ((call.name, written) for call, written in prepared)


def _prepare(c: Compilation, root: Path, around: Surroundings) -> tuple[Call, dict[str, Path]]:
    """Copies the model, and says how to compile it there."""
    folder = root / around.folder

    def named(path: Path) -> str:
        return str(path if around.is_absolute else path.relative_to(root))

    arguments = ["compile", named(_copy(c.source, folder / c.source.name))]
    if c.is_hermetic:
        arguments.append("--hermetic")
    for number, (file, location) in enumerate(c.data):
        if location is None:
            location = Path(file).relative_to(c.source.parent)
        elsewhere = root / "elsewhere" / str(number) / Path(os.path.abspath(file)).relative_to("/")
        copy = named(_copy(Path(file), folder / location if location else elsewhere))
        if c.is_hermetic:
            arguments.append(f"--data={str(location).replace('=', '==')}={copy}")
    start = folder if around.is_absolute else root
    written = {}
    for option, built in c.outputs.items():
        written[option] = folder / f"again.{built.name}"
        arguments += [option, named(written[option])]
    command_file = root / "arguments"
    command_file.write_text("\n".join([*arguments, *c.options]) + "\n", encoding="utf-8")
    return Call(around.name, c.compiler, command_file, start, around.environment, around.umask), written


def _copy(file: Path, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, to)
    return to


def difference(built: Path, again: Path) -> list[str]:
    """What differs between two files, from the first difference on; nothing where they are the same, byte for byte."""
    a, b = built.read_bytes(), again.read_bytes()
    if a == b:
        return []
    place = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    where = f"{built.name}: {len(a):,} and {len(b):,} bytes, the first difference at byte {place:,}"
    if built.suffix != ".enf":
        return [f"{where}, line {a.count(10, 0, place) + 1}"]
    return [f"{where}, section '{_section(a, b)}'", *_explained(a, b)]


def _section(a: bytes, b: bytes) -> str:
    """The name of the first section, in the order of the file, whose content differs."""
    from furiosa.enf.container import read_table
    from furiosa.enf.errors import EnfError

    try:
        contents = [
            {s.name: data[s.offset : s.offset + s.size] for s in read_table(memoryview(data))}
            for data in (a, b)
        ]
    except EnfError as e:
        return f"none: {e}"
    old, new = contents
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            return name
    return "none: the contents are the same, header or gaps differ"


def _explained(a: bytes, b: bytes) -> list[str]:
    """What ``furiosa enf diff`` says."""
    from furiosa.enf import reader
    from furiosa.enf.diff import diff
    from furiosa.enf.errors import EnfError

    try:
        lines = diff(reader.load(a), reader.load(b))
    except EnfError as e:
        return [str(e)]
    return [*lines[:MAX_LINES], *(["…"] if len(lines) > MAX_LINES else [])]


def check(c: Compilation, worker: str, scratch: Path) -> bool:
    """Compiles everywhere, prints a line for each of the surroundings, and says whether all outputs are those that were built."""
    same = True
    for name, written in attempts(c, worker, scratch):
        lines = [line for option, path in c.outputs.items() for line in difference(path, written[option])]
        sys.stdout.write(f"{name}: {'DIFFERS' if lines else 'the same bytes'}\n")
        sys.stdout.writelines(f"    {line}\n" for line in lines)
        sys.stdout.flush()
        same &= not lines
    if not worker:
        sys.stdout.write("no worker: the compiler's toolchain has none\n")
    return same


def main(argv: list[str] | None = None) -> int:
    """Returns 0; 1: an output differs; the compiler's exit code where it fails; 2: a file cannot be read; 255: bad arguments."""
    return command.run(_run, "reproduce", argv)


def _run(argv: list[str]) -> int:
    p = Parser("reproduce", __doc__)
    p.add_argument("compiler", metavar="COMPILER")
    p.add_argument("source", metavar="SOURCE", type=Path)
    p.add_argument("--data", type=parse_data, action="append", default=[], metavar="[LOCATION=]FILE")
    p.add_argument("--hermetic", action="store_true", help="the compiler takes --hermetic and --data")
    for option in OUTPUTS:
        p.add_argument(option, type=Path, required=option == "--enf")
    p.add_argument(
        "--option", action="append", default=[], help="an argument of the compiler, as --option=ARGUMENT"
    )
    p.add_argument("--worker", choices=("json", "proto"), default="", help="the protocol of its worker")
    options = p.parse_args(argv)
    named = {theirs: getattr(options, ours[2:]) for ours, theirs in OUTPUTS.items()}
    c = Compilation(
        os.path.abspath(options.compiler),
        options.option,
        options.source,
        options.data,
        options.hermetic,
        {option: path for option, path in named.items() if path},
    )
    with tempfile.TemporaryDirectory(prefix="reproduce") as scratch:
        return 0 if check(c, options.worker, Path(scratch)) else DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
