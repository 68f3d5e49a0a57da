"""The judge of ``furiosa compare``: right programs of models that onnxruntime's quantiser writes pass, wrong ones fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from furiosa.compiler import pipeline
from furiosa.compiler.cli.main import main
from furiosa.compiler.dfg.graph import Graph, Operator
from furiosa.compiler.frontend.onnx import importer
from furiosa.compiler.frontend.tflite.testing import ModelBuilder
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.compiler.report import places
from furiosa.runtime.compare import isolated, reference, report
from furiosa.runtime.compare.compare import compare
from furiosa.runtime.compare.exact import Real, Scale
from furiosa.runtime.compare.explain import Explainer
from furiosa.runtime.compare.judge import Judge
from furiosa.runtime.compare.result import Row
from tests.end_to_end.compared_models import damaged, onnx_network, tflite_network
from tests.end_to_end.quantised_models import MODES, NETWORKS, Net, quantised


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_right_program_passes(network: str, mode: str, tmp_path: Path) -> None:
    result = compare(quantised(network, mode, tmp_path))
    assert result.is_right, "\n".join(report.text(result))
    assert not any(r.wrong.differing or r.is_unjudged for r in result.rows)
    assert all(o.tally is not None and o.whole.optimised is not None for o in result.outputs)
    # what is not looked at is inside of a layer that is
    assert {r.reason for r in result.layers if r.tally is None} <= {
        places.BETWEEN,
        places.MERGED,
        places.ON_HOST,
    }


# -- wrong programs --------------------------------------------------------------------------------------------------------


def _scale(o: Operator, key: str) -> None:
    o.attributes[key] = float(np.float32(o.attributes[key] * 1.002))


def _offset(o: Operator, key: str) -> None:
    o.attributes[key] += 1


def _constant(o: Operator, position: int) -> None:
    """Of a table an entry in the middle, which values reach; of weights one."""
    data = o.inputs[position].data.copy()
    flat = data.reshape(-1)
    at = flat.size // 2
    flat[at] = flat[at] * np.float32(1.002) if data.dtype.kind == "f" else flat[at] - 1
    o.inputs[position] = replace(o.inputs[position], data=data)


def _faults(op: Operator) -> Iterator[tuple[Callable[[Operator, object], None], object]]:
    """Ways to make an NPU operator a little wrong."""
    numbers = {
        k: v for k, v in op.attributes.items() if isinstance(v, (int, float)) and not isinstance(v, bool)
    }
    scales = [k for k, v in numbers.items() if isinstance(v, float) and "scale" in k]
    offsets = [k for k, v in numbers.items() if k.endswith(("zero_point", "offset")) and -100 < v < 100]
    yield from ((_scale, k) for k in scales[-1:])
    yield from ((_offset, k) for k in (*offsets[:1], *offsets[-1:]))
    constants = [i for i, t in enumerate(op.inputs) if t is not None and t.data is not None]
    yield from ((_constant, i) for i in constants[:2])


@pytest.mark.parametrize("network", NETWORKS)
def test_a_wrong_program_fails(network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale, a zero point, one weight, one bias, one entry of a table: of each kind of operator the last one."""
    path = quantised(network, "default", tmp_path)
    lower = pipeline.lower
    lowering = pipeline.Compilation(Path(path).read_bytes(), pipeline.Options()).run("ldfg").ldfg
    last = {o.op_type: o for o in lowering.operators if o.op_type.startswith("npu.")}
    found = []
    for op_type, op in last.items():
        for make, what in _faults(op):

            def faulty(
                *arguments: object, op_type: str = op_type, make: Callable = make, what: object = what
            ) -> Lowering:
                lowering = lower(*arguments)
                make([o for o in lowering.operators if o.op_type == op_type][-1], what)
                return lowering

            monkeypatch.setattr(pipeline, "lower", faulty)
            result = compare(path)
            differing = sum(r.tally.differing for r in result.rows if r.tally is not None)
            # the fault may change no element: a scale that is not used, a weight that only zeros meet
            assert not result.is_right or not differing, (
                f"{op_type}, {make.__name__} {what}: {differing} elements"
            )
            found += [(op_type, make)] * bool(differing)
    assert {make for _, make in found} == {_scale, _offset, _constant} and len(
        {op_type for op_type, _ in found}
    ) > 4


