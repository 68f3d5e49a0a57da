"""Asynchronous sessions: order, bounds, closing from either end."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from furiosa.runtime import errors, session
from furiosa.runtime.testing.enf_files import descriptor, host_enf, table_enf

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
