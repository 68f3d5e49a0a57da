"""Asynchronous sessions: order, bounds, closing from either end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from furiosa.runtime import errors, session
from furiosa.runtime.async_session import _Exchange
from furiosa.runtime.testing import own_path
from furiosa.runtime.testing.enf_files import descriptor, host_enf, onnx_model, table_enf
from furiosa.runtime.testing.processes import in_fork

SHAPE = (1, 1, 1, 64)


def x(i: int) -> np.ndarray:
    return np.full(SHAPE, i, np.int8)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_result_comes_with_its_context(workers):
    submitter, queue = session.create_async(
        table_enf(), worker_num=workers, input_queue_size=2, output_queue_size=2
    )

    def submit():
        with submitter:
            for i in range(40):
                value = x(i)
                submitter.submit(value, context=i)
                value[...] = 99  # a copy was taken

    thread = threading.Thread(target=submit)
    thread.start()
    results = list(queue)
    thread.join()
    assert sorted(context for context, _ in results) == list(range(40))
    assert all(outputs[0] == -1 - x(context) for context, outputs in results)
    if workers == 1:
        assert [context for context, _ in results] == list(range(40))


def test_what_was_submitted_before_closing_is_received():
    submitter, queue = session.create_async(table_enf())
    submitter.submit([x(3)])
    submitter.close()
    submitter.close()
    with pytest.raises(errors.SessionClosed):
        submitter.submit(x(1))
    context, outputs = queue.recv(timeout=10_000)
    assert context is None and outputs[0] == -1 - x(3)
    with pytest.raises(errors.SessionTerminated):
        queue.recv()


def test_timeouts():
    submitter, queue = session.create_async(table_enf())
    with submitter, queue:
        for wait in (0, 5):
            with pytest.raises(errors.QueueWaitTimeout, match=f"{wait} ms.*native error code: 11"):
                queue.recv(wait)
        with pytest.raises(RuntimeError):
            queue.recv(-1)


def test_closing_the_queue_frees_everybody():
    submitter, queue = session.create_async(table_enf(), input_queue_size=1, output_queue_size=1)
    ended = []

    def submit():
        try:
            for i in range(10):
                submitter.submit(x(i))
        except errors.SessionTerminated as e:
            ended.append(e)

    thread = threading.Thread(target=submit)
    thread.start()
    queue.recv()
    queue.close()
    thread.join(10)
    assert len(ended) == 1
    with pytest.raises(errors.SessionTerminated):
        queue.recv()


def test_closing_the_session_frees_who_waits_to_receive():
    submitter, queue = session.create_async(table_enf())
    threading.Timer(0.05, submitter.close).start()
    with pytest.raises(errors.SessionTerminated):
        queue.recv(timeout=10_000)


def test_inputs_that_do_not_fit_are_refused_at_once():
    submitter, _queue = session.create_async(table_enf())
    with pytest.raises(errors.InvalidInput):
        submitter.submit(x(1)[0])
    assert submitter.input_num == 1 and submitter.inputs()[0].name == "x"
    with pytest.raises(AttributeError):
        submitter.run(x(1))


def test_an_inference_that_fails_does_so_at_the_receiver():
    enf = host_enf("onnx", b"no model", [descriptor("x", "int8", (1,))], [descriptor("y", "int8", (1,))])
    submitter, queue = session.create_async(enf)
    submitter.submit(np.zeros(1, np.int8))
    with pytest.raises(errors.ModelDeployFailed):
        queue.recv(timeout=30_000)
    submitter.close()
    assert list(queue) == []


@pytest.mark.parametrize("option", ["input_queue_size", "output_queue_size", "worker_num"])
@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_sizes_are_whole_numbers_of_at_least_one(option, value):
    with pytest.raises(errors.InvalidSessionOption, match=option):
        session.create_async(table_enf(), **{option: value})


def test_queue_sizes_are_bounded():
    with pytest.raises(errors.InvalidSessionOption, match="2\\^31"):
        session.create_async(table_enf(), input_queue_size=1 << 31)


def test_workers_end_when_both_ends_are_gone():
    before = set(threading.enumerate())
    submitter, queue = session.create_async(table_enf(), worker_num=2)
    workers = set(threading.enumerate()) - before
    assert len(workers) == 2
    del submitter, queue
    for thread in workers:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "timeout", [float("nan"), -1, -0.001, float("-inf"), -(10**400), np.float32("nan"), np.int64(-5), -1e-300]
)
def test_a_timeout_that_is_none(timeout):
    _submitter, queue = session.create_async(table_enf())
    with pytest.raises(RuntimeError, match="must be 0 or more"):
        queue.recv(timeout)


@pytest.mark.parametrize("timeout", [True, False, np.True_, "5", b"5", 1j, [5], np.ones(1), object()])
def test_a_timeout_that_is_no_number(timeout):
    _submitter, queue = session.create_async(table_enf())
    with pytest.raises(TypeError, match="a number of milliseconds or None is expected, not"):
        queue.recv(timeout)


LONG = [None, float("inf"), 1e308, 10**400, 1 << 63, np.float64("inf"), np.uint64(2**64 - 1), np.float16(6e4)]


@pytest.mark.parametrize("timeout", [*LONG, 60_000, np.int8(100), np.float32(5e3)])
def test_a_timeout_of_any_length(timeout):
    submitter, queue = session.create_async(table_enf())
    threading.Timer(0.05, submitter.submit, [x(3), "c"]).start()
    context, outputs = queue.recv(timeout)
    assert context == "c" and outputs[0] == -1 - x(3)


@pytest.mark.parametrize("timeout", [0, 0.0, -0.0, 1e-300, np.uint8(0), np.float32(0.5), 5])
def test_a_short_timeout(timeout):
    _submitter, queue = session.create_async(table_enf())
    with pytest.raises(errors.QueueWaitTimeout):
        queue.recv(timeout)


@pytest.mark.parametrize("at", range(4))
def test_a_system_that_runs_out_of_threads(monkeypatch, at):
    """Either all workers start, or those that did end."""
    before, started = threading.active_count(), []
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if len(started) == at:
            raise RuntimeError("can't start new thread")
        start(self)
        started.append(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(
        errors.ResourceExhausted, match=rf"no thread is left for worker {at + 1} of 4: .*ulimit -u"
    ):
        session.create_async(table_enf(), worker_num=4)
    for thread in started:
        thread.join(10)
    assert threading.active_count() <= before


def test_a_worker_that_cannot_go_on_is_told(monkeypatch):
    """Not even the result of an inference could be kept."""
    submitter, queue = session.create_async(table_enf())

    def refuse(self: object, result: object) -> None:
        raise MemoryError

    monkeypatch.setattr(_Exchange, "_deliver", refuse)
    submitter.submit(x(1))
    for call in (queue.recv, queue.recv, lambda: submitter.submit(x(1))):
        with pytest.raises(errors.ResourceExhausted, match="a worker has ended: MemoryError"):
            call()


def test_a_fork_is_told_that_nobody_works_for_it():
    """While the lock is held, too, and one thread waits."""
    submitter, queue = session.create_async(table_enf())
    submitter.submit(x(1))
    refused = (lambda: submitter.submit(x(2)), queue.recv, lambda: queue.recv(5), lambda: next(iter(queue)))

    def check() -> None:
        for call in refused:
            with pytest.raises(errors.SessionTerminated, match="forked"):
                call()
        submitter.close()
        queue.close()
        assert submitter.input_num == 1
        with session.create(table_enf()) as sess:
            assert sess.run(x(3))[0] == -1 - x(3)

    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with submitter._exchange.lock:
            held.set()
            go_on.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    in_fork(check)
    go_on.set()
    holder.join()
    assert queue.recv(60_000)[1][0] == -1 - x(1)


DRAIN = """
import signal, sys, threading, time
import numpy as np
from furiosa.runtime import errors, session
submitter, queue = session.create_async(sys.stdin.buffer.read(), worker_num=2, input_queue_size=50)
submitter.close_on_signal()
done = []
def submit():
    try:
        for i in range(1_000_000):
            submitter.submit(np.full((1, 1, 1, 64), i % 100, np.int8), i)
            done.append(i)
    except errors.SessionClosed:
        pass
