"""How large a model may be: what a file declares or unfolds to is bounded before any of it is made."""

from __future__ import annotations

from furiosa.compiler.errors import InvalidModel

MOST_OPERATORS = 1 << 17  # compile in some minutes and less than 2 GB
BEYOND = 1 << 28  # bytes that a file may unfold to, beyond four times its own


def check_operators(count: int, where: str = "with those of functions and of graphs in operators") -> None:
    """Raises:
    InvalidModel: there are more operators than a model may have.
    """
    if count > MOST_OPERATORS:
        raise InvalidModel(
            f"the model has {_number(count)} operators, {where}; the limit is {MOST_OPERATORS}: split the model"
        )


def check_unfolded(nbytes: int, own: int, what: str) -> None:
    """Checks what a file of ``own`` bytes unfolds to.

    Raises:
        InvalidModel: it is more than the file gives reason for.
    """
    most = 4 * own + BEYOND
    if nbytes > most:
        raise InvalidModel(f"{what} would take {_number(nbytes)} bytes; for this file the limit is {most}")


def _number(n: int) -> str:
    """Also one of very many digits."""
    return str(n) if n < 10**15 else f"10^{len(str(n)) - 1}"
