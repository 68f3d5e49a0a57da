"""Random graphs whose operators are refused at random steps of their lowering: nothing is left behind, and the numbers stay right."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.frontend.tflite import testing as tflite
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.lowering import Lowering, Made
from furiosa.compiler.ldfg.verdict import Reason, Refused
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.runtime import session
from tests.properties.harness import bounded, run
from tests.properties.strategies import seeds, values

RULE = Reason("drawn", "A die says so.", "", "", "")
STEPS = ("check", "plain", "image", "spatial", "spatial_result", "result", "emit_to", "constant")


@contextmanager
def _refusals(seed: int) -> Iterator[list[str]]:
    """Lets some steps of lowering functions refuse, and checks what each refusal leaves; gives the steps that did."""
    rng, running, refused = random.Random(seed), False, []
    apply = Lowering.apply

    def checked(low: Lowering, op_type: str, function: Any, subject: Any) -> None:
        nonlocal running
        before, running = _state(low), True
        try:
            apply(low, op_type, function, subject)
        except Refused:
            assert _state(low) == before, f"{op_type} leaves something behind"
            raise
        finally:
            running = False

    def step(name: str) -> Callable[..., Any]:
        original = getattr(Lowering, name)

        def drawn(low: Lowering, *args: Any, **attributes: Any) -> Any:
            result = original(low, *args, **attributes)
            if running and rng.random() < 0.06:
                refused.append(name)
                raise Refused([RULE])
            return result

        return drawn

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Lowering, "apply", checked))
        for name in STEPS:
            stack.enter_context(mock.patch.object(Lowering, name, step(name)))
        yield refused


def _state(low: Lowering) -> list[Any]:
    """All that a lowering has made, and the graph that it works on."""
    made = [getattr(low._made, f.name) for f in fields(Made)]
    kept = [list(m) if isinstance(m, list) else m if isinstance(m, int) else dict(m) for m in made]
    return [*kept, _described(low.graph)]


def _described(graph: Graph) -> list[Any]:
    def tensor(t: Any) -> Any:
        return t and (t.name, t.shape, t.dtype, id(t.quantization), id(t.data))

    operators = [
        (
            op.name,
            op.op_type,
            [tensor(t) for t in op.inputs],
            [tensor(t) for t in op.outputs],
            str(op.attributes),
        )
        for op in graph.operators
    ]
    return [[tensor(t) for t in graph.inputs], [tensor(t) for t in graph.outputs], operators]


def _check(model: bytes, inputs: list[np.ndarray], seed: int) -> None:
    """Lowers, compiles and runs with refusals."""
    graph = import_model(model)
    before = _described(graph)
    with _refusals(seed):
        lower(graph)
    assert _described(graph) == before, "the dfg was written to"
    with _refusals(seed):
        compilation = Compilation(model, Options()).run()
    with session.create(container.to_bytes(compilation.enf)) as sess:
        actual = [t.numpy() for t in sess.run(inputs)]
    for i, (a, b) in enumerate(zip(actual, run(model, inputs), strict=True)):
        np.testing.assert_array_equal(a, b, err_msg=f"output {i}")


def test_steps_are_refused_everywhere() -> None:
    """The graphs below reach every step."""
    reached = set()
    for seed in range(100):
        with _refusals(seed) as refused:
            lower(import_model(_onnx(seed)))
        reached.update(refused)
    assert reached == set(STEPS)


@bounded(60)
@given(seed=seeds())
def test_onnx(seed: int) -> None:
    _check(_onnx(seed), [_real_input(seed)], seed)


@bounded(40)
@given(seed=seeds())
def test_tflite(seed: int) -> None:
    _check(_tflite(seed), [values("int8", (1, 6, 6, 4), seed)], seed)


def _real_input(seed: int) -> np.ndarray:
    rank = random.Random(seed).choice((3, 4))
    return np.random.default_rng(seed).uniform(-8, 8, (1, 4, 6, 6)[:rank]).astype(np.float32)


def _onnx(seed: int) -> bytes:
    """Images or sequences [N, C, W]; int8, uint8 and int16 tensors, with real numbers between some; operators of both places."""
    rng = random.Random(seed)
    rank = rng.choice((3, 4))
    shape = (1, 4, 6, 6)[:rank]
    spatial = rank - 2
    window = {"kernel_shape": [3] * spatial, "pads": [1] * (2 * spatial)}
    types = {"z": ("s", np.int8(3)), "u": ("s", np.uint8(130)), "h": ("t", np.int16(7))}
    weight = np.random.default_rng(seed).integers(-4, 5, (4, 4, *[3] * spatial)).astype(np.int8)
    constants = {name: zero for name, (_, zero) in types.items()}
    constants |= {"s": np.float32(0.0625), "t": np.float32(2.0**-11), "w": weight, "o": np.int8(0)}
    constants["shape"] = np.array(shape, np.int64)
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "o"], ["wd"])]
    real, ints = ["x"], []

    def add(kind: str, inputs: list[str], count: int = 1, **attributes: Any) -> list[str]:
        outputs = [f"t{len(nodes)}_{i}" for i in range(count)]
        nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs

    def quantize(name: str) -> None:
        zero = rng.choice("zzzzuh")
        scale = types[zero][0]
        (q,) = add("QuantizeLinear", [name, scale, zero])
        ints.append(q)
        for _ in range(rng.choice((1, 1, 2))):
            real.extend(add("DequantizeLinear", [q, scale, zero]))

    quantize("x")
    for _ in range(rng.randint(3, 10)):
        a, b = rng.choice(real[-4:]), rng.choice(real[-4:])
        kind = rng.choice(
            (
                "Add",
                "Add",
                "Conv",
                "Conv",
                "MaxPool",
                "Max",
                "Relu",
                "Sinh",
                "Concat",
                "Transpose",
                "Reshape",
                "Quantize",
            )
        )
        if kind == "Quantize":
            quantize(a)
            continue
        if kind == "Concat":
            (joined,) = add(kind, [a, b], axis=1)
            made = add("Split", [joined], 2, axis=1, num_outputs=2)
        elif kind == "Transpose":
            made = add(kind, [a], perm=[0, 1, 3, 2] if rank == 4 else [0, 1, 2])
        elif kind == "Reshape":
            made = add(kind, [a, "shape"])
        elif kind == "Conv":
            made = add(kind, [a, "wd"], **window)
        elif kind == "MaxPool":
            made = add(kind, [a], **window)
        else:
            made = add(kind, [a, b] if kind in ("Add", "Max") else [a])
        for name in made:
            if rng.random() < 0.85:
                quantize(name)
            else:
                real.append(name)
    read = {name for node in nodes for name in node.input}
    outputs = [name for name in real if name not in read] or real[-1:]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, shape) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    ).SerializeToString()


def _tflite(seed: int) -> bytes:
    rng = random.Random(seed)
    m, o = tflite.ModelBuilder(), tflite.options
    weight = np.random.default_rng(seed).integers(-9, 10, (4, 3, 3, 4))
    w = m.tensor("w", [4, 3, 3, 4], data=weight, scale=0.0625)
    bias = m.tensor("bias", [4], "int32", [0, 1, -2, 99], scale=2.0**-8)
    perm = m.tensor("perm", [4], "int32", [0, 2, 1, 3])
    axis = m.tensor("axis", [1], "int32", [3])
    split = m.tensor("split", [], "int32", 3)
    made: list[int] = []

    def tensor(channels: int = 4) -> int:
        return m.tensor(f"t{len(m.graph.tensors)}", [1, 6, 6, channels], scale=0.0625, zero_point=3)

    x = tensor()
    made.append(x)
    for _ in range(rng.randint(3, 10)):
        a, b = rng.choice(made[-4:]), rng.choice(made[-4:])
        kind = rng.choice(
            (
                "ADD",
                "CONV_2D",
                "MAX_POOL_2D",
                "MAXIMUM",
                "RELU",
                "ABS",
                "CONCATENATION",
                "TRANSPOSE",
                "REVERSE_V2",
            )
        )
        y = tensor()
        steps = {"strideH": 1, "strideW": 1}
        match kind:
            case "CONV_2D":
                more = {"dilationHFactor": 1, "dilationWFactor": 1, "padding": 0}
                m.operator(kind, [a, w, bias], [y], o("Conv2DOptions", **steps, **more))
            case "MAX_POOL_2D":
                size = {"filterHeight": 3, "filterWidth": 3, "padding": 0}
                m.operator(kind, [a], [y], o("Pool2DOptions", **steps, **size))
            case "CONCATENATION":
                joined, second = tensor(8), tensor()
                m.operator(kind, [a, b], [joined], o("ConcatenationOptions", axis=3))
                m.operator("SPLIT", [split, joined], [y, second], o("SplitOptions", numSplits=2))
                made.append(second)
            case "ADD":
                m.operator(kind, [a, b], [y], o("AddOptions"))
            case "TRANSPOSE" | "REVERSE_V2":
                m.operator(kind, [a, perm if kind == "TRANSPOSE" else axis], [y])
            case _:
                m.operator(kind, [a, b] if kind == "MAXIMUM" else [a], [y])
        made.append(y)
    read = {t for op in m.graph.operators for t in op.inputs}
    return m.build([x], [t for t in made if t not in read])
