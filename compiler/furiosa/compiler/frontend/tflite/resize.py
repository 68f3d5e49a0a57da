"""The shapes of all tensors of a TFLite model whose inputs are resized, and the values that follow from shapes alone.

LiteRT says them, operator by operator, in a process of its own (``resizing``): its native code reads a model that may come from a stranger.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np

from furiosa.compiler.errors import InvalidModel, IoError
from furiosa.compiler.frontend import ends
from furiosa.compiler.frontend.borders import can_cross
from furiosa.compiler.frontend.ends import Step
from furiosa.compiler.frontend.tflite.raw import type_name
from furiosa.compiler.frontend.tflite.select import Part, dtype_name, placeholder
from furiosa.compiler.selection import MAX_RANK, MAX_SIZE, Shape
from furiosa.enf import interpreter, leaving

SECONDS = 300  # of processor time that LiteRT may take for all operators
DYING = 2.0  # seconds that its process has to end after its last answer
MAX_ANSWER = 1 << 24  # bytes for one operator
# what a new interpreter runs
_CODE = "from furiosa.compiler.frontend.tflite.resizing import main; main(*map(int, sys.argv[1:]))"


class Result(NamedTuple):
    """What an operator makes: a shape for each result, None where it depends on values; and the bytes of those that no input changes."""

    shapes: list[Shape | None]
    values: list[bytes | None]


def resize(part: Part) -> None:
    """Gives all tensors of a part the shapes that follow from those of its inputs; what follows from shapes alone becomes constant.

    A result of an operator whose shape depends on values is left as it is stated: it may lie between operators that run together on the
    host.

    Raises:
        InvalidModel: LiteRT refuses an operator with these shapes, or an output's shape depends on values.
    """
    results = dict(_ask(part))
    unknown = part.source.open
    operators = []
    buffers = part.source.model["buffers"]
    for index, shape in part.shapes.items():
        _state(part, index, shape)
    for number, op in part.operators:
        result = results[number]
        for i, shape, value in zip(op["outputs"].tolist(), result.shapes, result.values, strict=True):
            if shape is None:
                unknown.add(i)
                _state(part, i, placeholder(part.tables[i]))
                continue
            _state(part, i, shape)
            if value is not None:
                part.tables[i]["buffer"] = len(buffers)
                buffers.append({"data": np.frombuffer(value, np.uint8), "offset": 0, "size": 0})
        if any(value is None for value in result.values):
            operators.append((number, op))
    _check_outputs(part, unknown)
    part.operators = operators


def shapes_of(part: Part) -> dict[int, Shape | None]:
    """The shapes of results of a part whose inputs have ``part.shapes``, by number, and nothing is changed; raises as ``resize``."""
    results = dict(_ask(part))
    return {
        i: shape
        for number, op in part.operators
        for i, shape in zip(op["outputs"].tolist(), results[number].shapes, strict=True)
    }


def _state(part: Part, index: int, shape: Shape) -> None:
    part.tables[index] |= {"shape": np.array(shape, np.int32), "shape_signature": np.empty(0, np.int32)}


def _check_outputs(part: Part, unknown: set[int]) -> None:
    """Refuses outputs whose shape depends on values, and says where the model can end instead."""
    outputs = [i for _, i in part.entry.outputs]
    first = next((i for i in outputs if i in unknown), None)
    if first is None:
        return
    kinds = [type_name(part.source.model, op) for _, op in part.operators]
    steps = [step._replace(op_type=kind) for step, kind in zip(part.steps(), kinds, strict=True)]
    number = {name: i for i, name in enumerate(part.names)}
    made = {name for step in steps for name in step.makes}

    def crosses(name: str) -> bool:
        return number[name] not in unknown and can_cross(dtype_name(part.tables[number[name]]))

    reason = next(
        s for s in steps if any(number[n] in unknown for n in s.makes) and _reads_known(s, number, unknown)
    )
    fixed = {n for n in part.names if n not in made}
    names = [part.names[i] for i in outputs]
    on = "how its subgraphs run" if reason.op_type in ("IF", "WHILE") else "values"
    raise InvalidModel(
        f'the output "{part.names[first]}" has a shape that is not known before the model runs: operator "{reason.name}" '
        f"({reason.op_type}) makes a tensor whose shape depends on {on}{ends.proposal(names, steps, crosses, fixed)}"
    )


def _reads_known(step: Step, number: dict[str, int], unknown: set[int]) -> bool:
    return all(number[n] not in unknown for n in step.reads)


# -- the other process ----------------------------------------------------------------------------------------------------------


def _ask(part: Part) -> Iterator[tuple[int, Result]]:
    """The results of the part's operators, by their numbers, as the process tells them.

    Raises:
        InvalidModel: it tells of an operator that LiteRT refuses, or ended.
        IoError: it cannot be started.
    """
    with ExitStack() as stack:
        try:
            request, noise = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            child, lines = _begin(part, request, noise, stack)
        except OSError as e:
            raise IoError(
                f"the process that finds the shapes of this model cannot be started: {_reason(e)}"
            ) from None
        for number, op in list(part.operators):
            line = lines.readline(MAX_ANSWER)
            if len(line) == MAX_ANSWER:
                raise InvalidModel(
                    f"{_named(part, op)}: LiteRT's process answers with more than {MAX_ANSWER >> 20} MiB"
                )
            if not line.endswith(b"\n"):
                raise InvalidModel(_obituary(part, op, _status(child), noise))
            yield number, _result(part, op, json.loads(line))


def _begin(
    part: Part, request: IO[bytes], noise: IO[bytes], stack: ExitStack
) -> tuple[subprocess.Popen, BinaryIO]:
    """The process, and the pipe through which it answers; ended and closed with ``stack``."""
    header = {
        "subgraph": part.entry.subgraph,
        "operators": [number for number, _ in part.operators],
        "inputs": {
            i: part.shapes.get(i, tuple(part.tables[i]["shape"].tolist())) for _, i in part.entry.inputs
        },
        "seconds": SECONDS,
    }
    request.write(json.dumps(header).encode() + b"\n")
    request.write(part.source.data)
    request.flush()
    request.seek(0)
    reading, life = os.pipe()
    stack.callback(os.close, life)
    answers, writing = os.pipe()
    lines = stack.enter_context(os.fdopen(answers, "rb"))
    try:
        child = _start(request.fileno(), noise.fileno(), reading, writing)
    finally:
        os.close(reading)
        os.close(writing)
    stack.callback(_end, child)
    return child, lines


def _reason(e: OSError) -> str:
    """Why something cannot be done, and where, as far as that is known."""
    is_full = e.errno in (errno.ENOSPC, errno.EDQUOT)
    where = e.filename or (tempfile.gettempdir() if is_full else None)
    return f"{where}: {e.strerror}" if where else str(e.strerror or e)


def _start(request: int, noise: int, life: int, answers: int) -> subprocess.Popen:
    with leaving.held():
        child = subprocess.Popen(
            interpreter.command(_CODE, life, answers),
            stdin=request,
            stdout=noise,
            stderr=noise,
            pass_fds=(life, answers),
        )
        leaving.undo(child.pid, child.kill)
    return child


def _status(child: subprocess.Popen) -> int:
    """The status of a process that answers no more; it is ended where it stays nevertheless."""
    try:
        return child.wait(DYING)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _end(child: subprocess.Popen) -> None:
    child.kill()
    child.wait()
    leaving.done(child.pid)


def _named(part: Part, op: Any) -> str:
    first = next((part.names[i] for i in op["outputs"].tolist() if part.has(i)), "")
    return f'operator "{first}" ({type_name(part.source.model, op)})'


def _obituary(part: Part, op: Any, status: int, noise: Any) -> str:
    """What to say of a process that has ended at an operator."""
    lines = os.pread(noise.fileno(), 1000, max(0, os.fstat(noise.fileno()).st_size - 1000)).splitlines()
    last = f" ({lines[-1].decode('utf-8', 'backslashreplace').strip()})" if lines else ""
    if status == -signal.SIGXCPU:
        return f"LiteRT was not done within {SECONDS} s with {_named(part, op)} and those before it, with the shapes that are given"
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"has ended with status {status}"
    return f"{_named(part, op)}: LiteRT's process {how} while it looked for the shapes{last}"


def _result(part: Part, op: Any, answer: dict[str, Any]) -> Result:
    """What an answer says, which comes from a process that has read a stranger's file."""
    if "refused" in answer:
        raise InvalidModel(
            f"{_named(part, op)}: LiteRT refuses it with the shapes that are given: {answer['refused'][:1000]}"
        )
    shapes = [None if s is None else tuple(s) for s in answer["shapes"]]
    values = [None if v is None else base64.b64decode(v) for v in answer["values"]]
    for shape in shapes:
        if shape is not None and (
            len(shape) > MAX_RANK or not all(type(d) is int and 0 <= d <= MAX_SIZE for d in shape)
        ):
            raise InvalidModel(f"{_named(part, op)}: LiteRT makes a tensor of shape {list(shape)[:MAX_RANK]}")
    if len(shapes) != len(op["outputs"]) or len(values) != len(shapes):
        raise InvalidModel(
            f"{_named(part, op)}: LiteRT makes {len(shapes)} tensors, and it has {len(op['outputs'])}"
        )
    return Result(shapes, values)
