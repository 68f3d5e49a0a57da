"""Bazel in Bazel with remote execution: every action of the rules runs on an executor, and writes the same bytes as here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cache_servers import GrpcCache, installed
from inner_bazel import InnerBazel, copy_checkout, executions, scratch

_TARGETS = ("//:tiny_batch4_enf", "//:tiny_float32_enf", "//:tiny_int8_enf", "//:vision")
_COUNTS = {"NpuCompile": 3, "NpuVerify": 4, "NpuBundle": 1}
# Where a worker is possible, Bazel prefers it to the default strategy.
_REMOTE = ("--spawn_strategy=remote", *(f"--strategy={mnemonic}=remote" for mnemonic in _COUNTS))


@pytest.fixture(scope="module")
def bazel() -> Iterator[InnerBazel]:
    checkout = copy_checkout(scratch() / "checkout")
    with InnerBazel(checkout / "examples/smoke", "remote_execution") as inner:
        yield inner


@pytest.fixture(scope="module")
def executor() -> Iterator[GrpcCache]:
    """buildbox-casd, which is storage, action cache and executor in one."""
    runner = f"--buildbox-run={installed('buildbox-run-hosttools')}"
    with GrpcCache(scratch() / "executor", runner, "--runner-arg=--staging-mode=copy-or-link") as server:
        yield server


def _build(bazel: InnerBazel, name: str, *flags: str) -> dict[str, list[str]]:
    """Builds everything; who ran what, by mnemonic."""
    log = scratch() / f"{name}.json"
    bazel.run("build", f"--execution_log_json_file={log}", *flags, *_TARGETS)
    return {mnemonic: [e["runner"] for e in executions(log, mnemonic)] for mnemonic in _COUNTS}


def _bytes(bazel: InnerBazel) -> dict[str, bytes]:
    folder = Path(bazel.run("info", "bazel-bin").strip())
    files = sorted([*folder.glob("*.enf"), *folder.glob("*.tar")])
    return {f.name: f.read_bytes() for f in files}


def test_everything_runs_remotely_and_writes_the_same_bytes(bazel: InnerBazel, executor: GrpcCache) -> None:
    here = _build(bazel, "here")
    assert not [runner for runners in here.values() for runner in runners if runner.startswith("remote")]
    local = _bytes(bazel)
    assert sorted(local) == ["tiny_batch4.enf", "tiny_float32.enf", "tiny_int8.enf", "vision.tar"]
    bazel.run("clean")
    flags = (f"--remote_executor={executor.url}", "--remote_download_outputs=all", "--jobs=2", *_REMOTE)
    there = _build(bazel, "there", *flags)
    assert there == {mnemonic: ["remote"] * count for mnemonic, count in _COUNTS.items()}
    assert _bytes(bazel) == local
