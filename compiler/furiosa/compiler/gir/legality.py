"""What the gir of an NPU cluster must be.

- Every work is an instruction of the table, on an engine that the table allows and the target has.
- Its operands have the rank, element type and memory that the table asks for, and lie within their buffers.
- It has exactly the instruction's parameters.
- A buffer in SRAM lives from its first to its last use; what is resident is only read.
"""

from __future__ import annotations

from furiosa.compiler.dfg.legality import Illegal
from furiosa.compiler.gir.tile import Buffer, View, Work
from furiosa.compiler.lir.segment import Segment
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import BY_NAME, Operand, Space
from furiosa.enf.target import Target


def check(segment: Segment, target: Target) -> None:
    """Checks the rules above.

    Raises:
        Illegal: a rule is broken.
    """
    uses: dict[Buffer, tuple[int, int]] = {}
    for i, w in enumerate(segment.works):
        try:
            _check_work(w, target)
        except _Broken as e:
            raise Illegal("gir", f"work {i} ({w.instruction} for '{w.operator.name}'): {e}") from None
        if w.operands[-1].buffer.is_resident:
            raise Illegal("gir", f"work {i} ({w.instruction}) writes to '{w.operands[-1].buffer.name}'")
        for v in w.operands:
            if v.buffer.space == Space.SRAM and not v.buffer.is_resident:
                uses[v.buffer] = (uses.get(v.buffer, (i, i))[0], i)
    lives = {x.buffer: (x.first, x.last) for x in segment.lifetimes}
    if lives != uses:
        wrong = next(b for b in {**lives, **uses} if lives.get(b) != uses.get(b))
        raise Illegal("gir", f"buffer '{wrong.name}' lives {lives.get(wrong)} and is used {uses.get(wrong)}")


class _Broken(Exception):
    """The rule that a work breaks, in a sentence."""


def _check_work(w: Work, target: Target) -> None:
    row = BY_NAME.get(w.instruction)
    if row is None:
        raise _Broken("there is no such instruction")
    if w.engine not in row.engines:
        raise _Broken(f"it cannot run on engine {w.engine}")
    if len(w.operands) != len(row.operands) or tuple(w.params) != row.param_names:
        raise _Broken(f"it has {len(w.operands)} operands and the parameters {', '.join(w.params)}")
    for view, spec in zip(w.operands, row.operands):
        _check_view(view, spec)


def _check_view(v: View, spec: Operand) -> None:
    if len(v.shape) != spec.rank or len(v.strides) != spec.rank:
        raise _Broken(f"operand {spec.name} has the rank {len(v.shape)}, not {spec.rank}")
    if v.dtype not in spec.dtypes or v.buffer.space not in spec.spaces:
        raise _Broken(f"operand {spec.name} is {v.dtype} in {Space.NAMES[v.buffer.space]}")
    end = v.offset + ITEMSIZE[v.dtype]
    for d, s in zip(v.shape, v.strides):
        if d < 1 or s < 0:
            raise _Broken(f"operand {spec.name} has the shape {v.shape} and the strides {v.strides}")
        end += (d - 1) * s
    if v.offset < 0 or end > v.buffer.size:
        raise _Broken(
            f"operand {spec.name} ends at byte {end} of '{v.buffer.name}', which has {v.buffer.size}"
        )
