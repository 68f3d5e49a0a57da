"""The command ``furiosa enf``: dump, verify and compare ENF files, and reports of them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

from furiosa.enf import command, host_trial, outputs, reader
from furiosa.enf.command import BAD_ARGUMENTS, DIFFERENT, INVALID_FORMAT, IO_ERROR, CommandError, Parser
from furiosa.enf.errors import EnfError
from furiosa.enf.progress import Activity, now

PROG = "furiosa enf"


def _parser() -> Parser:
    p = Parser(prog=PROG, description="Shows, verifies, compares and reports on ENF files.")
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    dump = commands.add_parser(
        "dump", help="show what is in a file", description="Shows what is in an ENF file."
    )
    dump.add_argument("file", metavar="FILE")
    how = dump.add_mutually_exclusive_group()
    how.add_argument("--commands", action="store_true", help="show every command")
    how.add_argument(
        "--json", action="store_true", help="show everything but constants and host models, as JSON"
    )
    verify = commands.add_parser(
        "verify",
        help="prove that a file is safe to run, and that it can run",
        description="Proves that an ENF file is safe to run, and runs once, in another process, what runs on the host.",
    )
    verify.add_argument("file", metavar="FILE")
    verify.add_argument(
        "--stamp", metavar="OUT", help="a small file to write where FILE is valid, for build systems"
    )
    host_trial.add_option(verify)
    diff = commands.add_parser(
        "diff",
        help="say what changed between two files",
        description="Says what changed from one ENF file to another, the verdict first, then what changed most: options, "
        "source, operators that moved, estimated times, bytes. Exit status 0 where nothing did, else 1.",
    )
    diff.add_argument("a", metavar="A")
    diff.add_argument("b", metavar="B")
    diff.add_argument("--json", action="store_true", help="everything, as JSON")
    report = commands.add_parser(
        "report",
        help="write pages and a trace to look at",
        description="Writes what `furiosa compile` writes with the options of the same names, without compiling again.",
    )
    report.add_argument("file", metavar="FILE")
    report.add_argument("json", metavar="REPORT", help="what --report-json wrote with FILE")
    report.add_argument("--report", metavar="OUT", help="a page: where the time goes, memory, layers, why")
    report.add_argument("--analyze-memory", metavar="OUT", help="a page of what lies where in SRAM when")
    report.add_argument(
        "--chrome-trace", metavar="OUT", help="the simulated timeline for Perfetto or chrome://tracing"
    )
    return p


def main(argv: list[str]) -> int:
    """Runs ``furiosa enf ARGV…``.

    Returns:
        0; for diff 1 where the files differ; 2: a file cannot be read or written; 4: a file is not a valid ENF; 13: an
        internal error, or no memory left; 255: bad arguments.
    """
    return command.run(_run, PROG, argv)


def _run(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    return _COMMANDS[options.command](options)


def _load(path: str) -> reader.Enf:
    try:
        return reader.load_file(path)
    except EnfError as e:
        raise CommandError(INVALID_FORMAT, f"{path}: {e}") from None
    except (OSError, ValueError) as e:  # ValueError: a path with a null character
        raise CommandError(IO_ERROR, f"cannot read {path}: {getattr(e, 'strerror', None) or e}") from None


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _dump(options: argparse.Namespace) -> int:
    from furiosa.enf import dump

    enf = _load(options.file)
    if options.json:
        import json

        _print([json.dumps(dump.as_json(enf), indent=2)])
    else:
        _print(dump.commands(enf) if options.commands else dump.summary(enf))
    return 0


def _verify(options: argparse.Namespace) -> int:
    stamp = options.stamp
    if stamp is not None and _same(stamp, options.file):
        raise CommandError(
            BAD_ARGUMENTS, f"{stamp} is named twice: FILE and the stamp must be different files"
        )
    with Activity(options.file):
        now("verifying")
        enf = _load(options.file)
    if options.host_trial:
        host_trial.check(enf, options.file)
    if stamp is not None:
        _write(stamp, f"valid: {enf.size} bytes, {len(enf.commands)} commands\n".encode("ascii"))
    return 0


def _report(options: argparse.Namespace) -> int:
    paths = [p for p in (options.report, options.analyze_memory, options.chrome_trace) if p is not None]
    if not paths:
        raise CommandError(
            BAD_ARGUMENTS, "nothing to write, name a file: --report, --analyze-memory or --chrome-trace"
        )
    named = [options.file, options.json]
    for path in paths:
        if any(_same(path, other) for other in named):
            raise CommandError(
                BAD_ARGUMENTS, f"{path} is named twice: inputs and outputs must be different files"
            )
        named.append(path)
    enf = _load(options.file)
    from furiosa.enf.performance import analyze_enf
    from furiosa.enf.report import html, loaded, trace
    from furiosa.enf.report.program import of_enf

    try:
        with open(options.json, "rb") as f:
            content = loaded.parse(f.read(loaded.MAX_BYTES + 1), enf)
    except loaded.ReportError as e:
        raise CommandError(INVALID_FORMAT, f"{options.json}: {e}") from None
    except (OSError, ValueError) as e:
        raise CommandError(
            IO_ERROR, f"cannot read {options.json}: {getattr(e, 'strerror', None) or e}"
        ) from None
    program, performance = of_enf(enf), analyze_enf(enf)
    if options.report is not None:
        _write(options.report, html.page(program, performance, content))
    if options.analyze_memory is not None:
        _write(options.analyze_memory, html.memory_page(program, performance, content))
    if options.chrome_trace is not None:
        _write(options.chrome_trace, trace.chrome_trace(program, performance, content["model"]))
    return 0


def _same(path: str, other: str) -> bool:
    try:
        return os.path.realpath(path) == os.path.realpath(other)
    except ValueError:  # a null character: no file has such a name
        return False


def _write(path: str, content: bytes) -> None:
    """A whole file or none."""
    try:
        with outputs.replacing(path) as f:
            f.write(content)
    except OSError as e:
        raise CommandError(IO_ERROR, f"cannot write {path}: {e.strerror or e}") from None


def _diff(options: argparse.Namespace) -> int:
    from furiosa.enf import comparison

    result = comparison.compare(_load(options.a), _load(options.b))
    if options.json:
        import json

        _print([json.dumps(comparison.as_json(result), indent=2)])
    else:
        _print(comparison.text(result))
    return 0 if result.same else DIFFERENT


_COMMANDS = {"dump": _dump, "verify": _verify, "diff": _diff, "report": _report}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
