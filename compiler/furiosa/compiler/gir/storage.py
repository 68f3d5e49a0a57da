"""Which tensors share bytes, how long they are needed, and which of them stay in SRAM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.enf.dtypes import ITEMSIZE


@dataclass(slots=True, eq=False)
class Storage:
    """The bytes behind one or more tensors of a cluster (a reshape only renames them).

    Needed from operator ``first`` to operator ``last`` (places in the cluster); ``size`` in bytes.
    """

    name: str
    size: int
    first: int
    last: int
    tensors: list[Tensor] = field(default_factory=list)


def storages(cluster: Cluster) -> dict[Tensor, Storage]:
    """The storage of each tensor of an NPU cluster that is not a constant."""
    out: dict[Tensor, Storage] = {}
    for place, op in enumerate(cluster.operators):
        for t in op.inputs:
            if t is None or t.is_constant:
                continue
            if t not in out:  # an input of the cluster
                out[t] = Storage(t.name, t.size * ITEMSIZE[t.dtype], place, place, [t])
            out[t].last = max(out[t].last, place)
        y = op.outputs[0]
        x = op.inputs[0]
        if op.op_type == "npu.reshape" and not x.is_constant:
            out[y] = out[x]
            out[y].tensors.append(y)
        else:
            out[y] = Storage(y.name, y.size * ITEMSIZE[y.dtype], place, place, [y])
    return out


def live_bytes(tensors: Iterable[Storage], first: int, last: int) -> list[int]:
    """Bytes of the given storages that are needed at each of the operators from ``first`` to ``last``."""
    change = [0] * (last - first + 2)
    for s in tensors:
        start, end = max(s.first, first), min(s.last, last) + 1
        if start < end:
            change[start - first] += s.size
            change[end - first] -= s.size
    return list(accumulate(change[:-1]))


def constants(op: Operator) -> list[Tensor]:
    """The constants that an operator reads."""
    return [t for t in op.inputs if t is not None and t.is_constant]


def constant_bytes(op: Operator) -> int:
    return sum(t.size * ITEMSIZE[t.dtype] for t in constants(op))
