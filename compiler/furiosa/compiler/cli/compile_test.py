"""``furiosa compile`` where all is well: what it writes and what it says."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from furiosa.compiler.cli.main import main
from furiosa.compiler.pipeline import compile_model
from furiosa.compiler.tune.testing import mixing
from furiosa.enf.reader import load_file


@pytest.fixture(autouse=True)
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantized_model: bytes, float_model: bytes
) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(quantized_model)
    Path("float.onnx").write_bytes(float_model)
    return tmp_path


def compile_ok(*argv: str) -> None:
    assert main(["compile", *argv]) == 0


def test_default_output(capfd, quantized_model):
    compile_ok("m.onnx")
    assert capfd.readouterr() == ("", "")
    assert Path("output.enf").read_bytes() == compile_model(quantized_model)
    assert sorted(os.listdir()) == ["float.onnx", "m.onnx", "output.enf"]


def test_output_name_target_and_batch():
    compile_ok("m.onnx", "-o", "w.enf", "--target-npu", "warboy", "--batch-size", "2")
    enf = load_file("w.enf")
    assert (enf.metadata.target_npu, enf.metadata.batch_size) == ("warboy", 2)
    assert list(enf.interface.inputs[0].shape) == [2, 3, 8, 8]


def test_defaults_are_the_documented_ones():
    compile_ok("m.onnx")
    metadata = load_file("output.enf").metadata
    assert (metadata.target_npu, metadata.batch_size) == ("warboy-2pe", 1)


def test_batch_is_short_for_batch_size():
    compile_ok("m.onnx", "--batch-size", "2", "-o", "a.enf")
    compile_ok("m.onnx", "--batch", "2", "-o", "b.enf")
    assert Path("a.enf").read_bytes() == Path("b.enf").read_bytes()


def test_auto_batch_size(capfd):
    """The ENF is that of the batch size which is chosen; the report says what was tried."""
    compile_ok("m.onnx", "--auto-batch-size", "-o", "a.enf", "--report-json", "a.json")
    assert capfd.readouterr() == ("", "")
    report = json.loads(Path("a.json").read_text())
    size, tried = report["batch_size"], report["auto_batch_size"]["tried"]
    assert size == load_file("a.enf").metadata.batch_size
    assert [t["batch_size"] for t in tried] == [1 << k for k in range(len(tried))]
    most = max(t["throughput_per_s"] for t in tried)
    assert next(t["batch_size"] for t in tried if t["throughput_per_s"] >= 0.99 * most) == size
    assert report["latency_us"] in [t["latency_us"] for t in tried if t["batch_size"] == size]
    compile_ok("m.onnx", "--batch-size", str(size), "-o", "b.enf", "--report-json", "b.json")
    assert Path("a.enf").read_bytes() == Path("b.enf").read_bytes()
    assert json.loads(Path("b.json").read_text())["auto_batch_size"] is None


def test_auto_batch_size_tells_what_it_tried(capfd):
    compile_ok("m.onnx", "--auto-batch-size", "-v")
    lines = capfd.readouterr().err.splitlines()
    table = next(i for i, line in enumerate(lines) if line.split()[:2] == ["batch", "samples/s"])
    tried = [line.split()[2] for line in lines[1:table]]
    assert tried == [str(1 << k) for k in range(len(tried))] and len(tried) > 2
    assert lines[1].startswith("batch size 1 would do ") and lines[1].endswith(" samples/s")
    assert [line.split()[0] for line in lines[table + 1 : table + 1 + len(tried)]] == tried
    size = load_file("output.enf").metadata.batch_size
    assert lines[table + 1 + len(tried)].startswith(f"batch size {size} is chosen, no more were tried: ")


def test_auto_batch_size_of_a_model_that_mixes_samples(capfd):
    Path("mixing.onnx").write_bytes(mixing())
    compile_ok("mixing.onnx", "--auto-batch-size")
    assert load_file("output.enf").metadata.batch_size == 1
    note, warning = capfd.readouterr().err.splitlines()
    assert note.startswith("NOTE: mixing.onnx: the batch size stays 1: batch size 2 is impossible")
    assert warning.startswith("WARNING: mixing.onnx: nothing runs on the NPU")


@pytest.mark.parametrize("ir", ["dfg", "lir"])
def test_auto_batch_size_of_another_ir(ir):
    compile_ok("m.onnx", "--target-ir", ir, "--auto-batch-size")
    compile_ok("m.onnx", "--auto-batch-size")
    size = load_file("output.enf").metadata.batch_size
    compile_ok("m.onnx", "--target-ir", ir, "--batch-size", str(size), "-o", "plain")
    assert Path(f"output.{ir}").read_bytes() == Path("plain").read_bytes()


def test_auto_batch_size_where_coverage_is_not_reached(capfd):
    """The table of what runs where, once."""
    assert main(["compile", "float.onnx", "--auto-batch-size", "--min-npu-coverage", "0.5"]) == 1
    assert capfd.readouterr().err.count("1 x Abs") == 1


def test_arguments_from_a_file():
    """As build tools call it."""
    Path("p").write_text("compile\nm.onnx\n-o\nfrom file.enf\n")
    assert main(["@p"]) == 0
    compile_ok("m.onnx")
    assert Path("from file.enf").read_bytes() == Path("output.enf").read_bytes()


def test_an_older_output_is_replaced_and_links_are_followed(folder):
    (folder / "real").mkdir()
    Path("real/a.enf").write_bytes(b"of yesterday")
    Path("output.enf").symlink_to("real/a.enf")
    compile_ok("m.onnx")
    assert Path("output.enf").is_symlink()
    load_file("real/a.enf")
    assert os.listdir("real") == ["a.enf"]


def test_the_output_has_the_users_permissions():
    before = os.umask(0o027)
    try:
        compile_ok("m.onnx")
    finally:
        os.umask(before)
    assert Path("output.enf").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("ir", ["dfg", "ldfg", "cdfg", "gir", "lir"])
def test_target_ir(capfd, ir):
    compile_ok("m.onnx", "--target-ir", ir.upper())
    assert Path(f"output.{ir}").read_text().startswith(f"{ir} ")
    assert not Path("output.enf").exists()
    assert capfd.readouterr() == ("", "")


def test_dot_graph_of_an_early_ir():
    """The graph is of cdfg: the stages up to it run."""
    compile_ok("m.onnx", "--target-ir", "dfg", "--dot-graph", "g.dot")
    assert Path("output.dfg").read_text().startswith("dfg ")
    assert Path("g.dot").read_text().startswith("digraph ")


def test_report():
    compile_ok("m.onnx", "--report-json", "r.json")
    report = json.loads(Path("r.json").read_text())
    assert report["model"] == "m.onnx"
    assert report["enf_bytes"] == Path("output.enf").stat().st_size


REPORTS = ("--report-json", "--report", "--analyze-memory", "--chrome-trace")


@pytest.mark.parametrize("model", ["m.onnx", "float.onnx"])
def test_reports_follow_from_the_enf_and_the_json(model):
    """What the compiler writes and what `furiosa enf report` writes later are the same bytes."""
    names = ("r.json", "p.html", "m.html", "t.json")
    compile_ok(model, *(x for pair in zip(REPORTS, names) for x in pair))
    later = [x for option, name in zip(REPORTS[1:], names[1:]) for x in (option, f"later {name}")]
    assert main(["enf", "report", "output.enf", "r.json", *later]) == 0
    for name in names[1:]:
        assert Path(name).read_bytes() == Path(f"later {name}").read_bytes() != b""


def test_a_plain_compilation_loads_no_pages():
    code = "import sys; from furiosa.compiler.cli.main import main; main(['compile', 'm.onnx']); print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    modules = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "furiosa.enf.performance" in modules
    assert not [name for name in modules if name.startswith("furiosa.enf.report")]


def test_verbose_tells_the_six_steps_and_every_reason(capfd):
    compile_ok("m.onnx", "-v")
    err = capfd.readouterr().err
    steps = re.findall(r"^\[(\d)/6] 🔍 Compiling from (\w+) to (\w+)\nDone in \d+\.\d\ds$", err, re.MULTILINE)
    assert [s[0] for s in steps] == list("123456")
    assert [s[1] for s in steps] == ["onnx", "dfg", "ldfg", "cdfg", "gir", "lir"]
    assert [s[2] for s in steps] == ["dfg", "ldfg", "cdfg", "gir", "lir", "enf"]
    lines = err.splitlines()
    assert lines[0].startswith("Using furiosa-compiler ")
    assert re.fullmatch(r"✨ Finished in \d+\.\d\ds", lines[13])
    assert any(line.startswith("NPU") and "6,912 MACs" in line for line in lines)
    assert any("Sinh 'sinh'" in line for line in lines) and "found Sinh" in err
    assert lines[-1] == "output has been saved to output.enf"


def test_progress_on_a_terminal_only():
    """Without -v: stderr that is a terminal gets the progress, and stdout stays empty."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "furiosa.compiler.cli.main", "compile", "m.onnx"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, check=False)
    os.close(theirs)
    seen = b""
    while chunk := _read(ours):
        seen += chunk
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, b"")
    text = seen.decode()
    assert "[6/6]" in text and "Finished in" in text and "output has been saved to output.enf" in text
    assert "1 x Sinh " in text and "Sinh 'sinh': found" in text and "Sinh 'sinh', about" not in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_a_model_that_runs_wholly_on_the_host_says_so(capfd):
    compile_ok("float.onnx")
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and err.startswith("WARNING: float.onnx: nothing runs on the NPU")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_level_of_optimization_is_recorded(level):
    compile_ok("m.onnx", "--optimize", str(level), "--report-json", "r.json")
    with open("r.json") as f:
        report = json.load(f)
    assert report["optimize"] == load_file("output.enf").metadata.optimize == level


