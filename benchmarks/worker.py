"""Prints what a warm persistent worker saves: 50 small compilations through one worker and by one process each, on two cores.

    pip install . && python benchmarks/worker.py [--runs 3]

Both sides run two compilations at a time, as Bazel does on two cores, in turn, A B A B; the worker is warm.  The jobs are the
four MLPerf Tiny models of ../shared for both targets and several batch sizes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent.parent / "shared" / "models"
TINY = ("tiny_resnet8_int8", "tiny_kws_dscnn_int8", "tiny_vww_mobilenet_int8", "tiny_ad_autoencoder_int8")
AT_A_TIME = 2
COMMAND = [sys.executable, "-m", "furiosa.compiler.cli.main"]


def jobs(folder: str) -> list[list[str]]:
    """The arguments of 50 compilations."""
    kinds = itertools.islice(itertools.product(range(1, 8), ("warboy", "warboy-2pe"), TINY), 50)
    return [
        ["compile", str(MODELS / f"{m}.tflite"), "-o", f"{folder}/{i}.enf"]
        + ["--target-npu", t, "--batch-size", str(b)]
        for i, (b, t, m) in enumerate(kinds)
    ]


def each(arguments: list[list[str]]) -> float:
    """Seconds by one process each."""
    start = time.perf_counter()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda a: subprocess.run([*COMMAND, *a], check=True, capture_output=True), arguments))
    return time.perf_counter() - start


class Worker:
    """A worker process that speaks the JSON protocol."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "--persistent_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, arguments: list[list[str]]) -> float:
        """Seconds through the worker, so many requests at a time."""
        start = time.perf_counter()
        waiting = iter(enumerate(arguments, 1))
        for i, a in itertools.islice(waiting, AT_A_TIME):
            self._send(i, a)
        for _ in arguments:
            answer = json.loads(self._process.stdout.readline())
            if answer["exitCode"]:
                raise SystemExit(answer["output"])
            for i, a in itertools.islice(waiting, 1):
                self._send(i, a)
        return time.perf_counter() - start

    def _send(self, number: int, arguments: list[str]) -> None:
        request = {"arguments": arguments, "requestId": number}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each side")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        arguments = jobs(folder)
        worker = Worker()
        worker.run(arguments[:4])
        samples = [(worker.run(arguments), each(arguments)) for _ in range(runs)]
        worker.close()
    warm, cold = (statistics.median(s[side] for s in samples) for side in (0, 1))
    ratio = statistics.median(b / a for a, b in samples)
    print("| 50 small compilations, two at a time | seconds |\n|---|---|")
    print(
        f"| one process each | {cold:.2f} |\n| one warm worker | {warm:.2f} |\n| ratio | {ratio:.1f} (goal 4) |"
    )


if __name__ == "__main__":
    main()
