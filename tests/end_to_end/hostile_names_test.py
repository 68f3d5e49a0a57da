"""Names out of a stranger's file: whatever they hold, each output of each command has the structure that it has with plain names.

A model with names that are drawn (of tensors, operators, the graph, its file) goes through every command and
is compared with the same model under plain names: text has as many lines, and no character that a terminal acts on; JSON parses; a page has the same
tags; CSV and DOT have the same fields and statements.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.checks import budget, lint
from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "2"))
TENSORS, OPERATORS = 10, 5  # names that a model needs
LONG = 5000

PIECES = (
    "\n", "\r", "\t", "\x1b[31m", "\x1b]0;title\x07", "\x7f", "\x9b2J", "|", "||", "`", "*", "#", "<script>alert(1)</script>", "</script>", "<!--", "-->",
    "]]>", "&amp;", "&", "<", ">", '"', "'", "\\", "\\n", ",", ";", "=1+1", "{", "}", "%s", "{0}", "$(id)", "\u202e", "\u200f", "\u2028", "\u2029", "\u0085", "\ufeff",
    "é", "名", "🙂", " ", "  ", "ERROR: forged", "//", ":", "x" * LONG,
)  # fmt: skip

names = st.lists(
    st.sampled_from(PIECES) | st.text(max_size=3).filter(lambda t: "\0" not in t), max_size=4
).map("".join)


class Names(NamedTuple):
    """Of tensors, operators, the graph, and the file."""

    tensors: list[str]
    operators: list[str]
    graph: str
    file: str


PLAIN = Names([f"t{i}" for i in range(TENSORS)], [f"n{i}" for i in range(OPERATORS)], "graph", "plain")


def worst() -> Names:
    """All of the pieces."""
    parts = ["".join(PIECES[i :: TENSORS + OPERATORS]) + str(i) for i in range(TENSORS + OPERATORS)]
    file = "".join(p for p in PIECES if len(p) < 9 and "/" not in p)
    return Names(parts[:TENSORS], parts[TENSORS:], "".join(PIECES), f"f{file}")


@st.composite
def hostile(draw: st.DrawFn) -> Names:
    tensors = [draw(names) + str(i) for i in range(TENSORS)]
    operators = [draw(names) + str(i) for i in range(OPERATORS)]
    file = (
        draw(names)
        .replace("/", "_")
        .replace("\0", "_")
        .encode("utf-8", "replace")[:80]
        .decode("utf-8", "ignore")
    )
    return Names(tensors, operators, draw(names), f"f{file}")


def onnx_model(n: Names) -> bytes:
    """A convolution and a Relu for the NPU and a CumSum for the host, each between Q and DQ."""
    x, x_real, w, w_real, y_real, y, y_again, z_real, z, s = n.tensors
    zero = f"{s}.zero"
    op = iter(n.operators)
    quantise = lambda a, b: helper.make_node("QuantizeLinear", [a, s, zero], [b], next(op))
    real = lambda a, b: helper.make_node("DequantizeLinear", [a, s, zero], [b])
    nodes = [
        real(x, x_real),
        real(w, w_real),
        helper.make_node("Conv", [x_real, w_real], [y_real], next(op), kernel_shape=[1, 1]),
        quantise(y_real, y),
        real(y, y_again),
        helper.make_node("CumSum", [y_again, f"{s}.axis"], [z_real], next(op)),
        quantise(z_real, z),
    ]
    constants = {
        w: np.arange(9, dtype=np.int8).reshape(3, 3, 1, 1),
        s: np.float32(0.5),
        zero: np.int8(0),
        f"{s}.axis": np.int64(2),
    }
    graph = helper.make_graph(
        nodes,
        n.graph,
        [helper.make_tensor_value_info(x, TensorProto.INT8, [1, 3, 4, 4])],
        [helper.make_tensor_value_info(z, TensorProto.INT8, [1, 3, 4, 4])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.producer_name = n.graph
    return model.SerializeToString()


def tflite_model(n: Names) -> bytes:
    """The same without names of operators, which TFLite does not have; a byte in each that is no UTF-8 where names are not plain."""
    raw = [t if n is PLAIN else t.encode("utf-8", "replace") + b"\xff\x80" for t in n.tensors]
    b = ModelBuilder()
    x, y, z = (b.tensor(name, [4, 4], scale=0.5) for name in raw[:3])
    b.operator("TRANSPOSE", [x, b.tensor(raw[3], [2], "int32", [1, 0])], [y], options("TransposeOptions"))
    places = b.tensor(raw[4], [4, 1], "int32", [[3], [2], [1], [0]])
    sizes = b.tensor(raw[5], [2], "int32", [4, 4])
    b.operator("SCATTER_ND", [places, y, sizes], [z], options("ScatterNdOptions"))
    b.graph.name = raw[6]
    return b.build([x], [z])


MODELS = {"onnx": onnx_model, "tflite": tflite_model}

COMMANDS = (
    "compile MODEL -v -o m.enf --report-json r.json --report p.html --analyze-memory a.html --chrome-trace t.json --dot-graph d.dot",
    *(f"compile MODEL -o {ir}.txt --target-ir {ir}" for ir in ("dfg", "ldfg", "cdfg", "gir", "lir")),
    "compile MODEL -o none.enf --min-npu-coverage 1.0",
    "compile MODEL -o none.enf --outputs nothing",
    "compile MODEL -o none.enf --input-shape nothing=1",
    "enf dump m.enf",
    "enf dump m.enf --commands",
    "enf dump m.enf --json",
    "enf verify m.enf",
    "enf report m.enf r.json --report q.html --chrome-trace u.json",
    "compile MODEL -o o.enf --optimize 0",
    "enf diff m.enf o.enf",
    "enf diff m.enf o.enf --json",
    "tune MODEL --batch-sizes 1 -o t.csv",
    "tune MODEL --batch-sizes 1 -o tune.json",
    "tune MODEL --batch-sizes 1",
    "run MODEL --random 1 -o o.npz",
    "run m.enf --random 1",
    "run m.enf --input none=x.npy",
    "compare MODEL --json c.json --html c.html",
    "compare MODEL -v",
    "bench m.enf -n 2 -o b.json -T trace.json",
    "bench MODEL -n 2",
    "quantize MODEL --random -o q.onnx",
    "bundle pack -o v.tar --model m=m.enf --manifest-json m.json",
    "bundle list v.tar",
    "bundle list v.tar --json",
    "bundle verify v.tar",
    "bundle run v.tar --random 1",
    "lint r.json --source MODEL --label //:m --sarif l.json --json l2.json",
    "budget r.json --max-enf-bytes 1",
)
OTHERS = {"lint": lint.main, "budget": budget.main}


def outputs(make: str, n: Names, folder: Path, capfd: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What each command says and writes, by name; exit codes, too."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)
    model = f"{n.file}.{make}"
    Path(model).write_bytes(MODELS[make](n))
    found = {}
    for line in COMMANDS:
        argv = [model if word == "MODEL" else word for word in line.split()]
        run = OTHERS.get(argv[0])
        found[f"{line}: status"] = str(main(argv) if run is None else run(argv[1:]))
        out, err = capfd.readouterr()
        found[f"{line}: {'json' if line.endswith('--json') else 'stdout'}"], found[f"{line}: stderr"] = (
            out,
            err,
        )
    for path in sorted(Path().iterdir()):
        if path.suffix in (".json", ".html", ".csv", ".dot", ".txt"):
            found[path.name] = path.read_bytes().decode("utf-8")
    return found


def unseen(text: str) -> set[str]:
    """Characters that a terminal, an editor or a browser acts on."""
    return {c for c in text if not c.isprintable() and c != "\n"}


class Tags(HTMLParser):
    """The tags of a page, with the names of their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment",))


