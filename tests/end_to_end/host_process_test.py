"""Host clusters in a process of their own: the same numbers, and what a model does to its runtime ends no other process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from furiosa.compiler.pipeline import compile_model
from furiosa.runtime import session
from furiosa.runtime.errors import (
    HostProcessEnded,
    InvalidInput,
    ModelDeployFailed,
    ModelExecutionFailed,
    SessionClosed,
)
from furiosa.runtime.testing.enf_files import descriptor, host_enf, onnx_model

LOWEST = -(1 << 31)


def floor_mod() -> bytes:
    """x mod y of int32 [2]; LiteRT's division of the lowest integer by -1 is one that x86 ends with SIGFPE."""
    b = ModelBuilder()
    x, y, z = (b.tensor(name, [2], "int32") for name in "xyz")
    b.operator("FLOOR_MOD", [x, y], [z], options("FloorModOptions"))
    return b.build([x, y], [z])


ONES, DEADLY = [np.ones(2, np.int32)] * 2, [np.full(2, LOWEST, np.int32), np.full(2, -1, np.int32)]


@pytest.fixture(scope="module")
def enf() -> bytes:
    return compile_model(floor_mod())


def children() -> set[int]:
    """Processes that this one has, running or not waited for."""
    gc.collect()
    path = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return {int(pid) for pid in path.read_text("ascii").split()}


def test_a_crash_is_an_error_of_the_run_and_the_next_is_none(enf: bytes) -> None:
    before = children()
    with session.create(enf, host_process=True) as s:
        for _ in range(2):
            assert s.run(ONES)[0].numpy().tolist() == [0, 0]
            with pytest.raises(HostProcessEnded, match="step 0 of the plan .* was ended by SIGFPE") as e:
                s.run(DEADLY)
            assert e.value.signal == signal.SIGFPE and e.value.native_err == 3
        assert s.run(ONES)[0].numpy().tolist() == [0, 0]
    assert children() == before


def test_without_it_the_process_dies(enf: bytes, tmp_path: Path) -> None:
    """What the option is good for."""
    (tmp_path / "m.enf").write_bytes(enf)
    code = (
        "import sys, numpy as np; from furiosa.runtime import session\n"
        f"session.create(sys.argv[1]).run([np.full(2, {LOWEST}, np.int32), np.full(2, -1, np.int32)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.enf")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == -signal.SIGFPE


def test_what_the_runtime_objects_to_is_its_error(enf: bytes) -> None:
    with session.create(enf, host_process=True) as s:
        with pytest.raises(ModelExecutionFailed, match="LiteRT: .*FLOOR_MOD") as e:
            s.run([np.ones(2, np.int32), np.zeros(2, np.int32)])
        assert not isinstance(e.value, HostProcessEnded)
        with pytest.raises(InvalidInput):
            s.run(ONES[:1])
        assert s.run(ONES)[0].numpy().tolist() == [0, 0]


def test_killed_between_two_runs(enf: bytes) -> None:
    before = children()
    with session.create(enf, host_process=True) as s:
        s.run(ONES)
        (pid,) = children() - before
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(HostProcessEnded, match="SIGKILL, for lack of memory perhaps"):
            s.run(ONES)
        assert s.run(ONES)[0].numpy().tolist() == [0, 0]


def test_each_worker_has_its_own(enf: bytes) -> None:
    before = children()
    with session.create(enf, worker_num=2, host_process=True) as s:
        s.warm_up(ONES)
        assert len(children() - before) == 2
    assert children() == before


def test_async(enf: bytes) -> None:
    submitter, queue = session.create_async(enf, host_process=True)
    with submitter, queue:
        for i, inputs in enumerate((ONES, DEADLY, ONES)):
            submitter.submit(inputs, context=i)
        outcomes = {}
        for _ in range(3):
            try:
                context, outputs = queue.recv()
                outcomes[context] = outputs[0].numpy().tolist()
            except HostProcessEnded:
                outcomes["dead"] = True
    assert outcomes == {0: [0, 0], 2: [0, 0], "dead": True}