thread = threading.Thread(target=submit)
thread.start()
print("ready", flush=True)
seen = [context for context, outputs in queue if outputs[0] == np.full((1, 1, 1, 64), -1 - context % 100, np.int8)]
thread.join()
print(seen and sorted(seen) == done, flush=True)
signal.raise_signal(signal.SIGTERM)  # what it did before
"""


def test_a_signal_closes_the_end_that_submits_and_nothing_is_lost():
    process = subprocess.Popen(
        [sys.executable, "-c", DRAIN],
        env=own_path(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdin.write(table_enf())
    process.stdin.close()
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == b"True\n"
    assert process.wait(30) == -signal.SIGTERM
    process.stdout.close()


def test_the_handler_of_before_is_called_and_put_back():
    calls = []
    before = signal.signal(signal.SIGUSR1, lambda *_: calls.append("before"))
    try:
        submitter, queue = session.create_async(table_enf())
        submitter.close_on_signal(signal.SIGUSR1)
        for count in (1, 2):
            signal.raise_signal(signal.SIGUSR1)
            assert len(calls) == count
        assert list(queue) == []
        with pytest.raises(ValueError):
            submitter.close_on_signal(12345)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_handler_may_close_both_ends_at_any_time():
    """In the midst of submitting and receiving: nobody waits for ever."""
    before = signal.getsignal(signal.SIGALRM)
    try:
        for i in range(150):
            submitter, queue = session.create_async(table_enf(), input_queue_size=2, output_queue_size=2)

            def close(*_: object) -> None:
                submitter.close()  # noqa: B023
                if i % 3 == 0:  # noqa: B023
                    queue.close()  # noqa: B023

            signal.signal(signal.SIGALRM, close)
            signal.setitimer(signal.ITIMER_REAL, 0.0002 + 0.00003 * i)
            submitted = 0
            with contextlib.suppress(errors.SessionClosed, errors.SessionTerminated):
                while True:
                    submitter.submit(x(1))
                    submitted += 1
                    if submitted % 2:
                        queue.recv()
            received = len(list(queue))
            assert i % 3 == 0 or received + (submitted + 1) // 2 >= submitted
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_process_may_end_in_the_midst_of_an_inference():
    """onnxruntime aborts it where its thread is taken away."""
    code = (
        "import sys, numpy as np\nfrom furiosa.runtime import session\n"
        "submitter, queue = session.create_async(sys.stdin.buffer.read(), worker_num=3)\n"
        "for i in range(300): submitter.submit(np.ones((1, 4), np.float32))\n"
        "queue.recv()"
    )
    enf = host_enf(
        "onnx",
        onnx_model([("Neg", ["x"], ["y"], {})], {"x": ("float32", (1, 4))}, {"y": ("float32", (1, 4))}),
        [descriptor("x", "float32", (1, 4))],
        [descriptor("y", "float32", (1, 4))],
    )
    for _ in range(5):
        subprocess.run([sys.executable, "-c", code], env=own_path(), input=enf, check=True)
