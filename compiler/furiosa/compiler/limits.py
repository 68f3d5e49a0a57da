"""How large a model, and what is made of it, may be: bounds of what a small file could otherwise unfold to."""

from __future__ import annotations

from furiosa.compiler.errors import InvalidModel

MOST_OPERATORS = 1 << 18  # of the file's
MOST_LOWERED = 1 << 16  # of the NPU, at some 30 KB each
MOST_COMMANDS = 1 << 19  # of the NPU; the format of ENFs takes twice as many
BEYOND = 1 << 28  # bytes that something may take beyond four times those of the model


class TooLarge(InvalidModel):
    """A model, or what would be made of it, beyond the limits."""


def check_operators(count: int) -> None:
    """Checks the number of operators of a model, those of functions and of graphs in operators included.

    Raises:
        TooLarge: there are too many.
    """
    if count > MOST_OPERATORS:
        raise TooLarge(
            f"the model has {_number(count)} operators, with those of functions and of graphs in operators; the limit is "
            f"{MOST_OPERATORS}: split the model"
        )


def check_lowered(count: int) -> None:
    """Checks the number of operators for the NPU.

    Raises:
        TooLarge: there are too many.
    """
    if count > MOST_LOWERED:
        raise TooLarge(f"the NPU would run {count} operators; the limit is {MOST_LOWERED}: split the model")


def check_commands(count: int) -> None:
    """Checks the number of commands for the NPU.

    Raises:
        TooLarge: there are too many.
    """
    if count > MOST_COMMANDS:
        raise TooLarge(
            f"the program would have {count} commands or more; the limit is {MOST_COMMANDS}: split the model, or use a smaller "
            "batch or smaller tensors"
        )


def check_bytes(nbytes: int, own: int, what: str) -> None:
    """Checks the size of what is made of a model of ``own`` bytes.

    Raises:
        TooLarge: it is more than the model gives reason for.
    """
    most = 4 * own + BEYOND
    if nbytes > most:
        raise TooLarge(f"{what} would take {_number(nbytes)} bytes; for this model the limit is {most}")


def _number(n: int) -> str:
    """A number that may have very many digits."""
    return str(n) if n < 10**15 else f"10^{len(str(n)) - 1}"
