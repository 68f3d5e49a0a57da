"""What may cross the border of a model or of a host cluster: dense tensors whose size is known beforehand."""

from __future__ import annotations

from collections.abc import Iterable

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import InvalidModel

# dtypes of the dfg that stand for values of no fixed size, or for state
_INTERNAL = frozenset({"map", "optional", "resource", "sequence", "sparse", "string", "variant"})


def check_borders(tensors: Iterable[Tensor], what: str) -> None:
    """Checks that tensors can be handed over as bytes.

    Args:
        what: begins the sentence of the error ("the input").

    Raises:
        InvalidModel: one is of another kind.
    """
    for t in tensors:
        if t.dtype in _INTERNAL:
            raise InvalidModel(
                f'{what} "{t.name}" is of type {t.dtype}, but only dense numbers can be handed over: '
                f"keep it inside of the model's operators"
            )
