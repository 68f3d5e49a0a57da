"""Runs cases in a process of its own, with limits of CPU time and memory, and says what became of each.

A worker that dies (a native library crashed, or the time is up: the kernel ends it) is a finding of the case that it ran.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple, Self

SECONDS = 10  # of CPU time for one case
WALL_SECONDS = 60  # for one case, on a busy machine
MEMORY = 1 << 30  # bytes of address space beyond what a worker has when it starts


class Verdict(NamedTuple):
    """What became of a case; `finding` is the traceback, or how the process died, where that may not be."""

    number: int
    word: str
    finding: str | None = None


class Worker:
    """A process that runs cases of one target, replaced when it dies.  Use it in a ``with``."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, number: int, data: bytes | None = None) -> Verdict:
        """Runs one case, or a file that is given."""
        if self._process is None:
            self._start()
        process = self._process
        try:
            process.stdin.write(f"{number} {'' if data is None else data.hex()}\n".encode())
            process.stdin.flush()
        except BrokenPipeError:
            return self._died(number)
        ready, _, _ = select.select([process.stdout], [], [], WALL_SECONDS)
        line = process.stdout.readline() if ready else b""
        if not line:
            return self._died(number, hangs=not ready)
        word, _, finding = line.decode().rstrip("\n").partition("\t")
        return Verdict(number, word, finding.replace("\x1f", "\n") or None)

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        environment["OPENBLAS_NUM_THREADS"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.workers", self.target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        line = self._process.stdout.readline()
        if line != b"ready\n":
            raise RuntimeError(f"the worker for {self.target} does not start: {line!r}")

    def _died(self, number: int, hangs: bool = False) -> Verdict:
        process, self._process = self._process, None
        if hangs:
            process.kill()
        status = process.wait()
        process.stdin.close()
        process.stdout.close()
        if hangs or status == -signal.SIGPROF:
            return Verdict(number, "hang", f"no end within {SECONDS} s of CPU time")
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return Verdict(number, "crash", f"the process died: {name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(WALL_SECONDS)
            self._process.stdout.close()
            self._process = None


def main(target: str) -> None:
    """The worker: a line for each case in (its number, or a number and a file in hexadecimal), a line for each out."""
    from tests.fuzz import checks

    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # native libraries may print
    checks.TARGETS_BY_NAME[target].seeds()
    for data in checks.TARGETS_BY_NAME[target].seeds():  # imports everything, and proves the seeds sound
        checks.outcome(target, 0, data)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", file=out)
    for line in sys.stdin:
        number, _, text = line.strip().partition(" ")
        data = bytes.fromhex(text) if text else checks.case(target, int(number))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            result = checks.outcome(target, int(number), data)
        except BaseException as e:  # noqa: BLE001 - every exception that is not documented is a finding
            trace = "\x1f".join(traceback.format_exc().splitlines()).replace("\t", " ")
            result = f"{type(e).__name__}\t{trace}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(result, file=out)


if __name__ == "__main__":
    main(sys.argv[1])
