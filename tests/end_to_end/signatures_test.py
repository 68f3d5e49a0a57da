"""A TFLite model of several signatures: on the command line, in a session, in a bundle, and beside LiteRT's signature runner."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.tflite.testing import ModelBuilder
from furiosa.enf import reader
from furiosa.runtime import errors, session
from furiosa.runtime.bundle.reader import Bundle
from furiosa.runtime.compare.compare import compare


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Signatures "add" and "sub", each of int8 inputs "b" and "a" to "result"."""
    b = ModelBuilder()
    b.model.signatureDefs = []
    for k, (name, op_type) in enumerate((("add", "ADD"), ("sub", "SUB"))):
        if k:
            b.subgraph()
        x, y, z = (b.tensor(f"{name}_{n}", [1, 4, 4, 8], scale=0.5, zero_point=k) for n in "xyz")
        b.operator(op_type, [x, y], [z])
        b.graph.inputs, b.graph.outputs = [x, y], [z]
        maps = [schema.TensorMapT(name=n, tensorIndex=i) for n, i in (("b", x), ("a", y))]
        result = [schema.TensorMapT(name="result", tensorIndex=z)]
        b.model.signatureDefs.append(
            schema.SignatureDefT(signatureKey=name, subgraphIndex=k, inputs=maps, outputs=result)
        )
    path = tmp_path / "m.tflite"
    path.write_bytes(b.build([0, 1], [2]))
    return path


def _inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: rng.integers(-50, 50, (1, 4, 4, 8)).astype(np.int8) for n in "ab"}


@pytest.mark.parametrize("name", ["add", "sub"])
def test_a_signature_is_what_runs(name: str, model: Path, tmp_path: Path, capfd) -> None:
    enf, report = tmp_path / f"{name}.enf", tmp_path / "r.json"
    options = ["--signature", name, "-v", "-o", str(enf), "--report-json", str(report)]
    assert main(["compile", str(model), *options]) == 0
    assert f"signature {name}: inputs a, b; outputs result" in capfd.readouterr().err
    assert json.loads(report.read_text())["selection"]["signature"] == name
    assert reader.load(enf.read_bytes()).metadata.selection.signature == name
    values = _inputs()
    expected = Interpreter(model_content=model.read_bytes()).get_signature_runner(name)(**values)["result"]
    for opened in (session.create(enf), session.create(model, compile_config={"signature": name})):
        with opened as s:
            assert [d.name for d in s.inputs()] == ["a", "b"] and s.output(0).name == "result"
            np.testing.assert_array_equal(s.run([values["a"], values["b"]])[0].numpy(), expected)
            np.testing.assert_array_equal(s.run_with(["result"], values)[0].numpy(), expected)
    for result in (compare(str(enf), str(model)), compare(str(model), chosen={"signature": name})):
        assert result.first_difference is None and [r.tensor for r in result.outputs] == ["result"]


def test_a_manifest_says_which(model: Path, tmp_path: Path) -> None:
    enf, bundle = tmp_path / "sub.enf", tmp_path / "b.tar"
    assert main(["compile", str(model), "--signature", "sub", "-o", str(enf)]) == 0
    assert main(["bundle", "pack", "-o", str(bundle), "--model", f"sub={enf}"]) == 0
    assert Bundle.open(str(bundle)).manifest.models[0].selection.signature == "sub"


def test_which_one_has_to_be_said(model: Path, tmp_path: Path, capfd) -> None:
    assert main(["compile", str(model), "-o", str(tmp_path / "m.enf")]) == 12
    error = capfd.readouterr().err
    assert "the model has 2 signatures, 'add', 'sub': name the one to compile, --signature NAME" in error
    assert not (tmp_path / "m.enf").exists()
    with pytest.raises(errors.InvalidCompilerConfig, match="has 2 signatures, 'add', 'sub'"):
        session.create(model)
    with pytest.raises(errors.InvalidCompilerConfig, match="no signature 'mul'"):
        session.create(model, compile_config={"signature": "mul"})
