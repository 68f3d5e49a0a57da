"""Prints what Bazel does with a repository of 1,000 npu_model targets over 50 small models: time, memory, cache size and uploads.

    python benchmarks/scale.py [--folder FOLDER] [--runs 3]

Needs `bazel` on PATH, numpy, onnx and pytest; nginx for the rows about a remote cache.  Writes the repository, the caches and Bazel's
output below FOLDER (by default a temporary one that is removed afterwards).  docs/scale.md holds the results.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / folder) for folder in ("examples/models", "tests/bazel")]

from cache_servers import HttpCache
from inner_bazel import executions

MODELS, PACKAGES = 50, 20
ALL, ONE = "//...", "//team00:m00_enf"

MODULE = """module(name = "scale")

bazel_dep(name = "furiosa_rules", version = "0.1.0")
local_path_override(
    module_name = "furiosa_rules",
    path = "{root}",
)

bazel_dep(name = "rules_python", version = "1.8.5")
"""

TARGET = """
npu_model(
    name = "m{model:02}_enf",
    src = "//models:m{model:02}.onnx",
    batch_size = {batch_size},
    target_npu = "{target_npu}",
)
"""


def write_model(path: Path, number: int, change: int = 0) -> None:
    """An int8 classifier of 32x32 images like `tiny`; number says how wide and deep, and with change what weights."""
    from generator.int8 import int8_model
    from generator.moments import Moments
    from generator.network import Network

    width, kind = 16 + 8 * (number % 5), f"m{number:02}_{change}"
    net = Network(f"m{number:02}")
    x = net.input("input", (1, 3, 32, 32), -1.0, 1.0, Moments(0.0, 1 / 3))
    x = net.conv(x, f"{kind}_conv1", width, 3, stride=2, pads=[0, 0, 1, 1])
    for block in range(1 + number // 5 % 5):
        y = net.conv(x, f"{kind}_block{block}_conv1", width, 3)
        x = net.add(
            net.conv(y, f"{kind}_block{block}_conv2", width, 3, activation=""), x, f"{kind}_block{block}_add"
        )
    x = net.flatten(net.global_average_pool(x, "average"), "flatten")
    net.result(net.dense(x, f"{kind}_logits", 10, std=2.0))
    path.write_bytes(int8_model(net).SerializeToString(deterministic=True))


def package(number: int, first_batch_size: int = 0) -> str:
    """The BUILD file of one team: all models for one NPU and batch size; `first_batch_size` stands for its first target's."""
    npu, batch_size = ("warboy", "warboy-2pe")[number % 2], 1 + number // 2
    targets = [
        TARGET.format(model=m, target_npu=npu, batch_size=m == 0 and first_batch_size or batch_size)
        for m in range(MODELS)
    ]
    return 'load("@furiosa_rules//furiosa_rules:defs.bzl", "npu_model")\n' + "".join(targets)


def write_workspace(folder: Path) -> None:
    """A repository of PACKAGES teams with MODELS targets each, for 2 NPUs and 10 batch sizes."""
    (folder / "models").mkdir(parents=True)
    (folder / "MODULE.bazel").write_text(MODULE.format(root=ROOT))
    shutil.copy(ROOT / ".bazelrc", folder / ".bazelrc")
    (folder / "models/BUILD.bazel").write_text('exports_files(glob(["*.onnx"]))\n')
    for number in range(MODELS):
        write_model(folder / f"models/m{number:02}.onnx", number)
    for number in range(PACKAGES):
        (folder / f"team{number:02}").mkdir()
        (folder / f"team{number:02}/BUILD.bazel").write_text(package(number))