@pytest.mark.parametrize("level", ["3", "-1", "fast"])
def test_unknown_levels_of_optimization(level, capsys):
    assert main(["compile", "m.onnx", "--optimize", level]) == 255
    assert level in capsys.readouterr().err


def test_compatibility_is_recorded():
    """The model's float32 input stays on the host: in 0.6.3 the NPU converts none."""
    for release, operators in (("0.6.3", 5), ("0.10", 6), ("latest", 6)):
        compile_ok("m.onnx", "--compatibility", release, "--report-json", "r.json")
        report = json.loads(Path("r.json").read_text())
        recorded = release if release != "latest" else "0.10"
        assert report["compatibility"] == load_file("output.enf").metadata.compatibility == recorded
        assert report["npu_operators"] == operators


def test_coverage_that_is_reached():
    compile_ok("m.onnx", "--min-npu-coverage", "1")
    assert Path("output.enf").exists()


def test_coverage_that_is_not_reached(capfd):
    """The table says why, nothing is written, and what was there stays."""
    Path("r.json").write_text("of yesterday")
    outputs = ["-o", "a.enf", "--report-json", "r.json", "--dot-graph", "g.dot"]
    assert main(["compile", "float.onnx", "--min-npu-coverage", "0.95", *outputs]) == 1
    assert sorted(os.listdir()) == ["float.onnx", "m.onnx", "r.json"]
    assert Path("r.json").read_text() == "of yesterday"
    table, error = capfd.readouterr().err.split("ERROR: ")
    assert error == (
        "float.onnx: the NPU does 0 % of the model's operators (it has no multiply-accumulates), and at least 95 % "
        "are asked for (min NPU coverage)\n"
    )
    assert "1 x Abs" in table and "operator-table: " in table


