"""Open dimensions of TFLite models: shapes are those that LiteRT finds when it runs the file, and the model computes the same."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Sequence

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.errors import CompileError, InvalidConfig, InvalidModel, IoError
from furiosa.compiler.frontend.tflite import resize
from furiosa.compiler.frontend.tflite.extract import extract
from furiosa.compiler.frontend.tflite.importer import import_tflite, selected_model
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options, random_inputs, run
from furiosa.compiler.selection import Selection

OPEN = {"scale": 0.05, "shapeSignature": [-1, -1, -1, 4]}


class Open(ModelBuilder):
    """A model of int8 images [?, ?, ?, 4] whose file states 1 for what is open, as converters write it."""

    def __init__(self) -> None:
        super().__init__()
        self.x = self.image("x")

    def image(self, name: str = "") -> int:
        return self.tensor(name or f"t{len(self.graph.tensors)}", [1, 1, 1, 4], **OPEN)

    def ints(self, *values: int) -> int:
        return self.tensor(f"c{len(self.graph.tensors)}", [len(values)], "int32", values)

    def scalar(self, value: float, dtype: str = "int32") -> int:
        return self.tensor(f"c{len(self.graph.tensors)}", [], dtype, value)

    def small(
        self,
        op_type: str,
        inputs: Sequence[int],
        shape: list[int],
        chosen: object = None,
        dtype: str = "int32",
    ) -> int:
        """An operator of shape arithmetic."""
        made = self.tensor(f"t{len(self.graph.tensors)}", shape, dtype)
        self.operator(op_type, inputs, [made], chosen)
        return made

    def shape_of(self, t: int) -> int:
        return self.small("SHAPE", [t], [4], options("ShapeOptions", outType=2))

    def size_of(self, t: int) -> int:
        """Height and width."""
        inputs = [self.shape_of(t), self.ints(1), self.ints(3), self.ints(1)]
        return self.small("STRIDED_SLICE", inputs, [2], options("StridedSliceOptions"))

    def conv(self, t: int, stride: int = 1) -> int:
        rng = np.random.default_rng(len(self.graph.tensors))
        w = self.tensor("", [4, 3, 3, 4], data=rng.integers(-127, 128, (4, 3, 3, 4)), scale=0.01)
        b = self.tensor("", [4], "int32", rng.integers(-99, 99, 4), scale=0.0005)
        made = self.image()
        window = dict.fromkeys(("dilationHFactor", "dilationWFactor"), 1) | dict.fromkeys(
            ("strideH", "strideW"), stride
        )
        self.operator("CONV_2D", [t, w, b], [made], options("Conv2DOptions", padding=0, **window))
        return made

    def resized(self, t: int, size: int) -> int:
        made = self.image()
        self.operator("RESIZE_NEAREST_NEIGHBOR", [t, size], [made], options("ResizeNearestNeighborOptions"))
        return made

    def added(self, a: int, b: int) -> int:
        made = self.image()
        self.operator("ADD", [a, b], [made], options("AddOptions"))
        return made


def fixed(data: bytes, *shape: int, **more: Sequence[int]) -> Graph:
    return import_tflite(data, selection=Selection({"x": shape, **more} if shape else more))


def assert_as_litert(data: bytes, *shape: int) -> Graph:
    """What is imported has the shapes and makes the values that LiteRT has of the file with resized inputs."""
    graph = fixed(data, *shape)
    inputs = random_inputs(graph.inputs, 0)
    interpreter = Interpreter(model_content=data)
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.resize_tensor_input(detail["index"], value.shape)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    whole = extract(graph, graph.operators, graph.inputs, graph.outputs)
    as_given = selected_model(data, Selection({"x": shape}))
    results = [run(model, inputs) for model in (whole, as_given)]
    for t, detail, *found in zip(graph.outputs, interpreter.get_output_details(), *results, strict=True):
        expected = interpreter.get_tensor(detail["index"])
        assert t.shape == expected.shape
        for value in found:
            np.testing.assert_array_equal(value, expected)
    return graph


def decoder() -> bytes:
    """A feature map that is resized to the size of the input, and flattened by a computed shape."""
    b = Open()
    up = b.resized(b.conv(b.x, 2), b.size_of(b.x))
    both = b.added(up, b.conv(b.x))
    shape = b.shape_of(both)
    batch = b.small(
        "STRIDED_SLICE",
        [shape, b.ints(0), b.ints(1), b.ints(1)],
        [],
        options("StridedSliceOptions", shrinkAxisMask=1),
    )
    pixels = b.small("REDUCE_PROD", [b.size_of(both), b.ints(0)], [], options("ReducerOptions"))
    target = b.small("PACK", [batch, pixels, b.scalar(4)], [3], options("PackOptions", valuesCount=3))
    flat = b.tensor("flat", [1, 1, 4], scale=0.05, shapeSignature=[-1, -1, 4])
    b.operator("RESHAPE", [both, target], [flat], options("ReshapeOptions"))
    return b.build([b.x], [flat, up])


@pytest.mark.parametrize("shape", [(1, 8, 12, 4), (1, 7, 9, 4), (3, 5, 4, 4)])
def test_shape_arithmetic_is_folded(shape: tuple[int, ...]) -> None:
    graph = assert_as_litert(decoder(), *shape)
    n, h, w, c = shape
    assert [t.shape for t in graph.outputs] == [(n, h * w, c), shape]
    kinds = [op.op_type for op in graph.operators]
    assert kinds == ["CONV_2D", "RESIZE_NEAREST_NEIGHBOR", "CONV_2D", "ADD", "RESHAPE"]
    assert graph.selection.input_shapes == {"x": shape}


def test_real_arithmetic_on_sizes() -> None:
    """Half of the size, rounded up, in floating point; a grid by RANGE, FILL and BROADCAST_TO."""
    b = Open()
    size = b.size_of(b.x)
    real = b.small("CAST", [size], [2], options("CastOptions"), "float32")
    half = b.small("MUL", [real, b.scalar(0.5, "float32")], [2], options("MulOptions"), "float32")
    whole = b.small("CAST", [b.small("CEIL", [half], [2], dtype="float32")], [2], options("CastOptions"))
    y = b.resized(b.x, whole)
    width = b.small("GATHER", [size, b.scalar(1)], [], options("GatherOptions"))
    grid = b.tensor("grid", [1], "int32", shapeSignature=[-1])
    b.operator("RANGE", [b.scalar(0), width, b.scalar(1)], [grid])
    lines = b.tensor("lines", [1, 1], "int32", shapeSignature=[-1, -1])
    b.operator("BROADCAST_TO", [grid, size], [lines])
    filled = b.tensor("filled", [1, 1], "float32", shapeSignature=[-1, -1])
    b.operator("FILL", [size, b.scalar(2.5, "float32")], [filled])
    graph = assert_as_litert(b.build([b.x], [y, lines, filled]), 1, 5, 8, 4)
    assert [t.shape for t in graph.outputs] == [(1, 3, 4, 4), (5, 8), (5, 8)]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_random_graphs(data: st.DataObject) -> None:
    b = Open()
    images = [b.x]
    for _ in range(data.draw(st.integers(1, 8))):
        t = data.draw(st.sampled_from(images))
        match data.draw(st.sampled_from(["conv", "stride", "like", "double", "add", "cut"])):
            case "conv":
                made = b.conv(t)
            case "stride":
                made = b.conv(t, 2)
            case "like":
                made = b.resized(t, b.size_of(data.draw(st.sampled_from(images))))
            case "double":
                made = b.resized(t, b.small("MUL", [b.size_of(t), b.ints(2)], [2], options("MulOptions")))
            case "add":  # of one size
                other = data.draw(st.sampled_from(images))
                made = b.added(b.resized(t, b.size_of(other)), other)
            case _:  # all but the last line
                made = b.image()
                grown = b.resized(t, b.small("ADD", [b.size_of(t), b.ints(1, 0)], [2], options("AddOptions")))
                end = b.small("SUB", [b.shape_of(grown), b.ints(0, 1, 0, 0)], [4], options("SubOptions"))
                b.operator("SLICE", [grown, b.ints(0, 0, 0, 0), end], [made])
        images.append(made)
    shape = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)))
    assert_as_litert(b.build([b.x], images[1:]), *shape, 4)


def test_an_open_batch_needs_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(resize, "_start", never)
    b = ModelBuilder()
    x, y = (b.tensor(n, [1, 4], "float32", shapeSignature=[-1, 4]) for n in "xy")
    b.operator("ABS", [x], [y])
    data = b.build([x], [y])
    assert fixed(data).outputs[0].shape == fixed(data, 1, 4).outputs[0].shape == (1, 4)


def test_placeholders_of_an_open_batch() -> None:
    """A dimension that is three times the batch is stated as 1, too."""
    b = ModelBuilder()
    x = b.tensor("x", [1, 6], "float32", shapeSignature=[-1, 6])
    y = b.tensor("y", [1, 2], "float32", shapeSignature=[-1, 2])
    b.operator("RESHAPE", [x, b.tensor("shape", [2], "int32", [-1, 2])], [y], options("ReshapeOptions"))
    data = b.build([x], [y])
    assert fixed(data).outputs[0].shape == (3, 2)
    assert fixed(data, 2, 6).outputs[0].shape == (6, 2)


def test_results_that_are_stated_as_open() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [-1, 4], "float32")
    b.operator("ABS", [x], [y])
    assert import_tflite(b.build([x], [y])).outputs[0].shape == (1, 4)


def of_values(*, to_the_end: bool) -> bytes:
    """The number of elements that are not zero, counted in float32; or where they are."""
    b = ModelBuilder()
    x = b.tensor("x", [1, 1], "float32", shapeSignature=[-1, -1])
    where = b.tensor("where", [1, 2], "int64", shapeSignature=[-1, 2])
    real = b.tensor("real", [1, 2], "float32", shapeSignature=[-1, 2])
    total = b.tensor("total", [2], "float32")
    b.operator("WHERE", [x], [where])
    b.operator("CAST", [where], [real], options("CastOptions", inDataType=4))
    axis = b.tensor("axis", [1], "int32", [0])
    b.operator("SUM", [real, axis], [total], options("ReducerOptions"))
    again = b.tensor("again", [1, 1], "float32", shapeSignature=[-1, -1])
    b.operator("RELU", [x], [again])
    return b.build([x], [again, real if to_the_end else total])


def test_shapes_of_values() -> None:
    graph = assert_as_litert(of_values(to_the_end=False), 3, 5)
    assert [t.shape for t in graph.outputs] == [(3, 5), (2,)]
    with pytest.raises(InvalidModel) as e:
        fixed(of_values(to_the_end=True), 3, 5)
    assert (
        str(e.value)
        == 'the output "real" has a shape that is not known before the model runs: operator "where" (WHERE) makes a tensor whose shape depends '
        "on values"
    )
    cut = Selection({"x": (3, 5)}, outputs=("again",))
    assert import_tflite(of_values(to_the_end=True), selection=cut).outputs[0].shape == (3, 5)


def branches(condition: str) -> bytes:
    """An IF whose branches make results of 2 and of 5 lines."""
    b = Open()
    if condition == "shape":
        height = b.small("GATHER", [b.shape_of(b.x), b.scalar(1)], [], options("GatherOptions"))
        large = b.small("GREATER", [height, b.scalar(3)], [], dtype="bool")
    else:
        large = b.small(
            "REDUCE_ANY",
            [b.small("CAST", [b.x], [1, 1, 1, 4], dtype="bool"), b.ints(0, 1, 2, 3)],
            [],
            dtype="bool",
        )
        b.graph.tensors[-3].shapeSignature = [-1, -1, -1, 4]
    y = b.image("y")
    b.operator("IF", [large, b.x], [y], options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2))
    z = b.conv(y)
    for lines in (2, 5):
        branch = b.subgraph()
        at = b.image()
        branch.inputs = [at]
        branch.outputs = [b.resized(at, b.ints(lines, 6))]
    return b.build([b.x], [z])


def test_a_branch_that_a_shape_chooses() -> None:
    assert assert_as_litert(branches("shape"), 1, 6, 6, 4).outputs[0].shape == (1, 2, 6, 4)
    assert assert_as_litert(branches("shape"), 1, 3, 6, 4).outputs[0].shape == (1, 5, 6, 4)
    with pytest.raises(
        InvalidModel, match=r'operator "y" \(IF\) makes a tensor whose shape depends on how its subgraphs run'
    ):
        fixed(branches("values"), 1, 6, 6, 4)


def test_a_loop_whose_results_the_file_states() -> None:
    """LiteRT finds shapes inside of it only when it runs, but the file says that the result has no open dimension."""
    b = ModelBuilder()
    x = b.tensor("x", [1, 1], "float32", shapeSignature=[1, -1])
    zero, zeros = b.tensor("zero", [1], "int32", [0]), b.tensor("zeros", [1, 1], "float32", [[0]])
    names = [b.tensor(n, [1], "int32") for n in ("i",)] + [b.tensor("y", [1, 1], "float32")]
    x_out = b.tensor("x_out", [1, 1], "float32", shapeSignature=[1, -1])
    b.operator(
        "WHILE",
        [zero, zeros, x],
        [*names, x_out],
        options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2),
    )

    def inputs() -> list[int]:
        return [
            b.tensor("i", [1], "int32"), b.tensor("y", [1, 1], "float32"),
            b.tensor("x", [1, 1], "float32", shapeSignature=[1, -1]),
        ]  # fmt: skip

    cond = b.subgraph()
    cond.inputs = inputs()
    less = b.tensor("less", [1], "bool")
    b.operator("LESS", [cond.inputs[0], b.tensor("three", [1], "int32", [3])], [less])
    cond.outputs = [less]
    body = b.subgraph()
    body.inputs = i, y, at = inputs()
    begin = b.tensor("begin", [2], "int32")
    b.operator(
        "CONCATENATION", [b.tensor("no", [1], "int32", [0]), i], [begin], options("ConcatenationOptions")
    )
    part = b.tensor("part", [1, 1], "float32", shapeSignature=[-1, -1])
    b.operator("SLICE", [at, begin, b.tensor("one", [2], "int32", [1, 1])], [part])
    total, next_ = (
        b.tensor("total", [1, 1], "float32", shapeSignature=[-1, -1]),
        b.tensor("next", [1], "int32"),
    )
    b.operator("ADD", [y, part], [total], options("AddOptions"))
    b.operator("ADD", [i, b.tensor("step", [1], "int32", [1])], [next_], options("AddOptions"))
    body.outputs = [next_, total, at]
    assert assert_as_litert(b.build([x], [names[1]]), 1, 5).outputs[0].shape == (1, 1)


def test_what_does_not_fit_is_refused_by_the_operators_name() -> None:
    b = Open()
    data = b.build([b.x], [b.added(b.x, b.resized(b.x, b.ints(3, 3)))])
    assert fixed(data, 1, 3, 3, 4).outputs[0].shape == (1, 3, 3, 4)
    with pytest.raises(
        InvalidModel,
        match=r'operator "t\d" \(ADD\): LiteRT refuses it with the shapes that are given: .*not broadcastable',
    ):
        fixed(data, 1, 4, 4, 4)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import os; os.abort()", "LiteRT's process was ended by SIGABRT while it looked for the shapes"),
        ("import sys; print('no', file=sys.stderr); sys.exit(3)", r"has ended with status 3 .* \(no\)"),
        (
            "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass",
            "was not done within|ended by SIGKILL",
        ),
        ("import os, time; os.close(int(sys.argv[2])); time.sleep(600)", "was ended by SIGKILL"),
        ("import os\nwhile True: os.write(int(sys.argv[2]), b'9' * 65536)", "answers with more than 16 MiB"),
    ],
)
def test_a_process_that_ends_is_an_error(code: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "_CODE", code)
    with pytest.raises(InvalidModel, match=sentence):
        fixed(decoder(), 1, 8, 8, 4)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
            "Resource temporarily unavailable",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            f"{tempfile.gettempdir()}: No space left on device",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/python"), "/python: No such file"),
    ],
)
def test_a_process_that_cannot_be_started(
    error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(resize.subprocess, "Popen", refuse)
    with pytest.raises(IoError, match=f"finds the shapes of this model cannot be started: {reason}"):
        fixed(decoder(), 1, 8, 8, 4)


def test_errors_say_which_option_is_missing() -> None:
    def refused(selection: Selection, error: type[CompileError], *words: str) -> None:
        with pytest.raises(error) as e:
            import_tflite(decoder(), selection=selection)
        for text in words:
            assert text in str(e.value)

    refused(
        Selection(), InvalidModel,
        'input "x" has the dynamic shape [1, ?, ?, 4]: dimensions 1 and 2 are open; add --input-shape x=1x?x?x4,',
        'input_shapes = {"x": "1x?x?x4"}',
    )  # fmt: skip
    refused(
        Selection(dims={"height": 8}), InvalidConfig,
        "--dim 'height': dimensions of TFLite models have no names: give the shape of the input, --input-shape x=1x?x?x4",
    )  # fmt: skip
    refused(Selection({"y": (1, 8, 8, 4)}), InvalidConfig, "no input 'y'; it has 'x'")
    refused(Selection({"x": (1, 8, 8, 5)}), InvalidConfig, "dimension 3 is 4")
    refused(Selection({"x": (1, 8, 8)}), InvalidConfig, "has 3 dimensions; the input has 4: [?, ?, ?, 4]")
    refused(Selection({"x": (1, 60000, 60000, 4)}), InvalidModel, "the limit is 2 GiB")


def test_shapes_that_only_old_files_leave_out() -> None:
    b = ModelBuilder()
    x, y = b.tensor("x", [], "float32"), b.tensor("y", [], "float32")
    b.operator("ABS", [x], [y])
    data = b.build([x], [y])
    assert import_tflite(data).outputs[0].shape == ()
    assert fixed(data, 2, 3).outputs[0].shape == (2, 3)
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 0, 3], "float32"), b.tensor("y", [1, 0, 3], "float32")
    b.operator("ABS", [x], [y])
    assert fixed(b.build([x], [y]), 1, 5, 3).outputs[0].shape == (1, 5, 3)


@pytest.mark.parametrize("shape", [(1, 8, 6, 4), (2, 5, 9, 4)])
def test_a_scalar_by_a_shape_without_elements(shape: tuple[int, ...]) -> None:
    """As converters squeeze an element out of a shape: RESHAPE by a constant of shape [0], for which a file has no bytes."""
    m = Open()
    nothing = m.tensor("nothing", [0], "int32")
    sides = []
    for axis in (1, 2):
        begin, end = m.ints(axis), m.ints(axis + 1)
        one = [m.shape_of(m.x), begin, end, m.ints(1)]
        side = m.small("STRIDED_SLICE", one, [1], options("StridedSliceOptions"))
        scalar = m.small("RESHAPE", [side, nothing], [], options("ReshapeOptions", newShape=[]))
        half = m.small("FLOOR_DIV", [scalar, m.scalar(2)], [], options("FloorDivOptions"))
        sides.append(m.small("MAXIMUM", [half, m.scalar(1)], [], options("MaximumMinimumOptions")))
    size = m.small("PACK", sides, [2], options("PackOptions", valuesCount=2, axis=0))
    graph = assert_as_litert(m.build([m.x], [m.resized(m.x, size)]), *shape)
    assert [op.op_type for op in graph.operators] == ["RESIZE_NEAREST_NEIGHBOR"]