class Bazel:
    """Bazel in one workspace, with an output base of its own."""

    def __init__(self, folder: Path, workspace: Path) -> None:
        self.workspace = workspace
        self._startup = ["bazel", f"--output_user_root={folder / 'bazel'}", "--max_idle_secs=300"]

    def __call__(self, *arguments: str) -> tuple[float, str]:
        """Seconds of the whole command, and all that it wrote."""
        start = time.perf_counter()
        flags = ["--color=no", "--curses=no", "--noshow_progress"]
        command = [*self._startup, arguments[0], *flags, *arguments[1:]]
        done = subprocess.run(command, cwd=self.workspace, check=False, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return seconds, done.stdout + done.stderr

    def build(self, *arguments: str) -> tuple[float, str]:
        """Seconds, and Bazel's own count of processes."""
        seconds, text = self("build", "--show_result=0", *arguments)
        return seconds, re.search(r"(\d+ process(?:es)?: .*)\.", text)[1]

    def memory(self) -> tuple[float, float]:
        """MB of the server: resident, and of its heap after a garbage collection."""
        pid = self("info", "server_pid")[1].split()[-1]
        heap = re.search(r"(\d+)MB", self("info", "used-heap-size-after-gc")[1])[1]
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, float(heap)


def row(what: str, seconds: float, note: str = "") -> None:
    print(f"| {what} | {seconds:.2f} | {note} |", flush=True)


def folder_size(folder: Path) -> tuple[int, float]:
    """Files and MB."""
    sizes = [f.stat().st_size for f in folder.rglob("*") if f.is_file()]
    return len(sizes), sum(sizes) / 1e6


def measure(folder: Path, runs: int) -> None:
    """Prints the table."""
    workspace = folder / "workspace"
    write_workspace(workspace)
    bazel = Bazel(folder, workspace)
    bazel("build", "--nobuild", ONE)  # repositories and wheels are there
    bazel("shutdown")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {runs} runs, the median counts\n")
    print("| | seconds | |\n|---|---|---|")
    remote = bool(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"))
    with HttpCache(folder / "nginx") if remote else contextlib.nullcontext() as server:
        try:
            fill(bazel, folder / "disk_cache", server)
            local(bazel, runs)
            restore(bazel)
            caches(bazel, folder / "disk_cache", server)
        finally:
            bazel("shutdown")


def fill(bazel: Bazel, disk: Path, server: HttpCache | None) -> None:
    """The row of the build that compiles everything, and fills the caches."""
    row("analysis of all targets, cold server", bazel("build", "--nobuild", ALL)[0])
    flags = [f"--disk_cache={disk}"] + ([f"--remote_cache={server.url}"] if server else [])
    seconds, processes = bazel.build(ALL, *flags)
    uploads = [int(request[3]) for request in (server.requests() if server else ()) if request[0] == "PUT"]
    note = f"{processes}; {len(uploads)} uploads, {sum(uploads) / 1e6:.1f} MB"
    row("full build, fills both caches", seconds, note)


def local(bazel: Bazel, runs: int) -> None:
    """Rows without a cache."""
    resident, heap = bazel.memory()
    no_op = statistics.median(bazel.build(ALL)[0] for _ in range(runs))
    row(
        "no-op build (goal: 3)",
        no_op,
        f"server: {resident:.0f} MB resident, {heap:.0f} MB of its heap in use",
    )

    compiling = statistics.median(change_target(bazel, 20 + run, ONE)[1] for run in range(runs))
    row("one compilation, in the worker", compiling)
    samples = [change_target(bazel, 40 + run, ALL) for run in range(runs)]
    one = statistics.median(seconds for seconds, *_ in samples)
    row(f"one target changed (goal: {no_op + compiling + 1:.2f})", one, samples[0][2])
    changed = []
    for run in range(runs):
        write_model(bazel.workspace / "models/m00.onnx", 0, change=1 + run)
        changed.append(bazel.build(ALL))
    seconds = statistics.median(seconds for seconds, _ in changed)
    row(f"one model changed, with its {PACKAGES} targets", seconds, changed[0][1])


def restore(bazel: Bazel) -> None:
    """Takes the changes of `local` back."""
    (bazel.workspace / "team00/BUILD.bazel").write_text(package(0))
    write_model(bazel.workspace / "models/m00.onnx", 0)


def change_target(bazel: Bazel, batch_size: int, built: str) -> tuple[float, float, str]:
    """Gives ONE another batch size and builds: seconds in all, those of its compilation, and Bazel's count of processes."""
    (bazel.workspace / "team00/BUILD.bazel").write_text(package(0, first_batch_size=batch_size))
    log = bazel.workspace / "execution_log.json"
    seconds, processes = bazel.build(built, f"--execution_log_json_file={log}")
    (compiled,) = executions(log, "NpuCompile")
    return seconds, float(compiled["metrics"]["executionWallTime"].rstrip("s")), processes


def caches(bazel: Bazel, disk: Path, server: HttpCache | None) -> None:
    """Rows with caches that are full."""
    files, size = folder_size(disk)
    note = f"cache: {files} files, {size:.0f} MB"
    bazel("clean")
    row("full build from a disk cache", bazel.build(ALL, f"--disk_cache={disk}")[0], note)
    for outputs in ("all", "toplevel", "minimal") if server else ():
        bazel("clean")
        before = len(server.requests())
        flags = (f"--remote_cache={server.url}", f"--remote_download_outputs={outputs}")
        seconds, processes = bazel.build(ALL, *flags)
        got = [int(request[4]) for request in server.requests()[before:]]
        note = f"{processes}; {len(got)} requests, {sum(got) / 1e6:.1f} MB down"
        row(f"full build from a remote cache, `{outputs}`", seconds, note)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where everything is written, a new folder")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of the short builds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = (options.folder or Path(folder)).absolute()
        measure(folder, options.runs)


if __name__ == "__main__":
    main()