def test_host_operators_that_may_run(capfd):
    compile_ok("m.onnx", "--report-json", "r.json")
    on_host = json.loads(Path("r.json").read_text())["host_operators"]
    compile_ok("m.onnx", "--max-host-operators", str(on_host))
    assert main(["compile", "m.onnx", "--max-host-operators", str(on_host - 1)]) == 1
    compile_ok("float.onnx", "--max-host-operators", "1", "--report-json", "r.json")
    assert json.loads(Path("r.json").read_text())["host_operators"] == 1
    os.remove("r.json")
    os.remove("output.enf")
    capfd.readouterr()
    assert main(["compile", "float.onnx", "--max-host-operators", "0", "--report-json", "r.json"]) == 1
    assert sorted(os.listdir()) == ["float.onnx", "m.onnx"]
    table, error = capfd.readouterr().err.split("ERROR: ")
    assert error == (
        "float.onnx: 1 of 1 operators run on the host (1 x Abs), and at most 0 may (max host operators)\n"
    )
    assert "1 x Abs" in table and "operator-table: " in table
    for wrong in ("-1", "1.5", "many"):
        assert main(["compile", "float.onnx", f"--max-host-operators={wrong}"]) == 255
        assert f"'{wrong}' is no whole number of at least 0" in capfd.readouterr().err
    assert main(["compile", "float.onnx", "--max-host-operators", "0", "--target-ir", "dfg"]) == 255
    assert "--max-host-operators needs another --target-ir than dfg" in capfd.readouterr().err


