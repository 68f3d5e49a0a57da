"""Bazel in Bazel with remote execution: every action runs on an executor, the one it asks for, and writes the same bytes as here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from buildgrid_server import BuildGrid
from cache_servers import GrpcCache, installed
from inner_bazel import InnerBazel, copy_checkout, executions, scratch

_GROUPS = "--output_groups=+report,+dot,+manifest,+tree"
_COUNTS = {
    "Genrule": 2,
    "NpuBundle": 1,
    "NpuCompile": 3,
    "NpuLayer": 1,
    "NpuUnpack": 1,
    "NpuVerify": 4,
    "PythonTool": 4,  # the programs that the others run
}
# Where a worker is possible, Bazel prefers it to the default strategy.
_REMOTE = ("--spawn_strategy=remote", "--strategy=NpuCompile=remote", "--strategy=NpuVerify=remote")
_WORKERS = {"small": ("OSFamily=linux", "Pool=small"), "large": ("OSFamily=linux", "Pool=large")}
_HIT = "remote cache hit"

# An execution platform, and a target that wants another executor.
_PLATFORM = """
platform(
    name = "large_executor",
    exec_properties = {"Pool": "large"},
    parents = ["@platforms//host"],
)

npu_model(
    name = "small_enf",
    src = "tiny_int8.onnx",
    exec_properties = {"Pool": "small"},
)
"""
_REGISTRATION = """
bazel_dep(name = "platforms", version = "0.0.11")

register_execution_platforms("//:large_executor")
"""


@pytest.fixture(scope="module")
def bazel() -> Iterator[InnerBazel]:
    checkout = copy_checkout(scratch() / "checkout")
    with InnerBazel(checkout / "examples/smoke", "remote_execution") as inner:
        yield inner


@pytest.fixture(scope="module")
def here(bazel: InnerBazel) -> dict[str, bytes]:
    """All outputs, made on this machine."""
    bazel.run("build", _GROUPS, f"--execution_log_json_file={_log('here')}", "//...")
    assert not [e for e in executions(_log("here")) if e["runner"].startswith("remote")]
    return _outputs(bazel)


@pytest.fixture(scope="module")
def casd() -> Iterator[GrpcCache]:
    """buildbox-casd, which is storage, action cache and executor in one."""
    runner = f"--buildbox-run={installed('buildbox-run-hosttools')}"
    with GrpcCache(scratch() / "casd", runner, "--runner-arg=--staging-mode=copy-or-link") as server:
        yield server


@pytest.fixture(scope="module")
def buildgrid() -> Iterator[BuildGrid]:
    """BuildGrid with two workers."""
    with BuildGrid(scratch() / "buildgrid", _WORKERS) as server:
        yield server


def _log(name: str) -> Path:
    return scratch() / f"{name}.json"


def _outputs(bazel: InnerBazel) -> dict[str, bytes]:
    """Everything that the rules have made, by path."""
    folder = Path(bazel.run("info", "bazel-bin").strip())
    patterns = ("*.enf", "*.json", "*.dot", "*.tar", "vision.manifest/*", "vision.tree/**/*")
    files = [f for pattern in patterns for f in folder.glob(pattern) if f.is_file()]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def _build(bazel: InnerBazel, name: str, server: GrpcCache | BuildGrid, *flags: str) -> list[tuple[str, str]]:
    """Builds on an executor; mnemonic and runner of every action."""
    bazel.run("clean")
    remote = (f"--remote_executor={server.url}", "--remote_download_outputs=all", "--jobs=4", *_REMOTE)
    bazel.run("build", f"--execution_log_json_file={_log(name)}", *remote, *flags)
    return [(e["mnemonic"], e["runner"]) for e in executions(_log(name))]


@pytest.mark.parametrize("executor", ["casd", "buildgrid"])
def test_everything_runs_remotely_and_writes_the_same_bytes(
    bazel: InnerBazel, here: dict[str, bytes], executor: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(executor)
    there = _build(bazel, executor, server, _GROUPS, "//...")
    assert Counter(there) == {(mnemonic, "remote"): count for mnemonic, count in _COUNTS.items()}
    assert _outputs(bazel) == here and len(here) == 18


def test_a_second_build_is_hits(bazel: InnerBazel, here: dict[str, bytes], buildgrid: BuildGrid) -> None:
    again = _build(bazel, "again", buildgrid, _GROUPS, "//...")
    assert Counter(again) == {(mnemonic, _HIT): count for mnemonic, count in _COUNTS.items()}
    assert _outputs(bazel) == here


def test_an_action_runs_where_its_exec_properties_say(bazel: InnerBazel, buildgrid: BuildGrid) -> None:
    for file, text in (("BUILD.bazel", _PLATFORM), ("MODULE.bazel", _REGISTRATION)):
        with open(bazel.workspace / file, "a", encoding="utf-8") as stream:
            stream.write(text)
    before = {name: buildgrid.actions(name) for name in _WORKERS}
    _build(bazel, "pools", buildgrid, "//:tiny_int8_enf", "//:small_enf")
    asked = Counter((e["mnemonic"], e["runner"], _properties(e)) for e in executions(_log("pools")))
    # The platform's own properties are those of the genrule, too, and of what packs the compiler and the verifier.
    counts = {"Genrule": 1, "NpuCompile": 1, "NpuVerify": 1, "PythonTool": 2}
    large = {(mnemonic, "remote", "Pool=large"): count for mnemonic, count in counts.items()}
    assert asked == large | {(m, "remote", "Pool=small"): 1 for m in ("NpuCompile", "NpuVerify")}
    assert {name: buildgrid.actions(name) - count for name, count in before.items()} == {
        "small": 2,
        "large": sum(counts.values()),
    }


def _properties(entry: dict) -> str:
    """The platform properties of an action, as it was sent to the executor."""
    return " ".join(f"{p['name']}={p['value']}" for p in entry.get("platform", {}).get("properties", []))
