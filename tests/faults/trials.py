"""Trials in processes of their own: what came of each, also where it hung or took the process along."""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

SECONDS = 60.0  # for one trial, on a busy machine; then it hangs

Trial = Callable[
    [int], str
]  # a number, of a moment say, to a word; AssertionError: what was promised does not hold


@dataclass(slots=True)
class Tally:
    """How often each word came, and of every trial that went wrong its number and what happened."""

    words: dict[str, int] = field(default_factory=dict)
    findings: list[tuple[int, str, str]] = field(
        default_factory=list
    )  # number, "wrong", "hang" or "crash", details

    @property
    def trials(self) -> int:
        return sum(self.words.values())

    def add(self, number: int, word: str, details: str = "") -> None:
        self.words[word] = self.words.get(word, 0) + 1
        if word in ("wrong", "hang", "crash"):
            self.findings.append((number, word, details))


def sweep(trial: Trial, numbers: Iterable[int], until: str | None = None) -> Tally:
    """The trials of all numbers, one after the other in one child as long as that lives.

    ``until``: the word after which no more are made.
    """
    tally, left = Tally(), list(numbers)
    while left:
        left = _child(trial, left, until, tally)
    return tally


def _child(trial: Trial, numbers: list[int], until: str | None, tally: Tally) -> list[int]:
    """Makes trials in a fork; returns the numbers that it did not come to."""
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            os.setsid()
            gc.freeze()  # trials collect garbage, and this process has none for them
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), 2
            )  # exceptions that the interpreter ignores, by its own word
            _work(trial, numbers, until, write)
        finally:
            os._exit(0)
    os.close(write)
    done, rest = 0, b""
    while done < len(numbers):
        ready, _, _ = select.select([read], [], [], SECONDS)
        piece = os.read(read, 1 << 16) if ready else b""
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            word, _, details = line.decode("utf-8", "replace").partition("\t")
            tally.add(numbers[done], word, details.replace("\x1f", "\n"))
            done += 1
            if word == until:
                numbers = numbers[:done]
        if not piece:
            break
    os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(read)
    if done < len(numbers):
        died = ready and os.waitstatus_to_exitcode(status)
        tally.add(numbers[done], "crash" if ready else "hang", f"exit status {died}" if ready else "")
        done += 1
    return numbers[done:]


def _work(trial: Trial, numbers: list[int], until: str | None, write: int) -> None:
    for number in numbers:
        try:
            line = trial(number)
        except BaseException:  # noqa: BLE001 - reported
            line = "wrong\t" + "\x1f".join(traceback.format_exc().splitlines()).replace("\t", " ")
        data = memoryview(f"{line}\n".encode("utf-8", "replace"))
        while data:
            data = data[os.write(write, data) :]
        if line == until:
            return


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