def test_coverage_counts_multiply_accumulates(capfd, monkeypatch):
    """A release that does not take the Conv."""
    monkeypatch.setattr("furiosa.compiler.ldfg.vendor.taken", lambda op_type, release: op_type != "Conv")
    assert main(["compile", "m.onnx", "--min-npu-coverage", "0.000001"]) == 1
    assert (
        "the NPU does 0 % of the model's multiply-accumulates, and at least 0.0001 %"
        in capfd.readouterr().err
    )


def _ended_by_the_data(quantized_model: bytes) -> None:
    """The quantised model, and a loop that multiplies until the data ends it: once, so that its trial takes no time."""
    model = onnx.ModelProto.FromString(quantized_model)
    body = onnx.parser.parse_graph(
        "body (int64 i, bool c, float[1,4,8,8] v) => (bool c2, float[1,4,8,8] v2) "
        "{ v2 = MatMul(v, v) d = Sub(v2, v2) s = ReduceSum <keepdims = 0> (d) c2 = Greater(s, i_f) }"
    )
    body.initializer.append(onnx.numpy_helper.from_array(np.float32(9), "i_f"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.bool_(True), "yes"))
    model.graph.node.append(onnx.helper.make_node("Loop", ["", "yes", "y"], ["z"], "while", body=body))
    model.graph.output[0].name = "z"
    Path("while.onnx").write_bytes(model.SerializeToString())


def test_coverage_that_nobody_can_tell(capfd, quantized_model):
    """What cannot be counted is not 0: a gate fails, table, report and file say so."""
    _ended_by_the_data(quantized_model)
    assert main(["compile", "while.onnx", "--min-npu-coverage", "0.000001"]) == 1
    assert not Path("output.enf").exists()
    table, error = capfd.readouterr().err.split("ERROR: ")
    reason = "how often it repeats what it multiplies depends on the data"
    assert error == (
        "while.onnx: nobody can tell how much of the model's multiply-accumulates the NPU does, and at least 0.0001 % are asked "
        f"for (min NPU coverage): those of Loop 'while' ({reason}) cannot be known\n"
    )
    assert f"not counted: the multiply-accumulates of 1 Loop: {reason}" in table
    compile_ok("while.onnx", "--report-json", "r.json", "--report", "r.html")
    report = json.loads(Path("r.json").read_text())
    assert report["npu_coverage"] is None and report["npu_macs"] == report["total_macs"] == 6912
    assert report["unknown_macs"] == [{"name": "while", "op_type": "Loop", "reason": reason}]
    assert [op["macs"] for op in report["operators"] if op["op_type"] == "Loop"] == [None]
    enf = load_file("output.enf")
    assert enf.metadata.unknown_macs == 1
    assert [op.name for op in enf.debug.operators if op.unknown_macs] == ["while"]
    assert "unknown" in Path("r.html").read_text()


def test_every_output_is_the_same_in_another_process(folder):
    """Another folder, hash seed, locale and time zone."""
    outputs = ["-o", "a.enf", "--report-json", "r.json", "--dot-graph", "g.dot"]
    compile_ok("m.onnx", *outputs)
    (folder / "other").mkdir()
    (folder / "other" / "m.onnx").write_bytes(Path("m.onnx").read_bytes())
    for seed, locale in (("0", "C"), ("1", "C.UTF-8")):
        environment = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONHASHSEED": seed,
            "LC_ALL": locale,
            "TZ": "Asia/Seoul",
        }
        for argv in (outputs, ["--target-ir", "ldfg"], ["--target-ir", "lir"]):
            command = [sys.executable, "-m", "furiosa.compiler.cli.main", "compile", "m.onnx", *argv]
            subprocess.run(command, cwd="other", env=environment, check=True)
    for ir in ("ldfg", "lir"):
        compile_ok("m.onnx", "--target-ir", ir)
    for name in ("a.enf", "r.json", "g.dot", "output.ldfg", "output.lir"):
        assert (folder / "other" / name).read_bytes() == Path(name).read_bytes(), name
