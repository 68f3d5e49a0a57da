"""The workers of a session: what becomes of programs that were interrupted, and of sessions in a fork."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from furiosa.enf import reader
from furiosa.runtime import errors, session
from furiosa.runtime.program import Program
from furiosa.runtime.simulator import machine
from furiosa.runtime.testing import own_path
from furiosa.runtime.testing.enf_files import descriptor, host_enf, onnx_model, table_enf
from furiosa.runtime.testing.processes import in_fork
from furiosa.runtime.workers import Workers

X = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)


@pytest.fixture(params=[1, 3])
def workers(request) -> Workers:
    return Workers(reader.load(table_enf()), request.param)


def test_a_program_goes_from_hand_to_hand(workers):
    assert workers.use(lambda p: p) is workers.use(lambda p: p)


def test_an_error_of_the_runtime_leaves_a_program_as_it_is(workers):
    seen = []

    def fail(program: Program) -> None:
        seen.append(program)
        raise errors.ModelExecutionFailed("no")

    for _ in range(5):
        with pytest.raises(errors.ModelExecutionFailed):
            workers.use(fail)
    assert len(set(map(id, seen))) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_a_program_that_was_interrupted_is_never_used_again(workers, error):
    seen = []

    def fail(program: Program) -> None:
        seen.append(program)
        raise error

    for _ in range(5):
        with pytest.raises(error):
            workers.use(fail)
    assert len(set(map(id, seen))) == 5


def test_all_are_used(workers):
    seen = []
    workers.use_all(seen.append)
    assert len(set(map(id, seen))) == workers.count
    with pytest.raises(KeyboardInterrupt):
        workers.use_all(lambda p: (_ for _ in ()).throw(KeyboardInterrupt))
    again = []
    workers.use_all(again.append)
    assert len(set(map(id, again))) == workers.count and not set(map(id, again)) & set(map(id, seen))


def test_no_more_at_once_than_there_are(workers):
    lock, active, most = threading.Lock(), [0], [0]
    barrier = threading.Barrier(workers.count)

    def use(program: Program) -> None:
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        barrier.wait(10)  # so many get in at once
        with lock:
            active[0] -= 1

    threads = [threading.Thread(target=workers.use, args=(use,)) for _ in range(4 * workers.count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert most[0] == workers.count


def test_worker_num_is_bounded():
    with pytest.raises(errors.InvalidSessionOption, match="at most 4096"):
        session.create(table_enf(), worker_num=4097)


@pytest.mark.parametrize("worker_num", [1, 2])
def test_a_fork_may_use_a_session_that_is_in_use(worker_num):
    sess = session.create(table_enf(padding=2 << 20), worker_num=worker_num)
    begun, go_on = threading.Event(), threading.Event()

    def hold(program: Program) -> None:
        begun.set()
        go_on.wait(60)

    threads = [threading.Thread(target=sess._workers.use, args=(hold,)) for _ in range(worker_num)]
    for t in threads:
        t.start()
    begun.wait(10)
    for _ in range(3):
        in_fork(lambda: np.testing.assert_array_equal(sess.run(X)[0].view(), -1 - X))
    go_on.set()
    for t in threads:
        t.join()
    assert sess.run(X)[0] == -1 - X


def test_a_fork_has_host_runtimes_of_its_own():
    enf = host_enf(
        "onnx",
        onnx_model([("Neg", ["x"], ["y"], {})], {"x": ("float32", (1, 4))}, {"y": ("float32", (1, 4))}),
        [descriptor("x", "float32", (1, 4))],
        [descriptor("y", "float32", (1, 4))],
    )
    x = np.arange(4, dtype=np.float32).reshape(1, 4)
    with session.create(enf) as sess:
        assert sess.run(x)[0] == -x
        in_fork(lambda: np.testing.assert_array_equal(sess.run(x)[0].view(), -x))
        assert sess.run(x)[0] == -x


def test_a_fork_while_weights_are_read(tmp_path, monkeypatch):
    """The thread that reads them is not in the child, which must not take them for read."""
    (tmp_path / "a.enf").write_bytes(table_enf(padding=2 << 20))
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)  # a thread that never comes to it
    monkeypatch.setattr(threading.Thread, "join", lambda self: None)
    sess = session.create(tmp_path / "a.enf")
    monkeypatch.undo()
    for section in sess._workers.enf._pending:
        section._thread = None
    in_fork(lambda: np.testing.assert_array_equal(sess.run(X)[0].view(), -1 - X))
    assert sess.run(X)[0] == -1 - X


def test_a_system_without_threads(tmp_path, monkeypatch):
    """Everything that a second thread would do is done by the first."""
    (tmp_path / "a.enf").write_bytes(table_enf(padding=2 << 20))

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(machine, "PARALLEL_WORK", 0)
    with session.create(tmp_path / "a.enf") as sess:
        assert sess.run(X)[0] == -1 - X


def test_a_system_without_memory(tmp_path, monkeypatch):
    (tmp_path / "a.enf").write_bytes(table_enf(padding=2 << 20))

    def refuse(size: int, **_: object) -> None:
        raise MemoryError(f"{size} bytes: Cannot allocate memory")

    monkeypatch.setattr("furiosa.enf.files.allocate", refuse)
    with pytest.raises(errors.ResourceExhausted, match="not enough memory: .* Cannot allocate"):
        session.create(tmp_path / "a.enf")
    monkeypatch.undo()
    with session.create(tmp_path / "a.enf") as sess:
        monkeypatch.setattr(Program, "run", lambda self, inputs: refuse(64))
        with pytest.raises(errors.ResourceExhausted, match="64 bytes"):
            sess.run(X)
        monkeypatch.undo()
        assert sess.run(X)[0] == -1 - X


def test_a_system_without_descriptors(tmp_path):
    """Sessions keep none, so they say so only where the program has used them all up itself."""
    path = tmp_path / "a.enf"
    path.write_bytes(table_enf())
    in_fork(lambda: _run_out_of_descriptors(path))


def _run_out_of_descriptors(path: os.PathLike[str]) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    sessions = [session.create(path) for _ in range(300)]
    taken = []
    with pytest.raises(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    with pytest.raises(
        errors.ResourceExhausted, match=r"no file descriptor is left to open .*a.enf: .*ulimit -n"
    ):
        session.create(path)
    assert all(sess.run(X)[0] == -1 - X for sess in sessions)
    os.close(taken.pop())
    session.create(path).run(X)


def test_garbage_of_the_parent_is_no_trouble_to_a_fork():
    """A runtime that is freed there would wait for its threads, which are not there: onnxruntime does, once they sleep."""
    shape = (512, 512)
    nodes = [("MatMul", ["x", "x"], ["a"], {}), ("Sinh", ["a"], ["y"], {})]
    enf = host_enf(
        "onnx",
        onnx_model(nodes, {"x": ("float32", shape)}, {"y": ("float32", shape)}),
        [descriptor("x", "float32", shape)],
        [descriptor("y", "float32", shape)],
    )
    gc.collect()
    gc.disable()
    try:
        for _ in range(4):
            sess = session.create(enf)
            sess.run(np.zeros(shape, np.float32))
            cycle = [sess._workers._idle[0]]
            cycle.append(cycle)
            sess.close()
            del cycle, sess
        time.sleep(0.3)
        in_fork(gc.collect)
    finally:
        gc.enable()


def test_a_fork_of_a_program_that_has_run_host_clusters(tmp_path):
    """As a program imports this package: the session first, the runtime when it is needed."""
    shape = (512, 512)
    nodes = [("MatMul", ["x", "x"], ["a"], {}), ("Sinh", ["a"], ["y"], {})]
    ends = [descriptor("x", "float32", shape)], [descriptor("y", "float32", shape)]
    model = onnx_model(nodes, {"x": ("float32", shape)}, {"y": ("float32", shape)})
    (tmp_path / "m.enf").write_bytes(host_enf("onnx", model, *ends))
    code = """
import os, sys, time
import numpy as np
from furiosa.runtime import session
x = np.zeros((512, 512), np.float32)
with session.create(sys.argv[1]) as used, session.create(sys.argv[1]) as idle:
    used.run(x), idle.run(x)
    time.sleep(0.3)  # the runtime's threads sleep
    if (pid := os.fork()) == 0:
        assert not used.run(x)[0].numpy().any()
        sys.exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m.enf"], env=own_path(), timeout=60, check=False
    )
    assert done.returncode == 0
