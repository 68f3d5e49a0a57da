"""What cannot run is refused when it is built: host clusters are tried by ``furiosa compile`` and ``furiosa enf verify``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.pipeline import compile_model
from furiosa.enf import host_trial, reader
from furiosa.runtime.host import trial
from furiosa.runtime.testing.enf_files import descriptor, host_enf, onnx_model

LOWEST = -(1 << 31)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def always_crashes() -> bytes:
    """FLOOR_MOD of the lowest integer by -1, which x86 ends with SIGFPE, whatever the input."""
    b = ModelBuilder()
    x, low = b.tensor("x", [2], "int32"), b.tensor("low", [2], "int32", [LOWEST, LOWEST])
    minus, lowest, y = (
        b.tensor("minus", [2], "int32", [-1, -1]),
        b.tensor("l", [2], "int32"),
        b.tensor("y", [2], "int32"),
    )
    b.operator("MINIMUM", [x, low], [lowest], options("MaximumMinimumOptions"))
    b.operator("FLOOR_MOD", [lowest, minus], [y], options("FloorModOptions"))
    return b.build([x], [y])


def crashes_at_zero() -> bytes:
    """The same where x is 0: the lowest integer mod (x - 1), and where it is 1 a division by 0, to which LiteRT objects."""
    b = ModelBuilder()
    x, low = b.tensor("x", [2], "int32"), b.tensor("low", [2], "int32", [LOWEST, LOWEST])
    one, lowest, y = (
        b.tensor("one", [2], "int32", [1, 1]),
        b.tensor("l", [2], "int32"),
        b.tensor("y", [2], "int32"),
    )
    less = b.tensor("less", [2], "int32")
    b.operator("MINIMUM", [x, low], [lowest], options("MaximumMinimumOptions"))
    b.operator("SUB", [x, one], [less], options("SubOptions"))
    b.operator("FLOOR_MOD", [lowest, less], [y], options("FloorModOptions"))
    return b.build([x], [y])


def crashes_at_zero_only() -> bytes:
    """The lowest integer mod (2 x - 1): SIGFPE where x is 0, and 0 where it is 1."""
    b = ModelBuilder()
    x, low = b.tensor("x", [2], "int32"), b.tensor("low", [2], "int32", [LOWEST, LOWEST])
    one, lowest, y = (
        b.tensor("one", [2], "int32", [1, 1]),
        b.tensor("l", [2], "int32"),
        b.tensor("y", [2], "int32"),
    )
    twice, less = b.tensor("twice", [2], "int32"), b.tensor("less", [2], "int32")
    b.operator("MINIMUM", [x, low], [lowest], options("MaximumMinimumOptions"))
    b.operator("ADD", [x, x], [twice], options("AddOptions"))
    b.operator("SUB", [twice, one], [less], options("SubOptions"))
    b.operator("FLOOR_MOD", [lowest, less], [y], options("FloorModOptions"))
    return b.build([x], [y])


def objects_to_values() -> bytes:
    """Divides by x - x: LiteRT refuses whatever is made up here."""
    b = ModelBuilder()
    x, nothing, y = (b.tensor(name, [2], "int32") for name in ("x", "nothing", "y"))
    b.operator("SUB", [x, x], [nothing], options("SubOptions"))
    b.operator("DIV", [x, nothing], [y], options("DivOptions"))
    return b.build([x], [y])


def size_by_values() -> bytes:
    """WHERE as the model's output: how many rows it has the input tells."""
    b = ModelBuilder()
    x, y = b.tensor("x", [1, 4], "bool"), b.tensor("y", [1, 2], "int64")
    b.operator("WHERE", [x], [y])
    return b.build([x], [y])


def no_kernel() -> bytes:
    """ONNX knows Erf of float64, onnxruntime has no kernel for it."""
    return onnx_model([("Erf", ["x"], ["y"], {})], {"x": ("float64", (1, 4))}, {"y": ("float64", (1, 4))})


def endless() -> bytes:
    b = ModelBuilder()
    x, y = b.tensor("x", [1], "int32"), b.tensor("y", [1], "int32")
    b.operator("WHILE", [x], [y], options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2))
    for dtype in ("bool", "int32"):
        g = b.subgraph()
        g.inputs, g.outputs = [b.tensor("x", [1], "int32")], [b.tensor("y", [1], dtype)]
        if dtype == "bool":
            b.operator(
                "GREATER_EQUAL", [0, b.tensor("zero", [1], "int32", [0])], [1], options("GreaterEqualOptions")
            )
        else:
            b.operator("ABS", [0], [1])
    return b.build([x], [y])


