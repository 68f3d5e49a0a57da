"""What may cross the border of a model or of a host cluster: dense tensors whose size is known beforehand."""

from __future__ import annotations

from collections.abc import Iterable

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.enf.dtypes import CODE

# bfloat16 has a code, the vendor's, but no array that a user could hand over
_CROSSING = CODE.keys() - {"bfloat16"}


def check_borders(tensors: Iterable[Tensor], what: str, instead: str = "") -> None:
    """Checks that tensors can be handed over as bytes.

    Args:
        what: begins the sentence of the error ("the input").
        instead: ends it.

    Raises:
        InvalidModel: one is of another kind.
    """
    for t in tensors:
        if not can_cross(t.dtype):
            raise InvalidModel(
                f'{what} "{t.name}" is of type {t.dtype}, but only dense numbers of NumPy\'s types can be handed over: '
                f"keep it inside of the model's operators{instead}"
            )


def can_cross(dtype: str) -> bool:
    """Whether a dtype of the dfg is one of dense numbers, of a type that NumPy has."""
    return dtype in _CROSSING
