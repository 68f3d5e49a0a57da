"""How a command that compiles ends: 0, or a sentence on stderr and a native code."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from furiosa.compiler.cli import terminal
from furiosa.compiler.errors import CompileError, IoError

OTHER = 13  # the native code for what has no code of its own


def run(command: Callable[[Namespace], None], options: Namespace) -> int:
    """Runs a command on its parsed options, which have ``source`` and ``verbose``.

    Returns:
        0, or a native code, see furiosa.compiler.errors.
    """
    try:
        command(options)
        return 0
    except IoError as e:  # names its file
        terminal.error(str(e))
        return e.code
    except CompileError as e:
        terminal.error(f"{options.source}: {e}")
        return e.code
    except MemoryError:
        terminal.error(
            f"{options.source}: not enough memory to compile it{_memory_limit()}, or use a smaller batch"
        )
        return OTHER
    except Exception as e:  # noqa: BLE001  a defect: one sentence too, and the traceback for who asks
        if options.verbose:
            import traceback

            traceback.print_exc()
        terminal.error(
            f"{options.source}: a defect of the compiler, {type(e).__name__} ({e}); -v shows where"
        )
        return OTHER


def _memory_limit() -> str:
    """What to do about too little memory."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return ": free some"
    return f" within the limit of {limit >> 20:,} MiB that this process has: raise it"