REFUSED = {
    "always crashes": (
        always_crashes,
        "host cluster 1 of 1 (tflite), which makes 'y': its process was ended by SIGFPE",
    ),
    "crashes or objects": (crashes_at_zero, "its process was ended by SIGFPE"),
    "its size is that of values": (
        size_by_values,
        "tensor 'y': the file says (1, 2) (int64), the host model (4, 2)",
    ),
    "no kernel": (no_kernel, "NOT_IMPLEMENTED : Could not find an implementation for Erf"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_run_is_not_compiled(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, words = REFUSED[kind]
    Path("model").write_bytes(make())
    assert main(["compile", "model", "-o", "m.enf", "--report-json", "r.json"]) == 5
    out, err = capfd.readouterr()
    assert (
        out == ""
        and err.count("\n") == 1
        and err.startswith("ERROR: model: host cluster 1 of 1")
        and words in err
    )
    assert err.endswith("; --no-host-trial (of npu_model: host_trial = False) does without the trial\n")
    assert os.listdir() == ["model"]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_run_is_not_verified(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, words = REFUSED[kind]
    Path("model").write_bytes(make())
    assert main(["compile", "model", "-o", "m.enf", "--no-host-trial"]) == 0
    capfd.readouterr()
    assert main(["enf", "verify", "m.enf", "--stamp", "stamp"]) == 5
    err = capfd.readouterr().err
    assert err.startswith("ERROR: m.enf: host cluster 1 of 1") and words in err and err.count("\n") == 1
    assert not Path("stamp").exists()
    assert main(["enf", "verify", "m.enf", "--stamp", "stamp", "--no-host-trial"]) == 0
    assert capfd.readouterr().err == "" and Path("stamp").exists()


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bundle_with_what_cannot_run_is_not_verified(
    kind: str, tiny_enf: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    make, words = REFUSED[kind]
    Path("model").write_bytes(make())
    Path("good.enf").write_bytes(tiny_enf)
    assert main(["compile", "model", "-o", "m.enf", "--no-host-trial"]) == 0
    assert main(["bundle", "pack", "-o", "b.tar", "--model", "good=good.enf", "--model", "other=m.enf"]) == 0
    capfd.readouterr()
    assert main(["bundle", "verify", "b.tar", "--stamp", "stamp"]) == 5
    err = capfd.readouterr().err
    assert err.startswith("ERROR: b.tar: model 'other': host cluster 1 of 1") and words in err
    assert err.count("\n") == 1 and not Path("stamp").exists()
    assert main(["bundle", "verify", "b.tar", "--stamp", "stamp", "--no-host-trial"]) == 0
    assert capfd.readouterr().err == "" and Path("stamp").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (objects_to_values, "LiteRT: "),
        (crashes_at_zero_only, "its process was ended by SIGFPE, with inputs of 0"),
    ],
)
def test_what_may_run_is_compiled_with_a_warning(make, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("model").write_bytes(make())
    assert main(["compile", "model", "-o", "m.enf"]) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "nothing runs on the NPU" not in line]
    (warning,) = lines
    assert (
        warning.startswith("WARNING: model: host cluster 1 of 1 (tflite), which makes 'y': ")
        and words in warning
    )
    assert main(["enf", "verify", "m.enf"]) == 0
    assert capfd.readouterr().err.count("WARNING: m.enf: host cluster") == 1


def test_one_that_never_ends_is_given_up(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial.try_host_clusters, "__defaults__", (1.0,))
    Path("model").write_bytes(endless())
    begun = time.monotonic()
    assert main(["compile", "model", "-o", "m.enf"]) == 0
    assert time.monotonic() - begun < 30
    assert "is not tried to its end: 1 seconds are over" in capfd.readouterr().err


def test_too_little_memory_refuses_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says something about this machine, not about the model."""
    monkeypatch.setattr(trial, "_memory", lambda: 600 << 20)
    shape = (20, 1000, 10_000)
    nodes = [("Exp", ["x"], ["t"], {}), ("ReduceSum", ["t"], ["y"], {})]
    model = onnx_model(nodes, {"x": ("float32", shape)}, {"y": ("float32", (1, 1, 1))})
    Path("model").write_bytes(model)
    assert main(["compile", "model", "-o", "m.enf"]) == 0
    assert "not enough memory" in capfd.readouterr().err


def test_the_bytes_are_the_same_with_and_without(tiny_float_model: bytes) -> None:
    Path("m.onnx").write_bytes(tiny_float_model)
    assert (
        main(["compile", "m.onnx", "-o", "a.enf"])
        == main(["compile", "m.onnx", "-o", "b.enf", "--no-host-trial"])
        == 0
    )
    assert Path("a.enf").read_bytes() == Path("b.enf").read_bytes()
    for name in "ab":
        assert main(["enf", "verify", "a.enf", "--stamp", name]) == 0
    assert Path("a").read_bytes() == Path("b").read_bytes()


def test_without_host_clusters_nothing_is_loaded_or_started(tmp_path: Path, tiny_enf: bytes) -> None:
    """Neither the runtime nor a process: such a program pays nothing."""
    Path("m.enf").write_bytes(tiny_enf)
    assert not any(s.HasField("host_call") for s in reader.load(tiny_enf).plan.steps)
    code = (
        "import os, sys\n"
        "def no(*_): raise AssertionError\n"
        "os.fork = no\n"
        "from furiosa.enf import cli\n"
        "assert cli.main(['verify', 'm.enf']) == 0\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('furiosa.runtime', 'onnxruntime', 'ai_edge'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "\n"


@pytest.mark.parametrize("missing", ["furiosa.runtime", "onnxruntime"])
def test_a_runtime_that_is_not_installed(
    missing: str, capfd: pytest.CaptureFixture[str], tiny_float_model: bytes
) -> None:
    """A build action has the compiler alone; and where a reference runtime is missing another machine may have it."""
    Path("m.onnx").write_bytes(tiny_float_model)
    code = f"""
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[:{missing.count(".") + 1}] == {missing.split(".")!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name={missing!r})
sys.meta_path.insert(0, Missing())
from furiosa.compiler.cli.main import main
sys.exit(main(["compile", "m.onnx", "-o", "m.enf"]) or main(["enf", "verify", "m.enf"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    said = "runs by onnxruntime, which is not installed: it is not tried" in done.stderr
    assert said == (missing == "onnxruntime"), done.stderr


def test_each_cluster_is_tried() -> None:
    """The second of two is at fault."""
    from furiosa.enf import enf_pb2
    from furiosa.runtime.testing.enf_files import build, place

    x, t, y = (descriptor(name, "float32", (2, 3)) for name in "xty")
    place([x, t, y])
    first = onnx_model([("Neg", ["x"], ["t"], {})], {"x": ("float32", (2, 3))}, {"t": ("float32", (2, 3))})
    second = b"no model"
    calls = [
        enf_pb2.HostCall(format="onnx", offset=0, size=len(first), inputs=[x], outputs=[t]),
        enf_pb2.HostCall(format="onnx", offset=len(first), size=len(second), inputs=[t], outputs=[y]),
    ]
    enf = build(
        [x], [y], [enf_pb2.Step(host_call=c) for c in calls], crossing=[t], host_models=first + second
    )
    with pytest.raises(trial.HostClusterRefused, match="host cluster 2 of 2 .onnx., which makes 'y'"):
        trial.try_host_clusters(reader.load(enf))


def test_it_works_in_a_process_of_many_threads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a copy of the process might wait for ever: a new interpreter is started."""
    model = onnx_model([("Neg", ["x"], ["y"], {})], {"x": ("float32", (2,))}, {"y": ("float32", (2,))})
    enf = reader.load(compile_model(model))
    started = []
    for single in (False, True):
        monkeypatch.setattr(trial, "is_single_threaded", lambda single=single: single)
        for name in ("fork", "spawn"):
            real = getattr(trial, name)
            monkeypatch.setattr(trial, name, lambda ends, r=real, n=name: started.append(n) or r(ends))
        assert trial.try_host_clusters(enf) == []
        monkeypatch.undo()
    assert started == ["spawn", "fork"]


def test_nothing_is_written_that_no_reader_takes(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More dimensions than an ENF has is a true sentence; what nobody has foreseen is an internal error."""
    node = helper.make_node("Abs", ["x"], ["y"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1] * 17) for n in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), "m.onnx")
    assert main(["compile", "m.onnx"]) == 5
    err = capfd.readouterr().err
    assert "tensor 'x' has 17 dimensions" in err and "at most 16" in err

    Path("n.onnx").write_bytes(
        onnx_model([("Abs", ["x"], ["y"], {})], {"x": ("float32", (2,))}, {"y": ("float32", (2,))})
    )
    monkeypatch.setattr(reader, "MAX_MESSAGE", 30)
    assert main(["compile", "n.onnx"]) == 5
    assert "larger than what can be loaded: section 'metadata'" in capfd.readouterr().err
    monkeypatch.setattr(reader, "MAX_MESSAGE", 1 << 24)
    monkeypatch.setattr("furiosa.enf.verify.FORMATS", ("tflite",))
    assert main(["compile", "n.onnx"]) == 13
    assert "internal compiler error, an illegal enf was made" in capfd.readouterr().err
    assert not list(Path().glob("*.enf*"))


def test_the_door_opens_for_host_clusters_only(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = descriptor("x", "float32", (1,)), descriptor("y", "float32", (1,))
    enf = reader.load(host_enf("onnx", b"no model", [x], [y]))
    with pytest.raises(trial.HostClusterRefused, match="^name: host cluster"):
        host_trial.check(enf, "name")
    monkeypatch.setattr(host_trial, "_is_installed", lambda: False)
    host_trial.check(enf, "name")


@pytest.mark.parametrize(("shape", "dtype"), [((3, 2), "float32"), ((2, 3), "int32")])
def test_tensors_that_the_file_states_wrongly(shape: tuple[int, ...], dtype: str) -> None:
    model = onnx_model([("Exp", ["x"], ["y"], {})], {"x": ("float32", (2, 3))}, {"y": ("float32", None)})
    enf = host_enf("onnx", model, [descriptor("x", "float32", (2, 3))], [descriptor("y", dtype, shape)])
    with pytest.raises(
        trial.HostClusterRefused, match=r"tensor 'y': the file says .* the host model \(2, 3\)"
    ):
        trial.try_host_clusters(reader.load(enf))
