"""A form: one instruction over the output of an operator, or a part of it, and how it can be cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.gir.tile import Box, Holder, View

Params = dict[str, int | float]


class Read(NamedTuple):
    """An operand: a box of a tensor seen with ``shape``.

    Of each dimension of the box every ``steps``-th element is taken; the view is then permuted by ``perm`` and stretched
    to ``broadcast``.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    box: Box
    perm: tuple[int, ...] | None = None
    broadcast: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None


@dataclass(slots=True)
class Form:
    """``shape`` is what is iterated over; the output tensor is seen with ``out_shape``, written from ``out_origin`` on,
    every ``out_step``-th element of each dimension.

    ``bands`` are the dimensions to cut over time, in order of preference; ``granularity`` gives the multiple that a cut of a
    dimension must keep.
    """

    instruction: str
    output: Tensor
    shape: tuple[int, ...]
    operands: Callable[[Box], tuple[list[Read], Params]]
    bands: tuple[int, ...]
    granularity: dict[int, int]
    out_shape: tuple[int, ...]
    out_origin: tuple[int, ...]
    is_copy: bool = False
    out_step: tuple[int, ...] = ()  # empty: every element

    def place(self, holder: Holder, box: Box) -> View:
        """Where a box of the form lies in the output, of which ``holder`` has the whole."""
        step = self.out_step or (1,) * len(box)
        view = holder.view(
            tuple((origin + start * s, size) for (start, size), origin, s in zip(box, self.out_origin, step))
        )
        view.strides = tuple(stride * s for stride, s in zip(view.strides, step))
        return view


def make_form(
    instruction: str, output: Tensor, shape: tuple[int, ...], operands: Callable, **more: object
) -> Form:
    out_shape = more.pop("out_shape", shape)
    origin = more.pop("out_origin", (0,) * len(shape))
    return Form(
        instruction,
        output,
        shape,
        operands,
        more.pop("bands", (1, 2, 3)),
        more.pop("granularity", {}),
        out_shape,
        origin,
        **more,
    )
