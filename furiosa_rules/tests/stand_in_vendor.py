"""Stands in for the vendor's compilers.  It compiles nothing: it checks that it is called as the vendor documents, and writes what it
was asked for, in JSON, in the place of the ENF.

The variable STAND_IN_FOR names the command.  The options are those of the vendor's documentation: `furiosa compile -h` of
SDK 0.6.3, and software/compiler of the documentation of SDK 0.10.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

BAD_ARGUMENTS = 255
SOURCES = (".onnx", ".tflite", ".dfg", ".cdfg", ".gir", ".lir")
COMMANDS = ("furiosa-compiler", "furiosa-compile", "furiosa compile")


class Refused(Exception):
    """The call is not as documented."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(message)


def parser(command: str) -> argparse.ArgumentParser:
    """The documented options of a command, and no others."""
    p = _Parser(prog=command, allow_abbrev=False)
    p.add_argument("source")
    for flag in ("--target-ir", "--dot-graph", "--analyze-memory"):
        p.add_argument(flag)
    p.add_argument("--target-npu", choices=("warboy", "warboy-2pe"), default="warboy-2pe")
    p.add_argument("-v", "--verbose", action="store_true")
    if command == "furiosa-compiler":
        p.add_argument("-o", "--output")
        p.add_argument("-b", "--batch-size", type=int, default=1)
        p.add_argument("--no-cache", action="store_true")
        p.add_argument("-V", "--version", action="store_true")
    else:
        p.add_argument("-o", dest="output", default="output.enf")
        p.add_argument("--batch-size", type=int, default=1)
        for flag in ("--auto-batch-size", "--split-after-lower", "--version", "--description"):
            p.add_argument(flag, action="store_true")
        p.add_argument("-ga", "--genetic-optimization")
    return p


def check(command: str, argv: list[str]) -> argparse.Namespace:
    """The options of a call.

    Raises:
        Refused: the command has no such option, or the call is not one of a build system.
    """
    if command not in COMMANDS:
        raise Refused(f"STAND_IN_FOR is '{command}', not one of {', '.join(COMMANDS)}")
    if command == "furiosa compile":
        if argv[:1] != ["compile"]:
            raise Refused("the first argument is not `compile`")
        argv = argv[1:]
    absolute = [a for a in argv if a.startswith("/")]
    if absolute:
        raise Refused(f"{absolute[0]} is an absolute path")
    options = parser(command).parse_args(argv)
    if not options.source.endswith(SOURCES):
        raise Refused(f"{options.source} is none of {', '.join(SOURCES)}")
    if not options.output:
        raise Refused("no output is named")
    return options


def main() -> int:
    command = os.environ.get("STAND_IN_FOR", "")
    try:
        options = check(command, sys.argv[1:])
        if "HOME" in os.environ:
            raise Refused("HOME is in the environment")
        with open(options.source, "rb"):
            pass
    except (Refused, OSError) as e:
        sys.stderr.write(f"ERROR: {command}: {e}\n")
        return BAD_ARGUMENTS
    seen = {
        "command": command,
        "source": os.path.basename(options.source),
        "target_npu": options.target_npu,
        "batch_size": options.batch_size,
        "verbose": options.verbose,
        "no_cache": getattr(options, "no_cache", None),
    }
    Path(options.output).write_text(json.dumps(seen), encoding="ascii")
    if options.dot_graph:
        Path(options.dot_graph).write_text("digraph {}\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