def structure(name: str, text: str) -> object:
    """What of an output does not depend on names."""
    if name.endswith(": status"):
        return text
    if name.endswith(("json", ".json")):
        parsed = json.loads(text) if text else None
        return sorted(parsed) if isinstance(parsed, dict) else type(parsed)
    if name.endswith(".html"):
        return Tags(text).found
    if name.endswith(".csv"):
        return [len(row) for row in csv.reader(text.splitlines(keepends=True))]
    if name.endswith(".dot"):
        return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    return text.count("\n")


@pytest.mark.parametrize("kind", MODELS)
def test_names_change_no_structure(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = outputs(kind, PLAIN, tmp_path / "a", capfd)
    assert plain[f"{COMMANDS[0]}: status"] == "0"

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=EXAMPLES < 10,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(hostile())
    @example(worst())
    def check(n: Names) -> None:
        found = outputs(kind, n, tmp_path / "b", capfd)
        assert found.keys() == plain.keys()
        wrong = []
        for name, text in found.items():
            if bad := unseen(text):
                wrong.append(
                    f"{name}: {sorted(bad)}: {next(l for l in text.split(chr(10)) if bad & set(l))[:300]!r}"
                )
            try:
                if structure(name, text) != structure(name, plain[name]):
                    wrong.append(f"{name}:\n{text[:1500]}\ninstead of\n{plain[name][:1500]}")
            except ValueError as e:
                wrong.append(f"{name}: {e}")
        assert not wrong, "\n\n".join(wrong)

    check()
