"""Where a model begins and ends: cuts at tensors that a user names, and where one could be cut that cannot be compiled whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from furiosa.compiler.errors import InvalidConfig
from furiosa.compiler.selection import Selection, argument, listed, names

_MAX_NAMES = 16  # at which a cut is proposed
# what a network is there for: no cut is proposed before them
_WEIGHTED = frozenset(
    [
        "Attention",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DequantizeLinear",
        "Einsum",
        "FusedConv",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
        "MatMulInteger",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
        "BATCH_MATMUL",
        "CONV_2D",
        "CONV_3D",
        "CONV_3D_TRANSPOSE",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "LSTM",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    ]
)


class Step(NamedTuple):
    """An operator as far as it matters here: the names of the tensors that it reads, subgraphs' too, and makes."""

    name: str
    op_type: str
    reads: Sequence[str]
    makes: Sequence[str]


class Part(NamedTuple):
    """A part of a model: its ``inputs`` and ``outputs``, the numbers of the ``steps`` between them, and which inputs are ``new``, made by
    a step of the whole model.  ``cut`` says what was cut: no names where the model's own ends are meant."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: list[int]
    new: tuple[str, ...]
    cut: Selection


def part(
    steps: Sequence[Step], own_inputs: Sequence[str], own_outputs: Sequence[str], chosen: Selection
) -> Part | None:
    """What lies between the chosen inputs and outputs; None where that is all of the model.

    Raises:
        InvalidConfig: a tensor that does not exist, or inputs and outputs that do not go together.
    """
    made = {name: i for i, step in enumerate(steps) for name in step.makes if name}
    known = [*own_inputs, *made]
    outputs = names("--outputs", chosen.outputs, known) or tuple(own_outputs)
    inputs = names("--inputs", chosen.inputs, known)
    if outputs == tuple(own_outputs) and (not inputs or inputs == tuple(own_inputs)):
        return None
    kept, read = needed(steps, made, outputs, inputs)
    own = tuple(n for n in own_inputs if n in read)
    if inputs:
        _check(inputs, own, read)
    cut = Selection(
        inputs=inputs if inputs != own else (), outputs=outputs if outputs != tuple(own_outputs) else ()
    )
    return Part(inputs or own, outputs, kept, tuple(n for n in inputs if n in made), cut)


def needed(
    steps: Sequence[Step], made: Mapping[str, int], outputs: Iterable[str], ends: Sequence[str]
) -> tuple[list[int], set[str]]:
    """The steps that the outputs depend on, not beyond ``ends``, and all names that they and the outputs read."""
    kept: set[int] = set()
    read: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name in read:
            continue
        read.add(name)
        i = made.get(name)
        if name not in ends and i is not None and i not in kept:
            kept.add(i)
            waiting += steps[i].reads
    return sorted(kept), read


def _check(inputs: Sequence[str], own: Sequence[str], read: set[str]) -> None:
    missing = [n for n in own if n not in inputs]
    if missing:
        raise InvalidConfig(
            f"--inputs leaves out {listed(missing)}, on which the outputs depend, too: name {'them' if missing[1:] else 'it'} "
            "as well, or a tensor behind"
        )
    idle = [n for n in inputs if n not in read]
    if idle:
        raise InvalidConfig(f"--inputs: no output depends on {listed(idle)}")


def proposal(
    outputs: Sequence[str], steps: Sequence[Step], can_cross: Callable[[str], bool], fixed: set[str]
) -> str:
    """Where the model can be cut so that every output can be handed over, as an option to paste; empty where nowhere.

    Args:
        steps: what the outputs depend on, in order.
        fixed: the names of inputs and constants.
    """

    def ends(name: str) -> bool:
        return name in fixed or can_cross(name)

    good = [name for name in outputs if ends(name)]
    bad = [name for name in outputs if name not in good]
    cut = _cut(bad, steps, ends, fixed)
    if not cut:
        return ""
    found = list(dict.fromkeys([*good, *cut]))
    texts = found if any("," in name for name in found) else [",".join(found)]
    option = " ".join(argument("--outputs", text) for text in texts)
    return f"; end the model before it: {option} (Bazel and compile_config: outputs = {json.dumps(found, ensure_ascii=False)})"


def _cut(
    bad: Sequence[str], steps: Sequence[Step], ends: Callable[[str], bool], fixed: set[str]
) -> list[str]:
    """Tensors that can be handed over and on which these outputs depend, in the order in which they are read first.

    They are those right before what cannot be handed over, or, where these are many, such as parts of one tensor, fewer ones
    before them, up to what computes with weights.
    """
    cut = {n for step in above(steps, bad, ends) for n in step.reads if n not in fixed and ends(n)}
    best = cut
    for step in reversed(steps) if len(cut) > _MAX_NAMES else ():
        if not cut.intersection(step.makes):
            continue
        if step.op_type in _WEIGHTED:
            break
        cut = (cut - set(step.makes)) | {n for n in step.reads if n not in fixed}
        if len(cut) < len(best) and all(map(ends, cut)):
            best = cut
    if len(best) > _MAX_NAMES:
        return []
    return list(dict.fromkeys(n for step in steps for n in step.reads if n in best))


def above(steps: Sequence[Step], outputs: Sequence[str], ends: Callable[[str], bool]) -> list[Step]:
    """The steps that these outputs depend on, up to tensors at which that ends; in the order of the model."""
    wanted = set(outputs)
    found = []
    for step in reversed(steps):
        if wanted.intersection(step.makes):
            found.append(step)
            wanted.update(n for n in step.reads if not ends(n))
    return found[::-1]
