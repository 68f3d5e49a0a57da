"""The search of ``--auto-batch-size``: the batch size with the best predicted throughput within the card's memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from furiosa.compiler.errors import CompileError
from furiosa.compiler.model_files import ModelFiles
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.compiler.tune.point import Point, best, measure

CANDIDATES = (1, 2, 4, 8, 16, 32, 64)
PATIENCE = 2  # candidates in a row that are no better than the best so far
MAX_COMMANDS = 1 << 17  # of a program, beyond which no larger batch is tried: bounds the time of the search


@dataclass(slots=True)
class Choice:
    """The batch size, what was tried in order, and why no larger one was: a sentence, which ``is_refused`` says to be that
    of the model or the machine."""

    batch_size: int
    tried: list[Point]
    ended: str
    is_refused: bool = False


def choose(
    data: bytes,
    options: Options,
    *,
    files: ModelFiles | None = None,
    tell: Callable[[Point], None] = lambda point: None,
) -> Choice:
    """Compiles for growing batch sizes until throughput no longer grows, or one is refused.

    Of equal throughputs (see ``best``) the smaller batch is taken.  Nothing but the model, the options and the timing model decides.

    Args:
        data: the model file.
        options: whose batch size is left out of account.
        files: as in Compilation.
        tell: is told of each point.

    Raises:
        CompileError: the model cannot be compiled for a batch of 1 either.
    """
    tried: list[Point] = []
    for size in CANDIDATES:
        try:
            compilation = Compilation(data, replace(options, batch_size=size), files=files).run("lir")
        except CompileError as e:
            if not tried:
                raise
            return _chosen(tried, str(e), is_refused=True)
        point = measure(compilation)
        if tried and not point.fits_dram:
            why = compilation.beyond_dram or "the card's DRAM does not hold a program for each PE"
            return _chosen(tried, f"with {size}, {why}", is_refused=True)
        tried.append(point)
        tell(point)
        since = len(tried) - 1 - tried.index(best(tried))
        if since == PATIENCE:
            return _chosen(tried, f"throughput did not grow in {PATIENCE} steps")
        if len(compilation.lir.commands) > MAX_COMMANDS:
            return _chosen(tried, f"the program has more than {MAX_COMMANDS} commands")
    return _chosen(tried, f"{CANDIDATES[-1]} is the largest that is tried")


def _chosen(tried: list[Point], ended: str, *, is_refused: bool = False) -> Choice:
    return Choice(best(tried).batch_size, tried, ended, is_refused)