def _quantised(net: Net, x: str, scale: float, zero_point: int = 0) -> str:
    s, z = net.constant(np.float32(scale)), net.constant(np.int8(zero_point))
    return net.op("DequantizeLinear", net.op("QuantizeLinear", x, s, z), s, z)


def _write(net: Net, output: str, folder: Path) -> str:
    path = folder / "net.onnx"
    onnx.save(net.model(output), path)
    return str(path)


def test_a_wrong_rounding_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties upwards, where onnxruntime's integer kernel rounds them to even: half the sums of this Add are ties."""
    net = Net([1, 8, 16, 16])
    x = _quantised(net, "x", 0.05)
    y = net.op("Add", x, _quantised(net, net.op("Transpose", "x", perm=[0, 1, 3, 2]), 0.05, 3))
    path = _write(net, _quantised(net, y, 0.1), tmp_path)
    assert compare(path).first_difference is None
    monkeypatch.setattr(
        np, "rint", lambda x, out=None: np.floor(np.add(x, x.dtype.type(0.5), out=out), out=out)
    )
    result = compare(path)
    assert not result.is_right
    # in some of the same ties the integer kernel is not of one mind with the operators that stand in the model
    row = result.first_wrong
    assert row is not None and 0 < row.itself < row.tally.elements
    why = "onnxruntime disagrees with its own run without its optimiser"
    assert dict(report.explained(result))[why][0].startswith(f"QuantizeLinear of Add {row.itself} of ")
    told = json.loads(report.to_json(result))["layers"][result.layers.index(row)]
    assert told["reference_itself"] == row.itself


# -- layers that the reference computes in floating point ----------------------------------------------------------------


def test_ties_that_the_reference_does_not_see(tmp_path: Path) -> None:
    """onnxruntime computes Conv, Relu and this QuantizeLinear in float32: its sums miss the ties, ours are exact."""
    net = Net([1, 16, 15, 15])
    x = _quantised(net, "x", 0.05, 3)
    w = net.constant(net.rng.integers(-3, 4, (32, 16, 1, 1)).astype(np.int8))
    w = net.op("DequantizeLinear", w, net.constant(np.float32(0.5)), net.constant(np.int8(0)))
    path = _write(net, _quantised(net, net.op("Relu", net.op("Conv", x, w)), 0.05, 3), tmp_path)
    result = compare(path)
    (row,) = (r for r in result.layers if r.differs and r.op_type == "QuantizeLinear")
    assert result.is_right and row.nearest == row.tally.differing > 100 and row.tally.largest == 1
    lines = list(report.text(result))
    assert any(
        f"QuantizeLinear of Conv, Relu {row.nearest} of {row.tally.elements} elements" in x for x in lines
    )
    assert lines[-1] == "All elements are right."
    whole = result.outputs[0].whole
    assert whole.optimised.differing == row.tally.differing and not whole.is_other


def test_the_reference_disagrees_with_itself(tmp_path: Path) -> None:
    """Of two quantisations in a row onnxruntime's optimiser makes one."""
    net = Net([1, 8, 16, 16])
    x = _quantised(net, _quantised(net, "x", 0.05), 0.037, 2)
    path = _write(net, _quantised(net, net.op("MaxPool", x, kernel_shape=[2, 2]), 0.037, 2), tmp_path)
    result = compare(path)
    whole = result.outputs[0].whole
    assert result.is_right and result.first_difference is None
    assert whole.optimised.differing and whole.itself.differing and not whole.unoptimised.differing
    (line,) = report.ends(result, result.outputs)
    assert "without its optimiser differs from that in" in line and line.endswith(
        "and equals the simulator's"
    )


