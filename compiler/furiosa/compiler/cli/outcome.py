"""How a command that compiles ends: as every command, with the model's name before what is wrong with it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from furiosa.compiler.errors import CompileError, IoError
from furiosa.enf import command

INTERNAL_ERROR = "internal compiler error"


def run(
    prog: str, parse: Callable[[list[str]], Namespace], work: Callable[[Namespace], None], argv: list[str]
) -> int:
    """Parses the arguments and does the work on what they say, which has ``source``.

    Returns:
        0; 255 for arguments that cannot be used; else a native code, see furiosa.compiler.errors.
    """
    source = None

    def parsed(given: list[str]) -> None:
        nonlocal source
        options = parse(given)
        source = options.source
        try:
            work(options)
        except IoError:  # names its file
            raise
        except CompileError as e:
            raise command.CommandError(e.exit_code, f"{source}: {e}") from e

    return command.run(parsed, prog, argv, internal_error=INTERNAL_ERROR, subject=lambda: source)
