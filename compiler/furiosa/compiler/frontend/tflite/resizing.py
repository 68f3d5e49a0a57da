"""What ``resize`` runs in a process of its own: LiteRT prepares one operator after the other.

Each is a model of its own, whose inputs are of known shape, or constant.  LiteRT allocates its results, but for those whose shape depends on
values.  An operator on constants is run, where that is how shapes are computed, so that the next operators have constants.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
import resource
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.errors import CompileError
from furiosa.compiler.frontend.borders import can_cross
from furiosa.compiler.frontend.tflite.extract import extract
from furiosa.compiler.frontend.tflite.raw import Raw, type_name
from furiosa.compiler.frontend.tflite.select import Part, dtype_name
from furiosa.compiler.frontend.tflite.signatures import Entry
from furiosa.compiler.frontend.tflite.source import Source
from furiosa.compiler.frontend.tflite.tables import Table, read_model
from furiosa.enf import leaving

MAX_BYTES = 1 << 18  # of a result that is computed
MAX_DEPTH = 16  # of branches in branches
# whose results are not a function of their inputs, or that run subgraphs
_NOT_RUN = re.compile(
    r"CALL.*|CUSTOM|IF|WHILE|MULTINOMIAL|RANDOM_.*|STABLEHLO_.*|READ_VARIABLE|VAR_HANDLE|HASHTABLE.*"
)


def main(life: int, answers: int) -> None:
    """Reads the request from stdin and writes one line for each operator, until one is refused."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    leaving.end_with_parent(life)
    header, _, data = sys.stdin.buffer.read().partition(b"\n")
    request = json.loads(header)
    _bound(request["seconds"])
    with os.fdopen(answers, "w", encoding="ascii") as out:
        view = memoryview(data).toreadonly()
        source = Source(read_model(view), view, request["subgraph"])
        shapes = {int(i): tuple(shape) for i, shape in request["inputs"].items()}
        resizing = _Resizing(source, request["operators"], shapes)
        for number in request["operators"]:
            answer = resizing.answer(number)
            out.write(json.dumps(answer) + "\n")
            out.flush()
            if "refused" in answer:
                return


