"""Load: ``bazel run //tests:faults_load`` prints a table of what sessions and a worker do under it.

Eight threads that run one session, thousands of sessions, compilations through one worker.  The exit status is 1 if anything was wrong.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from generator.__main__ import build

from furiosa.runtime import session
from furiosa.runtime.testing import own_path
from tests.faults import models

THREADS, RUNS, SESSIONS, COMPILATIONS = 8, 200, 2000, 300
DESCRIPTORS = 256  # the limit under which all sessions are open at once


def main() -> int:
    print("| load | wrong | what else was seen | s |\n|---|---|---|---|")
    failures = 0
    for name, load in _loads():
        begun = time.monotonic()
        wrong, seen = load()
        print(f"| {name} | {wrong} | {seen} | {time.monotonic() - begun:.0f} |", flush=True)
        failures += wrong
    return int(failures > 0)


def _loads() -> Iterator[tuple[str, Callable[[], tuple[int, str]]]]:
    for case in ("network", "network, two threads", "onnxruntime", "LiteRT"):
        for workers in (1, 3, 8):
            name = f"{THREADS} threads x {RUNS} runs ({case}, worker_num {workers})"
            yield name, lambda case=case, workers=workers: _threads(models.CASES[case](), workers)
    yield f"{SESSIONS:,} sessions, one after the other", lambda: _sessions(at_once=False)
    yield f"{SESSIONS:,} sessions at once, ulimit -n {DESCRIPTORS}", lambda: _sessions(at_once=True)
    yield f"{COMPILATIONS} compilations through one worker", _compilations


def _threads(case: models.Case, workers: int) -> tuple[int, str]:
    """Wrong results and exceptions of threads that share a session."""
    wrong = []

    def run() -> None:
        for _ in range(RUNS):
            try:
                case.check(sess)
            except Exception as e:  # noqa: BLE001 - each is counted
                wrong.append(e)

    with case.create(worker_num=workers) as sess:
        threads = [threading.Thread(target=run) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return len(wrong), f"{THREADS * RUNS:,} results"


def _sessions(at_once: bool) -> tuple[int, str]:
    """Wrong results of sessions of one file; what they leave in memory and of descriptors."""
    case = models.CASES["NPU"]()
    wrong = 0
    before_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = os.path.join(folder, "a.enf")
        Path(path).write_bytes(case.enf)
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, before_limit[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before_limit)
        with session.create(path) as sess:  # what the first one loads stays
            case.check(sess)
        before = _resources()
        for _ in range(SESSIONS):
            sess = session.create(path)
            if at_once:
                stack.enter_context(sess)
            wrong += _is_wrong(case, sess)
            if not at_once:
                sess.close()
        del sess
        memory, descriptors = (b - a for a, b in zip(before, _resources(), strict=True))
    return wrong, f"resident memory {memory / 1024:+.1f} MiB, descriptors {descriptors:+d}"


def _is_wrong(case: models.Case, sess: session.Session) -> bool:
    try:
        case.check(sess)
    except AssertionError:
        return True
    return False


def _resources() -> tuple[int, int]:
    """Resident memory in KiB, and open descriptors."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024, len(os.listdir("/proc/self/fd"))


_WORKER = "import sys; from furiosa.compiler.cli.main import main; sys.exit(main())"
_AT_ONCE = 4  # requests that the worker has at the same time


def _compilations() -> tuple[int, str]:
    """ENFs of a worker that differ from that of a process of its own, and requests without an answer; how much it has grown."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "m.onnx").write_bytes(build("tiny", "int8").SerializeToString())
        command = [sys.executable, "-c", _WORKER]
        options = {"cwd": folder, "env": own_path(), "text": True}
        subprocess.run([*command, "compile", "m.onnx", "-o", "alone.enf"], **options, check=True)
        expected = Path(folder, "alone.enf").read_bytes()
        worker = subprocess.Popen(
            [*command, "--persistent_worker"], **options, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert worker.stdin is not None and worker.stdout is not None
        wrong, resident = 0, []
        for first in range(0, COMPILATIONS, _AT_ONCE):
            numbers = range(first + 1, first + 1 + _AT_ONCE)
            for number in numbers:
                arguments = ["compile", "m.onnx", "-o", f"{number}.enf"]
                worker.stdin.write(json.dumps({"requestId": number, "arguments": arguments}) + "\n")
            worker.stdin.flush()
            answers = {a["requestId"]: a for a in (json.loads(worker.stdout.readline()) for _ in numbers)}
            for number in numbers:
                made = Path(folder, f"{number}.enf")
                answered = answers.get(number, {}).get("exitCode") == 0
                wrong += not (answered and made.read_bytes() == expected)
            resident.append(int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]))
        worker.stdin.close()
        status = worker.wait(60)
        left = sorted(set(os.listdir(folder)) - {"m.onnx", "alone.enf"})
        wrong += status != 0 or len(left) != COMPILATIONS
    grown = (resident[-1] - resident[0]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return wrong, f"resident memory {grown:+.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