def test_real_numbers_that_the_unoptimised_reference_does_not_confirm_count_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever computes the real numbers makes the same mistake as the program: the layer is wrong all the same."""
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_network())
    enf = tmp_path / "damaged.enf"
    enf.write_bytes(damaged(path.read_bytes(), "a/q", "warboy-2pe"))
    ours: list[np.ndarray] = []
    explain = Judge._explain

    def spying(self: Judge, row: Row, mine: np.ndarray, *arguments: np.ndarray) -> None:
        ours[:] = [mine]
        explain(self, row, mine, *arguments)

    def agreeing(self: Explainer) -> Real:
        return Real(ours[0].astype(np.float64), Scale(-128, 127, np.zeros(())))

    monkeypatch.setattr(Judge, "_explain", spying)
    monkeypatch.setattr(Explainer, "real", agreeing)
    monkeypatch.setattr(Real, "fits", lambda self, plain: np.ones(plain.shape, bool))
    assert compare(str(enf), str(path)).is_right, "what would happen"
    monkeypatch.undo()
    monkeypatch.setattr(Judge, "_explain", spying)
    monkeypatch.setattr(Explainer, "real", agreeing)
    result = compare(str(enf), str(path))
    assert result.first_wrong is not None and result.first_wrong.tensor == "a/q"


# -- a reference that refuses --------------------------------------------------------------------------------------------


def _refuse(monkeypatch: pytest.MonkeyPatch, *words: bytes) -> None:
    """Lets the reference refuse every model with one of the words in it."""
    opened = isolated.References.open

    def refusing(
        self: isolated.References, model: bytes, *arguments: object, **options: object
    ) -> reference.Reference:
        if any(w in model for w in words):
            raise reference.Refused("onnxruntime refuses it: no kernel for Sin")
        return opened(self, model, *arguments, **options)

    monkeypatch.setattr(isolated.References, "open", refusing)


def test_what_the_reference_refuses_is_judged_by_the_real_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_network())
    _refuse(monkeypatch, b"Conv")
    result = compare(str(path))
    assert result.is_right and result.outputs[0].whole.reason == "onnxruntime refuses it: no kernel for Sin"
    rows = {r.tensor: r for r in result.layers}
    for name in ("a/q", "b/q"):
        assert rows[name].note.startswith("compared with the real numbers") and rows[name].tally.elements
    assert not rows["sin/q"].note and rows["sin/q"].tally.elements  # of a part without the refused operator
    assert main(["compare", str(path)]) == 0


def test_a_layer_that_nobody_can_judge_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite_network())
    # one tensor of the model, so that each part with the operator that makes it is refused
    _refuse(monkeypatch, b"sine")
    result = compare(str(path))
    assert [r.tensor for r in result.unjudged] == ["sine", "again"] and not result.is_right
    assert main(["compare", str(path)]) == 1
    assert (
        "FAILED: 2 tensors could not be compared, the first 'sine': onnxruntime refuses it"
        in capsys.readouterr().out
    )


def test_a_reference_that_fails_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_network())
    opened = isolated.References.open

    class Failing:
        def run(self, *arguments: object) -> list[np.ndarray]:
            raise reference.Refused("onnxruntime fails: out of luck")

    def failing(
        self: isolated.References, model: bytes, *arguments: object, **options: object
    ) -> reference.Reference:
        session = opened(self, model, *arguments, **options)
        outputs = onnx.ModelProto.FromString(model).graph.output
        return Failing() if any(o.name.startswith("sin/q") for o in outputs) else session

    monkeypatch.setattr(isolated.References, "open", failing)
    result = compare(str(path))
    (row,) = (r for r in result.layers if r.note)
    assert row.tensor == "sin/q" and result.is_right


# -- a compiler that reads something else than the file ------------------------------------------------------------------


def test_another_model_than_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All layers agree with the reference, which gets them from the compiler; only the file tells that they are others."""
    read = importer.import_onnx

    def wrong(*arguments: object, **options: object) -> Graph:
        graph = read(*arguments, **options)
        for op in graph.operators:
            for i, t in enumerate(op.inputs):
                if t is not None and t.name == "b/w":
                    op.inputs[i] = replace(t, data=t.data[..., ::-1].copy())
        return graph

    monkeypatch.setattr(importer, "import_onnx", wrong)
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_network())
    result = compare(str(path))
    assert result.first_difference is None and not result.is_right
    assert result.outputs[0].whole.is_other
    last = list(report.text(result))[-1]
    assert last.startswith("FAILED: output 'b/dq' differs from onnxruntime's in ")
    assert "what the compiler imported is not the model in the file" in last


def test_an_output_that_is_an_input(tmp_path: Path) -> None:
    """No layer makes it: it is compared from end to end alone."""
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 3], "float32"), b.tensor("y", [1, 3], "float32")
    b.operator("ABS", [x], [y])
    path = tmp_path / "net.tflite"
    path.write_bytes(b.build([x], [x, y]))
    result = compare(str(path))
    same, made = result.outputs
    assert result.is_right and same.tally is None and made.tally.elements == 9
    assert same.whole.optimised.elements == 9 and not same.whole.optimised.differing
    same.whole.optimised.differing = same.whole.optimised.largest = 1
    assert not result.is_right and list(report.text(result))[-1].startswith("FAILED: output 'x' differs from")
