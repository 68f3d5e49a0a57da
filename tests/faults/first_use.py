"""The first use of a session, interrupted at each moment: an exception, and then the right numbers."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading

from furiosa.runtime import session
from furiosa.runtime.errors import ResourceExhausted, SessionClosed, SessionTerminated
from furiosa.runtime.testing import own_path
from tests.faults.injection import Fault
from tests.faults.models import Case
from tests.faults.trials import Trial, within

PAST = "past"  # the moment lies behind the end
EXPECTED = {KeyboardInterrupt: (KeyboardInterrupt,), MemoryError: (MemoryError, ResourceExhausted)}


def first_run(case: Case, error: type[BaseException], *, worker_num: int = 1) -> Trial:
    """``Session.run`` of a new session; then it runs again, at once and later, from as many threads as it has workers."""

    def trial(at: int) -> str:
        sess = case.create(worker_num=worker_num)
        fault = Fault(error, at)
        try:
            with fault:
                found = sess.run(case.inputs).view()
        except EXPECTED[error] as e:
            case.check(sess)  # while the exception holds what was in use, as a notebook does
            word = type(e).__name__
        else:
            case.compare(found)
            word = PAST if fault.where is None else "right"
        for _ in range(worker_num):
            case.check(sess)
        _all_run(case, sess, worker_num)
        sess.close()
        return word

    return trial


def _all_run(case: Case, sess: session.Session, threads: int) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            case.check(sess)
        except BaseException as e:  # noqa: BLE001
            failures.append(e)

    runners = [threading.Thread(target=run) for _ in range(threads)]
    for t in runners:
        t.start()
    for t in runners:
        t.join()
    if failures:
        raise failures[0]


def _threads() -> int:
    """How many run code of this project; one whose start was interrupted may stay in the standard library, before its first line."""
    count = 0
    for frame in sys._current_frames().values():
        while frame is not None and "/furiosa/" not in frame.f_code.co_filename:
            frame = frame.f_back
        count += frame is not None
    return count


_IMPORTING = """
import signal, sys
import numpy as np
from furiosa.runtime import session
sess = session.create(sys.argv[1])
inputs = [np.ones(d.shape, d.numpy_dtype) for d in sess.inputs()]
def interrupt(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
word = "right"
try:
    sess.run(inputs)
except KeyboardInterrupt:
    word = "KeyboardInterrupt"
signal.setitimer(signal.ITIMER_REAL, 0)
sess.run(inputs)
sys.stdout.write(word)
"""


def importing(path: str) -> Trial:
    """A signal at a random moment of the first run of a process, which loads a runtime of host clusters."""

    def trial(number: int) -> str:
        seconds = random.Random(number).uniform(0.001, 0.4)
        process = subprocess.run(
            [sys.executable, "-c", _IMPORTING, path, str(seconds)],
            env=own_path(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    return trial


def creation(case: Case, path: str, error: type[BaseException]) -> Trial:
    """``session.create`` of a file; then of the same again.  Nothing stays open, no thread stays."""
    case.create()

    def trial(at: int) -> str:
        gc.collect()
        files, threads = set(os.listdir("/proc/self/fd")), _threads()
        fault = Fault(error, at)
        try:
            with fault:
                sess = session.create(path)
        except EXPECTED[error] as e:
            word = type(e).__name__
        else:
            word = PAST if fault.where is None else "right"
            case.check(sess)
            del sess
        with session.create(path) as sess:
            case.check(sess)
        del sess
        gc.collect()
        assert within(10, lambda: _threads() <= threads), "a thread is left"
        assert set(os.listdir("/proc/self/fd")) <= files, "a file is left open"
        return word

    return trial


def queues(case: Case, error: type[BaseException]) -> Trial:
    """Two inferences by ``create_async``; whatever was interrupted, both ends can be closed and the workers end."""

    def trial(at: int) -> str:
        gc.collect()
        threads = _threads()
        case.create().close()  # how large commands are cut
        submitter = queue = None
        fault = Fault(error, at)
        found = []
        try:
            with fault:
                submitter, queue = session.create_async(case.enf, worker_num=2, input_queue_size=1)
                for i in range(2):
                    submitter.submit(case.inputs, i)
                submitter.close()
                for _, outputs in queue:
                    found.append(outputs.view())
        except EXPECTED[error] as e:
            word = type(e).__name__
            if submitter is not None:
                word += _go_on(case, submitter, queue)
        else:
            word = PAST if fault.where is None else "right"
        for outputs in found:
            case.compare(outputs)
        assert len(found) == 2 or fault.where is not None
        for end in (submitter, queue):
            if end is not None:
                end.close()
        del submitter, queue, end
        gc.collect()
        assert within(20, lambda: _threads() <= threads), "a worker is left"
        return word

    return trial


def _go_on(case: Case, submitter: session.AsyncSession, queue: session.CompletionQueue) -> str:
    """After an exception: both ends still answer, and end."""
    try:
        submitter.submit(case.inputs, "later")
    except (SessionClosed, SessionTerminated, ResourceExhausted):
        later = ""
    else:
        later = ", used later"
    submitter.close()
    try:
        seen = [context for context, outputs in queue if case.compare(outputs.view()) is None]
    except (ResourceExhausted, MemoryError):  # of a worker
        return later
    assert not later or "later" in seen, "a submitted inference is lost"
    return later
