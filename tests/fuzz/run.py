"""The long run: ``python -m tests.fuzz.run --minutes 10``, from the root of the repository.

Cases go round over all targets from ``--first`` on.  What may not be is printed, its file is written to ``--keep``; the exit
status is 1 if there was any.  ``--case onnx:123`` runs one case again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections import Counter
from contextlib import ExitStack

from tests.fuzz.workers import Verdict, Worker

TARGETS = ("onnx", "tflite", "enf", "bundle")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="of the first case")
    parser.add_argument("--keep", metavar="FOLDER", help="where files with findings go")
    parser.add_argument("--case", metavar="TARGET:NUMBER", help="run this one case")
    options = parser.parse_args(arguments)
    if options.case:
        target, _, number = options.case.partition(":")
        with Worker(target) as worker:
            return _tell(target, worker.run(int(number)), options.keep)
    end = time.monotonic() + 60 * options.minutes
    counts = {target: Counter() for target in options.targets}
    findings = 0
    with ExitStack() as stack:
        workers = {target: stack.enter_context(Worker(target)) for target in options.targets}
        for number in itertools.count(options.first):
            for target, worker in workers.items():
                verdict = worker.run(number)
                counts[target][verdict.word] += 1
                findings += _tell(target, verdict, options.keep)
            if time.monotonic() > end:
                break
    for target, words in counts.items():
        detail = ", ".join(f"{word} {n}" for word, n in sorted(words.items()))
        print(f"{target}: {words.total()} cases ({detail})")
    print(f"{findings} findings; the next case is {number + 1}")
    return int(findings > 0)


def _tell(target: str, verdict: Verdict, folder: str | None) -> int:
    """Prints a finding and keeps its file; 1 if it is one."""
    if verdict.finding is None:
        return 0
    print(f"{target}:{verdict.number} {verdict.word}\n{verdict.finding}\n", flush=True)
    if folder is not None:
        from tests.fuzz.checks import case

        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{target}_{verdict.number}"), "wb") as f:
            f.write(case(target, verdict.number))
    return 1


if __name__ == "__main__":
    sys.exit(main())
