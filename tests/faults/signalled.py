"""Commands that a signal ends, at any moment: the right status, in time, in silence, with nothing half-written and no process left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from generator.__main__ import build

from furiosa.compiler.frontend.onnx import testing as onnx_testing
from tests.faults.trials import Trial

LIMIT = 2.0  # seconds from the signal to the end, on a machine that is not busy with other things
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(NamedTuple):
    """Arguments of ``furiosa`` in a folder of its own; ``outputs`` is what it writes, a folder with a slash."""

    arguments: str
    outputs: tuple[str, ...]


COMMANDS = {
    "compile": Command(
        "compile tiny.onnx -o out.enf --report-json r.json --report r.html --chrome-trace t.json",
        ("out.enf", "r.json", "r.html", "t.json"),
    ),
    "compile, with a host cluster": Command("compile host.onnx -o out.enf", ("out.enf",)),
    "tune": Command("tune tiny.onnx --batch-sizes 1,2,4 --jobs 2 -o t.json", ("t.json",)),
    "run": Command("run tiny.enf --random 1 -o out.npz", ("out.npz",)),
    "run, with a host cluster": Command("run host.enf --random 1 -o out.npz", ("out.npz",)),
    "run, with a process for it": Command("run host.enf --host-process --random 1 -o out.npz", ("out.npz",)),
    "bench": Command("bench tiny.enf -n 20 -o b.json --trace-output t.json", ("b.json", "t.json")),
    "bench, throughput": Command("bench host.enf -n 200 -w 2 -t 2 --workload T -o b.json", ("b.json",)),
    "compare": Command("compare tiny.onnx --json c.json --html c.html", ("c.json", "c.html")),
    "compare, in a process": Command("compare host.onnx --host-process --json c.json", ("c.json",)),
    "bundle pack": Command(
        "bundle pack -o b.tar --model a=tiny.enf --model b=host.enf --manifest-json m.json --tree tree",
        ("b.tar", "m.json", "tree/"),
    ),
    "bundle unpack": Command("bundle unpack bundle.tar -o tree", ("tree/",)),
    "bundle unpack, to a folder": Command("bundle unpack bundle.tar -o empty", ("empty/",)),
    "bundle layer": Command("bundle layer bundle.tar -o layer.tar", ("layer.tar",)),
    "bundle verify": Command("bundle verify bundle.tar --stamp ok", ("ok",)),
    "enf verify": Command("enf verify host.enf --stamp ok", ("ok",)),
}


@cache
def environment() -> dict[str, str]:
    path = [os.path.abspath(p or ".") for p in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}


def _popen(arguments: str, folder: Path, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "furiosa.compiler.cli.main", *arguments.split()],
        cwd=folder,
        env=environment(),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        **options,
    )


def inputs(folder: Path) -> None:
    """What the commands read."""
    (folder / "tiny.onnx").write_bytes(build("tiny", "int8").SerializeToString(deterministic=True))
    text = "g (float[1, 64] x) => (float[1, 64] y) { a = Sinh(x)  y = Cos(a) }"
    (folder / "host.onnx").write_bytes(onnx_testing.model(text))
    (folder / "empty").mkdir()
    for arguments in (
        "compile tiny.onnx -o tiny.enf",
        "compile host.onnx -o host.enf",
        "bundle pack -o bundle.tar --model a=tiny.enf --model b=host.enf",
    ):
        process = _popen(arguments, folder)
        assert process.wait() == 0, process.stderr.read()
        process.stderr.close()


Tree = dict[str, bytes]


def _tree(folder: Path) -> Tree:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def trials(
    folder: Path, name: str, sent: Callable[[random.Random], list[int]], limit: float = LIMIT
) -> Trial:
    """A command in ``folder``, which ``inputs`` has filled, and signals at a moment that the number draws.

    Its time without any signal is measured here.  Half of the trials find older outputs.
    """
    command = COMMANDS[name]
    before = _tree(folder)
    work = folder.with_name(folder.name + "-work")

    def begin(has_outputs: bool) -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder, work, symlinks=True)
        for output in command.outputs:
            if has_outputs and not output.endswith("/"):
                (work / output).write_bytes(b"of yesterday")

    whole = float("inf")
    for _ in range(2):  # the first reads files that are not in memory yet
        begin(False)
        started = time.monotonic()
        process = _popen(command.arguments, work)
        _, said = process.communicate()
        assert process.returncode == 0, said
        whole = min(whole, time.monotonic() - started)
    made = {k: v for k, v in _tree(work).items() if k not in before}

    def trial(number: int) -> str:
        rng = random.Random(f"{name} {number}")
        has_outputs = bool(number % 2)
        begin(has_outputs)
        signals = sent(rng)
        process = _popen(command.arguments, work)
        time.sleep(rng.uniform(0, whole))
        at = time.monotonic()
        for signal_ in signals:
            process.send_signal(signal_)
            if len(signals) > 1:
                time.sleep(rng.choice((0, 0.0005, 0.01)))
        try:
            _, said = process.communicate(timeout=limit + 30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "hang"
        took = time.monotonic() - at
        assert _gone(process.pid), "a process is left"
        found = _tree(work)
        _compare(found, before, made, has_outputs)
        status = process.returncode
        if status == 0:
            return "done before"
        assert took < limit, f"{took:.1f} s"
        if status in [128 + n for n in signals]:
            assert not said, said
            return "ended"
        # before the first line of ours; Python says so in its own words
        assert status in [-n for n in signals] or (status == 1 and b"KeyboardInterrupt" in said), (
            status,
            said,
        )
        return "ended by Python" if said else "ended by the kernel"

    return trial


def _compare(found: Tree, before: Tree, made: Tree, has_outputs: bool) -> None:
    """All outputs are there and whole, or none is, and what was there is as it was."""
    left = set(found) - set(before) - set(made)
    assert not left, f"left: {sorted(left)}"
    assert all(found.get(k) == v for k, v in before.items()), "an input has changed"
    new = [k for k, v in made.items() if k in found and _same(k, found[k], v)]
    old = [k for k, v in made.items() if found.get(k) == (b"of yesterday" if has_outputs else None)]
    assert set(new) | set(old) >= {k for k in made if "/" not in k}, (
        f"half-written: {sorted(set(made) - set(new) - set(old))}"
    )
    groups: dict[str, list[str]] = {}
    for k in made:
        groups.setdefault(k.split("/")[0] if "/" in k else k, []).append(k)
    for name, files in groups.items():
        there = [k for k in files if k in found and k not in old]
        assert not there or len(there) == len(files), f"half of {name}"


def _same(name: str, found: bytes, made: bytes) -> bool:
    """Whether an output is the same but for times that were measured."""
    if name in ("b.json", "t.json"):
        return found[:1] == made[:1] and found.rstrip()[-1:] == made.rstrip()[-1:]
    return found == made


def _gone(group: int) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.005)
    os.killpg(group, signal.SIGKILL)
    return False


def one(rng: random.Random) -> list[int]:
    """One of the signals."""
    return [rng.choice(NUMBERS)]


def twice(rng: random.Random) -> list[int]:
    """Two at once, or nearly."""
    return [rng.choice(NUMBERS), rng.choice(NUMBERS)]
