"""The command ``furiosa``: finds the sub-command and runs it.  Nothing is imported that the sub-command does not need, and
before signals are seen to, next to nothing at all.
"""

from __future__ import annotations

import gc
import sys

from furiosa.enf import leaving

# sub-command -> (module, function taking the arguments and returning the exit status, line for -h)
COMMANDS = {
    "compile": ("furiosa.compiler.cli.compile", "main", "compile a TFLite or ONNX model to an ENF"),
    "enf": ("furiosa.enf.cli", "main", "dump, verify, compare or report on ENF files"),
    "bundle": ("furiosa.runtime.cli", "bundle_main", "verify, list, unpack or run a bundle of ENF files"),
    "compare": (
        "furiosa.runtime.compare.cli",
        "main",
        "compare a model with its reference runtime, layer by layer",
    ),
    "accuracy": (
        "furiosa.runtime.accuracy.cli",
        "main",
        "measure a model on labelled samples, beside the float model",
    ),
    "calibrate": (
        "furiosa.quantizer.cli.commands",
        "calibrate_main",
        "run a float model over samples and count the values of its tensors",
    ),
    "quantize": (
        "furiosa.quantizer.cli.commands",
        "quantize_main",
        "quantise a float model to int8, for the NPU",
    ),
    "tune": ("furiosa.compiler.tune.cli", "main", "predict latency and throughput for many batch sizes"),
    "bench": ("furiosa.runtime.bench.cli", "main", "run a model many times and say how long it takes"),
    "run": ("furiosa.runtime.cli", "run_main", "run a model in the NPU simulator"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs ``furiosa ARGV…`` and returns its exit status; ``argv`` is ``sys.argv[1:]`` where it is left out."""

    if argv is None:
        leaving.on_signals()
    from furiosa.enf import command

    def chosen(given: list[str]) -> int:
        return _dispatch(_expand(given))

    first = (sys.argv[1:] if argv is None else argv)[:1]
    status = command.run(chosen, " ".join(["furiosa", *(n for n in first if n in COMMANDS)]), argv)
    if argv is None:  # the process ends now: its objects need not be searched for garbage once more
        gc.freeze()
    return status


def compile_main() -> int:
    """The command ``furiosa-compile``, the same as ``furiosa compile``."""
    sys.argv.insert(1, "compile")
    return main()


def bench_main() -> int:
    """The command ``furiosa-bench``, the same as ``furiosa bench``."""
    sys.argv.insert(1, "bench")
    return main()


def _dispatch(argv: list[str]) -> int:
    name = argv[0] if argv else None
    if "--persistent_worker" in argv:  # Bazel starts the compiler once for many actions
        from furiosa.compiler.worker import server

        return server.main(main, [a for a in argv if a != "--persistent_worker"])
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if name == "--version":
        from furiosa.compiler.cli.compile import version

        sys.stdout.write(version())
        return 0
    from furiosa.enf.command import BAD_ARGUMENTS, CommandError

    if name is None:
        raise CommandError(
            BAD_ARGUMENTS, f"no command is given, one of: {', '.join(COMMANDS)}; see furiosa -h"
        )
    if name not in COMMANDS:
        raise CommandError(
            BAD_ARGUMENTS, f"unknown command '{name}', known: {', '.join(COMMANDS)}; see furiosa -h"
        )
    path, function, _ = COMMANDS[name]
    module = __import__(path, fromlist=[function])
    return getattr(module, function)(argv[1:])


def _help() -> str:
    rows = "".join(f"  {name:10}{line}\n" for name, (_, _, line) in COMMANDS.items())
    return (
        "usage: furiosa COMMAND [ARGUMENT…]\n\n"
        f"{rows}\n"
        "  -h, --help  this text, or after a command what it takes\n"
        "  --version   the version of the compiler and of the ENF format\n"
        "  @FILE       stands for the arguments in FILE, one a line\n"
    )


def _expand(argv: list[str]) -> list[str]:
    """Replaces each ``@FILE`` by the lines of FILE, as build tools write long command lines; lines are taken as they are."""
    from furiosa.enf.command import BAD_ARGUMENTS, CommandError

    out = []
    for argument in argv:
        if not argument.startswith("@"):
            out.append(argument)
            continue
        try:
            with open(argument[1:], encoding="utf-8", errors="surrogateescape", newline="\n") as f:
                text = f.read()
        except (OSError, ValueError) as e:
            raise CommandError(
                BAD_ARGUMENTS,
                f"cannot read the argument file {argument[1:]}: {getattr(e, 'strerror', None) or e}",
            ) from None
        out += text.removesuffix("\n").split("\n") if text else []
    return out


if __name__ == "__main__":
    sys.exit(main())
