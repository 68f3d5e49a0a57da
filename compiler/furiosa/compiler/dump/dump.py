"""The dump of any of the textual IRs of a compilation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furiosa.compiler.pipeline import Compilation


def dump(compilation: Compilation, ir: str) -> Iterator[str]:
    """The lines, without line ends, of the IR ``ir`` ("dfg", "ldfg", "cdfg", "gir" or "lir") of a compilation that has reached it."""
    from furiosa.compiler.dump import graphs, programs

    c = compilation
    if ir == "dfg":
        return graphs.dfg(c.dfg)
    if ir == "ldfg":
        return graphs.ldfg(c.ldfg)
    if ir == "cdfg":
        return graphs.cdfg(c.ldfg.graph, c.cdfg)
    if ir == "gir":
        return programs.gir(c.gir, c.target)
    if ir == "lir":
        return programs.lir(c.lir, c.steps, c.target)
    raise ValueError(f"'{ir}' is not a textual IR")