def test_ctrl_c_ends_the_process_of_the_run(enf: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from furiosa.runtime import remote

    before = children()
    with session.create(enf, host_process=True) as s:
        s.run(ONES)
        receive = remote._receive_header

        def interrupt(connection: object) -> None:
            monkeypatch.setattr(remote, "_receive_header", receive)
            raise KeyboardInterrupt

        monkeypatch.setattr(remote, "_receive_header", interrupt)
        with pytest.raises(KeyboardInterrupt):
            s.run(ONES)
        assert children() == before
        assert s.run(ONES)[0].numpy().tolist() == [0, 0]


def test_it_ends_with_its_parent_even_in_the_midst_of_a_run(tmp_path: Path) -> None:
    """The parent is killed and can do nothing; the child computes without end and reads nothing."""
    (tmp_path / "m.enf").write_bytes(compile_model(endless()))
    code = """
import os, sys, threading, numpy as np
from furiosa.runtime import session
s = session.create(sys.argv[1], host_process=True)
threading.Thread(target=lambda: s.run(np.ones(1, np.int32)), daemon=True).start()
print(*iter(lambda: open(f"/proc/self/task/{os.getpid()}/children").read().strip(), "x").__next__() or "", flush=True)
while True:
    pids = [open(f"/proc/self/task/{t}/children").read().split() for t in os.listdir("/proc/self/task")]
    for pid in sum(pids, []):
        if int(open(f"/proc/{pid}/stat").read().split()[13]) > 50: print(pid, flush=True); os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.enf")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    pid = done.stdout.split()[-1]
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def endless() -> bytes:
    """A WHILE whose condition always holds."""
    b = ModelBuilder()
    x, y = b.tensor("x", [1], "int32"), b.tensor("y", [1], "int32")
    b.operator("WHILE", [x], [y], options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2))
    for dtype in ("bool", "int32"):
        g = b.subgraph()
        g.inputs, g.outputs = [b.tensor("x", [1], "int32")], [b.tensor("y", [1], dtype)]
        if dtype == "bool":
            zero = b.tensor("zero", [1], "int32", [0])
            b.operator("GREATER_EQUAL", [0, zero], [1], options("GreaterEqualOptions"))
        else:
            b.operator("ABS", [0], [1])
    return b.build([x], [y])


SHAPES = [(), (1,), (3, 0, 2), (2, 3, 4)]
TYPES = ["float32", "float64", "int8", "uint8", "int64", "bool", "float16"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_same_results_of_every_shape_and_type(shape: tuple[int, ...]) -> None:
    nodes = [("Transpose", [t], [f"{t}_out"], {"perm": [*range(len(shape))]} if shape else {}) for t in TYPES]
    model = onnx_model(nodes, {t: (t, shape) for t in TYPES}, {f"{t}_out": (t, shape) for t in TYPES})
    enf = compile_model(model)
    rng = np.random.default_rng(0)
    inputs = [np.asarray(rng.integers(0, 2, shape).astype(t)) for t in TYPES]
    with session.create(enf) as here, session.create(enf, host_process=True) as there:
        assert there.host_formats
        for a, b, x in zip(here.run(inputs), there.run(inputs), inputs, strict=True):
            assert a.numpy().dtype == b.numpy().dtype and a.numpy().shape == b.numpy().shape
            np.testing.assert_array_equal(a.numpy(), b.numpy())
            np.testing.assert_array_equal(b.numpy(), x)


def test_what_comes_out_is_more_than_a_socket_holds() -> None:
    shape = (1, 3, 640, 640)
    model = onnx_model([("Neg", ["x"], ["y"], {})], {"x": ("float32", shape)}, {"y": ("float32", shape)})
    enf = host_enf("onnx", model, [descriptor("x", "float32", shape)], [descriptor("y", "float32", shape)])
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with session.create(enf, host_process=True) as s:
        np.testing.assert_array_equal(s.run(x)[0].numpy(), -x)


def test_a_model_that_its_runtime_refuses() -> None:
    x, y = descriptor("x", "float32", (1,)), descriptor("y", "float32", (1,))
    enf = host_enf("onnx", b"no model", [x], [y])
    with session.create(enf, host_process=True) as s:
        for _ in range(2):
            with pytest.raises(ModelDeployFailed, match="onnxruntime refuses the host model"):
                s.run(np.zeros(1, np.float32))


@pytest.mark.parametrize("python", ["/nowhere/python", ""])
def test_no_interpreter_to_start(enf: bytes, monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    monkeypatch.setattr(sys, "executable", python)
    with (
        session.create(enf, host_process=True) as s,
        pytest.raises(ModelDeployFailed, match="cannot be started"),
    ):
        s.run(ONES)


def test_modules_of_the_current_folder_are_not_taken(
    enf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("json", "numpy", "onnxruntime"):
        Path(f"{name}.py").write_text("raise SystemExit(7)\n")
    with session.create(enf, host_process=True) as s:
        assert s.run(ONES)[0].numpy().tolist() == [0, 0]


def test_in_a_fork_the_process_stays_the_parents(enf: bytes) -> None:
    with session.create(enf, host_process=True) as s:
        s.run(ONES)
        pid = os.fork()
        if not pid:
            status = 1
            try:
                s.run(ONES)
                status = 0
            except (HostProcessEnded, SessionClosed):
                status = 3
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, 3)
        assert s.run(ONES)[0].numpy().tolist() == [0, 0]


def test_without_host_clusters_nothing_is_started(tiny_enf: bytes, noise: np.ndarray) -> None:
    before = children()
    with session.create(tiny_enf, host_process=True) as s, session.create(tiny_enf) as t:
        np.testing.assert_array_equal(s.run(noise)[0].numpy(), t.run(noise)[0].numpy())
        assert children() == before or s.host_formats


@pytest.mark.parametrize("command", ["run", "bench", "compare", "bundle"])
def test_commands(
    command: str,
    enf: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.enf").write_bytes(enf)
    Path("m.tflite").write_bytes(floor_mod())
    assert main(["bundle", "pack", "-o", "v.tar", "--model", "m=m.enf"]) == 0
    for name, value in zip("xy", DEADLY, strict=True):
        np.save(f"{name}.npy", value)
    np.savez("both.npz", x=DEADLY[0], y=DEADLY[1])
    inputs = ["-i", "x.npy", "-i", "y.npy"]
    argv = {
        "run": ["run", "m.enf", *inputs],
        "bench": ["bench", "m.enf", *inputs],
        "compare": ["compare", "m.tflite", "--inputs", "both.npz"],
        "bundle": ["bundle", "run", "v.tar", *inputs],
    }[command]
    assert main([*argv, "--host-process"]) == 13
    err = capfd.readouterr().err
    assert "was ended by SIGFPE" in err and err.count("ERROR: ") == 1 and "Traceback" not in err
