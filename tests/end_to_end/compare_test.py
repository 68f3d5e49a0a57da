"""``furiosa compare``: equal models are equal, and a damaged weight is found in its layer."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from furiosa.compiler import pipeline
from furiosa.compiler.cli.main import main
from furiosa.compiler.pipeline import compile_model
from furiosa.enf import reader
from furiosa.enf.target import load_target
from furiosa.runtime.compare.compare import compare
from furiosa.runtime.simulator import machine
from tests.end_to_end.compared_models import damaged, onnx_network, tflite_network

MODELS = {"onnx": onnx_network, "tflite": tflite_network}
A, B = {"onnx": "a/q", "tflite": "a"}, {"onnx": "b/q", "tflite": "b"}
TARGETS = ["warboy", "warboy-2pe"]


def _write(folder: Path, kind: str, **arguments: int) -> str:
    path = folder / f"network.{kind}"
    path.write_bytes(MODELS[kind](**arguments))
    return str(path)


def _compared(result: object) -> set[str]:
    return {r.tensor for r in result.layers if r.tally is not None}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_with_a_host_cluster_in_the_middle(kind: str, target: str, tmp_path: Path) -> None:
    result = compare(_write(tmp_path, kind), target_npu=target)
    assert result.first_difference is None and result.is_right
    assert {A[kind], B[kind]} <= _compared(result)
    assert {r.placed_on for r in result.layers} == {"npu", "host"}
    assert all(r.tally.elements == 3 * np.prod(r.shape) for r in result.rows if r.tally is not None)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layer", [A, B], ids=["before the host", "after the host"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_damaged_weight_is_found_in_its_layer(kind: str, layer: dict, target: str, tmp_path: Path) -> None:
    source = _write(tmp_path, kind)
    enf = tmp_path / "damaged.enf"
    enf.write_bytes(damaged(Path(source).read_bytes(), layer[kind], target))
    result = compare(str(enf), source)
    assert result.changed == ["constants"]
    first = result.first_difference
    assert first.tensor == layer[kind] and first is result.first_wrong and not result.is_right
    # what follows is judged by the values that it has got, so that the fault shows once
    assert {r.tensor for r in result.rows if r.differs} == {first.tensor}
    assert (first.op_type, first.computes) in (("QuantizeLinear", ("Conv",)), ("CONV_2D", ()))
    # one weight reaches one output channel, and there nearly all pixels
    image = np.prod(first.shape) * len(result.inputs)
    assert 0 < first.tally.differing <= image // first.shape[-1 if kind == "tflite" else 1]
    channel = first.tally.example.position[-1 if kind == "tflite" else 1]
    assert channel == 0
    assert abs(first.tally.example.simulator - first.tally.example.reference) <= first.tally.largest
    assert sum(n for _, _, n in first.tally.histogram()) == first.tally.elements == image


def test_two_inputs_from_files(tmp_path: Path) -> None:
    source = _write(tmp_path, "onnx", inputs=2)
    rng = np.random.default_rng(0)
    folder = tmp_path / "inputs"
    folder.mkdir()
    for i in range(2):
        np.savez(
            folder / f"{i}.npz",
            **{f"x{k}": rng.standard_normal((1, 8, 12, 12)).astype(np.float32) for k in range(2)},
        )
    result = compare(source, None, [str(folder), str(folder / "0.npz")])
    assert result.inputs == ["0.npz", "1.npz", "0.npz"] and result.seed is None
    assert result.first_difference is None and {"sum1/q", "a/q", "b/q"} <= _compared(result)


@pytest.mark.parametrize("kind", MODELS)
def test_tensors_that_go_through_dram_in_tiles(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def smaller(name: str) -> object:
        target = load_target(name)
        return target._replace(sram_bytes_per_slice=(6 << 10) // (target.pes * target.slices_per_pe))

    monkeypatch.setattr(pipeline, "load_target", smaller)
    source = _write(tmp_path, kind, size=30)
    program = reader.load(compile_model(Path(source).read_bytes()))
    assert sum(c.instruction.name == "CONV2D" for c in program.commands) > 8  # many tiles
    result = compare(source)
    assert result.first_difference is None and {A[kind], B[kind]} <= _compared(result)
    enf = tmp_path / "damaged.enf"
    enf.write_bytes(damaged(Path(source).read_bytes(), B[kind]))
    assert compare(str(enf), source).first_difference.tensor == B[kind]


@pytest.mark.parametrize("kind", MODELS)
def test_a_batch_is_compared_sample_by_sample(kind: str, tmp_path: Path) -> None:
    result = compare(_write(tmp_path, kind), batch_size=3)
    assert result.first_difference is None and {A[kind], B[kind]} <= _compared(result)
    assert result.outputs[0].shape[0] == 3


def test_an_enf_says_what_it_was_compiled_for(tmp_path: Path) -> None:
    source = _write(tmp_path, "tflite")
    data = Path(source).read_bytes()
    for options in (
        {"target_npu": "warboy", "batch_size": 2},
        {"target_npu": "warboy-2pe", "compatibility": "0.6.3"},
    ):
        enf = tmp_path / "network.enf"
        enf.write_bytes(compile_model(data, **options))
        result = compare(str(enf), source)
        assert result.changed == [] and result.first_difference is None
        assert result.batch_size == options.get("batch_size", 1) and "b" in _compared(result)


def test_external_data_behind_links(tmp_path: Path) -> None:
    """As in the runfiles of a Bazel test."""
    import onnx

    model = onnx.ModelProto.FromString(onnx_network())
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    onnx.save(
        model,
        tmp_path / "real/m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=100,
    )
    for name in ("m.onnx", "weights.bin"):
        (tmp_path / "links" / name).symlink_to(tmp_path / "real" / name)
    for folder in ("real", "links"):
        result = compare(str(tmp_path / folder / "m.onnx"))
        assert result.first_difference is None and "b/q" in _compared(result)


def test_commands_that_two_threads_run(tmp_path: Path) -> None:
    source = _write(tmp_path, "onnx", size=60)
    program = reader.load(compile_model(Path(source).read_bytes()))
    assert max(map(machine._work, program.commands)) >= machine.PARALLEL_WORK
    assert compare(source).first_difference is None


def test_scalars_and_no_inputs_at_all(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    scalar, row = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", []), ("y", [5]))
    )
    ones = helper.make_node("RandomUniform", [], ["y"], shape=[5], low=1.0, high=1.0, seed=1.0)
    for inputs, node, y, elements in (
        ([scalar], helper.make_node("Exp", ["x"], ["y"]), helper.make_tensor_value_info("y", 1, []), 1),
        ([], ones, row, 5),
    ):
        path = tmp_path / "scalar.onnx"
        opset = [helper.make_opsetid("", 17)]
        graph = helper.make_graph([node], "g", inputs, [y])
        path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
        result = compare(str(path))
        assert result.first_difference is None and result.outputs[0].tally.elements == 3 * elements


def test_a_program_of_another_compiler_is_compared_by_its_outputs(tmp_path: Path) -> None:
    source = _write(tmp_path, "onnx")
    data = Path(source).read_bytes()
    enf = reader.load(compile_model(data))
    sections = {s.name: bytes(enf.section(s.name)) for s in enf.sections}
    memory = type(enf.memory).FromString(sections["memory"])
    memory.dram_tensor[0] = "another name"
    from furiosa.enf import container

    path = tmp_path / "foreign.enf"
    path.write_bytes(container.to_bytes(sections | {"memory": memory.SerializeToString(deterministic=True)}))
    result = compare(str(path), source)
    assert result.changed == ["memory"] and not _compared(result)
    assert result.first_difference is None and result.outputs[0].tally.elements > 0


# -- the command ---------------------------------------------------------------------------------------------------------


def _run(*arguments: object) -> int:
    return main(["compare", *map(str, arguments)])


def test_command_on_an_equal_model(
    tiny_model: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model)
    assert _run(path, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html", "--seed", 7) == 0
    out = capsys.readouterr().out
    assert "tiny.onnx for warboy-2pe, batch size 1, with onnxruntime" in out and "seed 7" in out
    assert "All elements are equal." in out
    document = json.loads((tmp_path / "a.json").read_text("ascii"))
    assert document["within_max_lsb"] is True and document["first_difference"] is None
    first = (tmp_path / "a.json").read_bytes(), (tmp_path / "a.html").read_bytes()
    assert _run(path, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html", "--seed", 7) == 0
    assert first == ((tmp_path / "a.json").read_bytes(), (tmp_path / "a.html").read_bytes())


class _Page(HTMLParser):
    """Tags, attributes and the text of rows of a page; fails on tags that are not closed in order."""

    VOID = ("meta",)

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[tuple[str, list[str]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append((dict(attrs).get("class", ""), []))
        if tag in ("td", "th"):
            self.rows[-1][1].append("")
        if tag not in (*self.VOID, "br"):
            self._open.append((tag, dict(attrs).get("id", "")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] in ("td", "th"):
            self.rows[-1][1][-1] += data
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data


def test_command_on_a_damaged_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _write(tmp_path, "tflite")
    enf = tmp_path / "damaged.enf"
    enf.write_bytes(damaged(Path(source).read_bytes(), "a"))
    status = _run(enf, "--source", source, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html")
    out = capsys.readouterr().out
    assert status == 1
    assert "First difference that nothing explains: layer 0, CONV_2D 'a' on the npu, tensor 'a'" in out
    assert "FAILED: 1 tensor with elements more than 0 LSB off." in out

    document = json.loads((tmp_path / "a.json").read_text("ascii"))
    assert set(document) == {
        *("version", "model", "source", "source_format", "source_sha256", "compiler_version", "target_npu"),
        *("batch_size", "reference", "inputs", "seed", "changed_sections", "max_lsb", "within_max_lsb"),
        *("first_difference", "first_beyond_max_lsb", "layers", "outputs"),
    }
    layer = document["layers"][0]
    assert document["first_difference"] == {
        "in": "layers",
        "index": 0,
        "tensor": "a",
        "largest_lsb": layer["largest_lsb"],
    }
    assert document["within_max_lsb"] is False and document["changed_sections"] == ["constants"]
    assert layer["tensor"] == "a" and layer["differing"] > 0 and layer["largest_lsb"] > 0
    assert [h["from"] for h in layer["histogram"][:3]] == [0, 1, 2]
    assert sum(h["elements"] for h in layer["histogram"]) == layer["elements"] == 3 * 12 * 12 * 8
    assert sum(h["elements"] for h in layer["histogram"][1:]) == layer["differing"]

    page = _Page()
    page.feed((tmp_path / "a.html").read_text("utf-8"))
    page.close()
    assert not page._open and not {"script", "link", "img", "iframe", "a", "object"} & set(page.tags)
    assert not [v for k, v in page.attributes if k in ("src", "href", "srcset", "data") or "://" in (v or "")]
    assert "url(" not in (tmp_path / "a.html").read_text("utf-8")
    highlighted = [cells for kind, cells in page.rows if kind == "first"]
    assert len(highlighted) == 1 and highlighted[0][1] == "CONV_2D" and highlighted[0][3] == "a"
    assert highlighted[0][6:8] == [str(layer["differing"]), str(layer["largest_lsb"])]
    assert "First difference that nothing explains: layer 0" in page.texts["verdict"]

    limit = max(r["wrong"]["largest_lsb"] for r in document["layers"] + document["outputs"] if r["compared"])
    assert _run(enf, "--source", source, "--max-lsb", limit) == 0
    assert _run(enf, "--source", source, "--max-lsb", limit - 1) == 1


def test_result_for_build_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xml.etree import ElementTree

    source = _write(tmp_path, "onnx")
    enf = tmp_path / "damaged.enf"
    enf.write_bytes(damaged(Path(source).read_bytes(), "b/q"))
    monkeypatch.setenv("TEST_TARGET", "//models:a_test")
    assert _run(source, "--junit-xml", tmp_path / "good.xml") == 0
    assert _run(enf, "--source", source, "--junit-xml", tmp_path / "bad.xml") == 1
    good, bad = (ElementTree.parse(tmp_path / f"{name}.xml").getroot()[0] for name in ("good", "bad"))
    assert good.get("name") == bad.get("name") == "//models:a_test"
    assert good.get("failures") == "0" and good.find("testcase/failure") is None
    assert bad.get("failures") == "1"
    assert "tensor 'b/q'" in bad.find("testcase/failure").get("message")
    assert "FAILED" in bad.find("system-out").text


def test_names_cannot_write_into_the_page(tmp_path: Path) -> None:
    import onnx

    model = onnx.ModelProto.FromString(onnx_network())
    evil = '<script src="//x">&"\n'
    for node in model.graph.node:
        node.input[:] = [evil if n == "a/q" else n for n in node.input]
        node.output[:] = [evil if n == "a/q" else n for n in node.output]
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert _run(path, "--html", tmp_path / "a.html") == 0
    page = _Page()
    page.feed((tmp_path / "a.html").read_text("utf-8"))
    assert "script" not in page.tags
    assert [cells for _, cells in page.rows if '<script src="//x">&"' in "".join(cells)]


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _write(tmp_path, "onnx")
    data = Path(source).read_bytes()
    enf = tmp_path / "a.enf"
    enf.write_bytes(compile_model(data, target_npu="warboy"))
    other = tmp_path / "other.onnx"
    other.write_bytes(onnx_network(size=14))
    short = tmp_path / "short.npy"
    np.save(short, np.zeros((1, 8, 12), np.float32))
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, y=np.zeros(3))
    junk = tmp_path / "junk.npz"
    junk.write_bytes(b"PK")
    text = tmp_path / "model.txt"
    text.write_text("no model")
    cases = [
        (255, "is an ENF: name the model that it was compiled from by --source", [enf]),
        (255, "was not compiled from", [enf, "--source", other]),
        (255, "--source goes with an ENF", [source, "--source", source]),
        (255, "is compiled for warboy", [enf, "--source", source, "--target-npu", "warboy-2pe"]),
        (255, "expected (1, 8, 12, 12) (float32) but got (1, 8, 12)", [source, "--inputs", short]),
        (255, "input 'x0' is missing; the file has 'y'", [source, "--inputs", wrong]),
        (255, "is not a whole .npz file", [source, "--inputs", junk]),
        (255, "samples are .npy or .npz files", [source, "--inputs", text]),
        (255, "-1 is not between 0", [source, "--max-lsb", "-1"]),
        (255, "invalid choice", [source, "--target-npu", "abacus"]),
        (2, "No such file", [tmp_path / "missing.onnx"]),
        (4, "not an ONNX or TFLite file", [text]),
        (2, "does not exist, create it first", [source, "--json", tmp_path / "no" / "a.json"]),
    ]
    for code, sentence, arguments in cases:
        assert _run(*arguments) == code, arguments
        err = capsys.readouterr().err
        assert err.startswith("ERROR: ") and err.count("\n") == 1 and sentence in err, err
