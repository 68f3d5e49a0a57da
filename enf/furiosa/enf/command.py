"""How every command of this project ends: an exit code of docs/cli.md, and one line on stderr where it fails.

A sentence for the user is an exception with an ``exit_code``.  Any other exception is an internal error: it is told in one
line as well, with where it happened and the request to report it; the traceback is for who asks with ``-v``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TextIO

from furiosa.enf.errors import printable

# exit codes, after the vendor's public list of native codes
DIFFERENT = 1  # as diff(1): the files differ, a limit is not kept
IO_ERROR = 2
INVALID_FORMAT = 4
INVALID_MODEL = 5
OTHER = 13  # an internal error, no memory left, a Python package missing
INTERRUPTED = 128 + 2  # as shells have it for SIGINT
READER_GONE = 128 + 13  # for SIGPIPE
BAD_ARGUMENTS = 255

INTERNAL_ERROR = "internal error"
PLEASE_REPORT = "please report it to the maintainers of furiosa_rules, with the model and what -v shows"
MAX_LINE = 4000  # characters: an error may name options to be pasted, with the names of a model's tensors
MAX_DETAIL = 150  # characters of another library's message in one of ours
VERBOSE = ("-v", "--verbose")


class CommandError(Exception):
    """A command ends with ``exit_code`` and this sentence."""

    def __init__(self, exit_code: int, sentence: str):
        super().__init__(sentence)
        self.exit_code = exit_code


class Parser(argparse.ArgumentParser):
    """A parser that raises where argparse would end the process, with the option ``-v`` that every command has.

    Raises:
        CommandError: the arguments cannot be used.
    """

    verbose_help = "show the traceback of an internal error"

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.add_argument(*VERBOSE, action="store_true", help=self.verbose_help)

    def error(self, message: str) -> NoReturn:
        raise CommandError(BAD_ARGUMENTS, f"{message}; see {self.prog} -h")


def run(
    command: Callable[[list[str]], int | None],
    prog: str,
    argv: Sequence[str] | None,
    *,
    internal_error: str = INTERNAL_ERROR,
    subject: Callable[[], str | None] = lambda: None,
) -> int:
    """Runs a command and tells in one line on stderr why it fails.

    Args:
        command: takes the arguments and returns an exit code, None for 0.
        prog: what the user has called, e.g. "furiosa enf".
        argv: the arguments; None for those of the process.
        internal_error: what to call one.
        subject: the file that it may be about.

    Returns:
        The exit code; for OSError 2, unless it has an ``exit_code``.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        _open_streams()
        # names may hold what the terminal's encoding does not know
        if getattr(sys.stdout, "errors", None) == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")
        status = command(given) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a reader that has gone can still be told from other errors
        return status
    except SystemExit as e:  # of argparse, after -h
        return e.code if isinstance(e.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `furiosa … | head`: whoever reads has seen enough
        _abandon(sys.stdout)
        return READER_GONE
    except BaseException as e:  # noqa: BLE001  whatever it is, it is told
        status, sentence = _told(e, prog, internal_error)
        if isinstance(e, OSError):
            _abandon(sys.stdout)
        elif not hasattr(e, "exit_code"):
            if any(a in VERBOSE for a in given):
                _print_traceback(e)
            if subject() is not None:
                sentence = f"{subject()}: {sentence}"
    error(sentence)
    return status


def error(sentence: str) -> None:
    """One line ``ERROR: …`` on stderr."""
    say(f"ERROR: {sentence}")


def say(line: str) -> None:
    """One line on stderr, what cannot be printed escaped."""
    _to_stderr(f"{printable(line, MAX_LINE)}\n")


def internal(e: BaseException, what: str = INTERNAL_ERROR) -> str:
    """The sentence for an exception that nobody has foreseen."""
    text = str(e).strip()[:MAX_DETAIL]
    return f"{what}, {type(e).__name__}{f' ({text})' if text else ''}{_place(e)}; {PLEASE_REPORT}"


def no_memory() -> str:
    """What to do about too little memory."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return "not enough memory: free some, or use a smaller batch"
    return (
        f"not enough memory within the limit of {limit >> 20:,} MiB that this process has: raise it, "
        "or use a smaller batch"
    )


def _told(e: BaseException, prog: str, internal_error: str) -> tuple[int, str]:
    code = getattr(e, "exit_code", None)
    if code is not None:
        return code, getattr(e, "message", None) or str(e)
    if isinstance(e, MemoryError):
        return OTHER, no_memory()
    if isinstance(e, OSError):
        return IO_ERROR, _io(e)
    if isinstance(e, RecursionError):
        return OTHER, f"what it was given is nested too deeply{_place(e)}"
    if isinstance(e, ModuleNotFoundError) and e.name:
        return OTHER, f"'{prog}' needs the Python package {e.name}, which is not installed"
    if isinstance(e, ImportError):
        return OTHER, f"'{prog}' cannot load the Python package {e.name or '?'}: {e}"
    return OTHER, internal(e, internal_error)


def _io(e: OSError) -> str:
    reason = e.strerror or str(e) or type(e).__name__
    name = os.fsdecode(e.filename) if isinstance(e.filename, bytes) else e.filename
    return f"{name}: {reason}" if name else f"cannot write the output: {reason}"


def _place(e: BaseException) -> str:
    """Where in this project's code it happened: " in furiosa/enf/reader.py, line 66"."""
    place = ""
    traceback = e.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        at = file.rfind(f"{os.sep}furiosa{os.sep}")
        if at >= 0 and file != _place.__code__.co_filename:
            place = f" in {file[at + 1 :]}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _print_traceback(e: BaseException) -> None:
    import traceback

    _to_stderr("".join(traceback.format_exception(e)))


def _open_streams() -> None:
    """Opens the standard streams that the caller has closed, to nowhere: else the first files that are opened would be taken for
    them, and hold what libraries print.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _to_stderr(text: str) -> None:
    """Writes; that nobody reads it is no reason to fail."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # full, gone, closed, or never there
        _abandon(sys.stderr)


def _abandon(stream: TextIO | None) -> None:
    """What is still buffered goes nowhere, so that leaving the interpreter does not fail once more."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # no stream at all
        pass