def _bound(seconds: int) -> None:
    """Limits the processor time, and the memory to what the machine has."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard < 0 else min(seconds, hard), hard))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or soft > memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))


class _Made(NamedTuple):
    """What one operator makes: shapes, None where unknown, and arrays where it is run."""

    shapes: list[tuple[int, ...] | None]
    values: list[np.ndarray | None]


class _Resizing:
    def __init__(
        self, source: Source, operators: Sequence[int], inputs: dict[int, tuple[int, ...]], depth: int = 0
    ) -> None:
        self._source, self._depth = source, depth
        subgraph = source.model["subgraphs"][source.subgraph]
        self._tables: list[Table] = subgraph["tensors"]
        self._operators: list[Table] = subgraph["operators"]
        entry = Entry(source.subgraph, [("", i) for i in inputs], [], is_named=False)
        self._inputs = set(inputs)
        self._raw = Raw(Part(source, entry, [], [(n, self._operators[n]) for n in operators]))
        self._raw.shapes.update(inputs)
        self._known = {i: True for i in inputs}  # of tensors that are no constants, whether the shape is
        self._of_shapes: set[int] = set()  # what follows from shapes

    def answer(self, number: int) -> dict[str, Any]:
        """The shapes and the values that an operator makes; or why it is refused."""
        op = self._operators[number]
        outputs = op["outputs"].tolist()
        try:
            made = self._made(number, op, outputs)
        except (CompileError, RuntimeError, ValueError) as e:
            words = str(e).split("Node number")[0]  # which is that of the only operator there
            return {"refused": " ".join(words.split())}
        for i, shape, value in zip(outputs, made.shapes, made.values, strict=True):
            if i in self._inputs:  # the part begins here: whoever reads it reads the input
                continue
            self._known[i] = shape is not None
            if shape is not None:
                self._raw.shapes[i] = shape
            if value is not None:
                self._raw.values[i] = np.frombuffer(value.tobytes(), np.uint8)
        return {
            "shapes": [None if s is None else list(s) for s in made.shapes],
            "values": [
                None if v is None else base64.b64encode(v.tobytes()).decode("ascii") for v in made.values
            ],
        }

    def _made(self, number: int, op: Table, outputs: list[int]) -> _Made:
        kind = type_name(self._source.model, op)
        read = [i for i in op["inputs"].tolist() if i >= 0]
        for i in (*read, *outputs):
            self._raw.check(i)
        computed = [i for i in read if self._raw.constant(i) is None and not self._tables[i]["is_variable"]]
        if not all(self._known.get(i, True) for i in computed):
            return _Made([self._stated(i) for i in outputs], [None] * len(outputs))
        if kind in ("SHAPE", "RANK") and len(read) == len(outputs) == 1:
            shape = self._raw.tensor(read[0]).shape
            value = np.array(shape if kind == "SHAPE" else len(shape), dtype_name(self._tables[outputs[0]]))
            self._of_shapes.update(outputs)
            return _Made([value.shape], [value])
        is_integer = all(dtype_name(self._tables[i]).startswith(("int", "uint", "bool")) for i in outputs)
        follows = not self._of_shapes.isdisjoint(read)
        runs = not computed and (is_integer or follows) and not _NOT_RUN.fullmatch(kind)
        made = self._litert(number, op, outputs, computed, runs)
        if None in made.shapes:
            taken = self._branch(op, read) if kind == "IF" else [None] * len(outputs)
            made = made._replace(
                shapes=[
                    s or t or self._stated(i) for s, t, i in zip(made.shapes, taken, outputs, strict=True)
                ]
            )
        if runs and all(v is not None for v in made.values):
            self._of_shapes.update(outputs)
        return made

    def _branch(self, op: Table, read: list[int]) -> list[tuple[int, ...] | None]:
        """The shapes that the branch of an IF makes which a constant chooses."""
        unknown = [None] * len(op["outputs"])
        condition, options = self._raw.constant(read[0]), op["builtin_options"] or {}
        index = options.get(
            "then_subgraph_index" if condition is not None and condition.any() else "else_subgraph_index", -1
        )
        if (
            condition is None
            or not 0 <= index < len(self._source.model["subgraphs"])
            or self._depth >= MAX_DEPTH
        ):
            return unknown
        subgraph = self._source.model["subgraphs"][index]
        given = dict(
            zip(subgraph["inputs"].tolist(), (self._raw.tensor(i).shape for i in read[1:]), strict=True)
        )
        source = Source(self._source.model, self._source.data, index)
        branch = _Resizing(source, range(len(subgraph["operators"])), given, self._depth + 1)
        for number in range(len(subgraph["operators"])):
            if "refused" in branch.answer(number):
                return unknown
        return [branch.shape(i) for i in subgraph["outputs"].tolist()]

    def shape(self, index: int) -> tuple[int, ...] | None:
        """The shape of a tensor whose maker has been asked for; None where it depends on values."""
        return self._raw.tensor(index).shape if self._known.get(index, True) else None

    def _stated(self, index: int) -> tuple[int, ...] | None:
        """The shape in the file, where it has no open dimension."""
        table = self._tables[index]
        dims = [*table["shape"].tolist(), *table["shape_signature"].tolist()]
        is_known = all(d > 0 for d in dims) and (dims or table["has_rank"])
        return tuple(table["shape"].tolist()) if is_known else None

    def _litert(self, number: int, op: Table, outputs: list[int], computed: list[int], runs: bool) -> _Made:
        """What LiteRT makes of one operator."""
        kinds = [dtype_name(self._tables[i]) for i in (*computed, *outputs)]
        if not all(map(can_cross, kinds)):
            return _Made([self._stated(i) for i in outputs], [None] * len(outputs))
        results = [self._raw.new(i) for i in outputs]
        for t in results:
            t.shape = tuple(d or 1 for d in t.shape)  # a 0 comes from LiteRT
        self._source.open = set(outputs)
        operator = self._raw.operator(number, op, results)
        graph = Graph("tflite", "", [], [], [], self._source)
        model = extract(graph, [operator], [self._raw.tensor(i) for i in dict.fromkeys(computed)], results)
        interpreter = Interpreter(
            model_content=model,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        details = interpreter.get_output_details()
        shapes = [_shape(interpreter, d) for d in details]
        nbytes = [
            math.prod(s) * np.dtype(d["dtype"]).itemsize for s, d in zip(shapes, details) if s is not None
        ]
        if not runs or sum(nbytes) > MAX_BYTES:
            return _Made(shapes, [None] * len(outputs))
        interpreter.invoke()
        values = [interpreter.get_tensor(d["index"]) for d in details]
        if sum(v.nbytes for v in values) > MAX_BYTES:
            return _Made([v.shape for v in values], [None] * len(outputs))
        return _Made([v.shape for v in values], values)


def _shape(interpreter: Interpreter, detail: dict[str, Any]) -> tuple[int, ...] | None:
    """The shape of a tensor that LiteRT has allocated; None of one that it allocates when it runs."""
    shape = tuple(detail["shape"].tolist())
    if 0 in shape:
        return shape
    try:
        interpreter.tensor(detail["index"])()
    except ValueError:
        return None
    return shape
