"""Bazel in Bazel: the compiler as a persistent worker, in both protocols, with and without a sandbox, short of memory, after an edit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from inner_bazel import InnerBazel, copy_checkout, executions, scratch

_MODELS = ("//:tiny_batch4_enf", "//:tiny_float32_enf", "//:tiny_int8_enf")
_ALONE = ("--strategy=NpuCompile=local", "--strategy=NpuVerify=local")
_WAYS = {
    "multiplex": (),
    "singleplex": ("--noworker_multiplex",),
    "sandboxed": ("--noworker_multiplex", "--worker_sandboxing"),
    "sandboxed multiplex": ("--experimental_worker_multiplex_sandboxing", "--worker_sandboxing"),
    "json": ("--extra_toolchains=@furiosa_rules//tests/bazel/checks:json_toolchain",),
    "mapped paths": ("--noworker_multiplex", "--worker_sandboxing", "--experimental_output_paths=strip"),
    # the worker begins anew after each request
    "recycled": ("--worker_extra_flag=NpuCompile=--recycle_mb=1",),
    "recycled singleplex": ("--worker_extra_flag=NpuCompile=--recycle_mb=1", "--noworker_multiplex"),
    # Bazel ends each worker as soon as it may
    "evicted": (
        "--experimental_total_worker_memory_limit_mb=1",
        "--experimental_shrink_worker_pool",
        "--experimental_worker_metrics_poll_interval=1s",
    ),
}
# what Bazel says of the worker that it starts
_KINDS = {
    "multiplex": "non-sandboxed NpuCompile multiplex-worker",
    "singleplex": "non-sandboxed NpuCompile worker",
    "sandboxed": "sandboxed NpuCompile worker",
    "sandboxed multiplex": "sandboxed NpuCompile multiplex-worker",
}


@pytest.fixture(scope="module")
def checkout() -> Path:
    return copy_checkout(scratch() / "first")


@pytest.fixture(scope="module")
def bazel(checkout: Path) -> Iterator[InnerBazel]:
    with InnerBazel(checkout / "examples/smoke", "worker") as inner:
        yield inner


def _build(bazel: InnerBazel, name: str, *flags: str) -> dict[str, bytes]:
    """Compiles the models anew; returns the bytes of all outputs, and leaves an execution log."""
    for file in _outputs(bazel, "*.enf", "*.report.json", "*.dot", "*.verified"):
        file.unlink()
    groups = "--output_groups=default,report,dot,_validation"
    bazel.run("build", *flags, groups, f"--execution_log_json_file={_log(name)}", *_MODELS)
    files = _outputs(bazel, "*.enf", "*.report.json", "*.dot")
    assert len(files) == 3 * len(_MODELS)
    return {f.name: f.read_bytes() for f in files}


@pytest.mark.parametrize("way", _KINDS)
def test_the_worker_is_of_the_kind_that_was_asked_for(bazel: InnerBazel, way: str) -> None:
    for file in _outputs(bazel, "tiny_int8.enf"):
        file.unlink()
    # another key than that of a worker that runs already
    flags = (*_WAYS[way], "--worker_extra_flag=NpuCompile=--recycle_mb=511", "--worker_verbose")
    done = bazel.attempt("build", *flags, "//:tiny_int8_enf")
    assert done.returncode == 0 and f"Created new {_KINDS[way]} " in done.stderr, done.stderr


def test_a_request_beyond_the_limit_of_memory_fails_the_build_with_a_sentence(bazel: InnerBazel) -> None:
    for file in _outputs(bazel, "tiny_int8.enf"):
        file.unlink()
    done = bazel.attempt("build", "--worker_extra_flag=NpuCompile=--memory_mb=1", "//:tiny_int8_enf")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        " 1 MiB that its worker allows; --worker_extra_flag=NpuCompile=--memory_mb=N allows more"
        in done.stderr
    )
    bazel.run("build", "//:tiny_int8_enf")


def _outputs(bazel: InnerBazel, *patterns: str) -> list[Path]:
    """Outputs of the smoke repository that are there."""
    bin_folder = Path(bazel.run("info", "bazel-bin").strip())
    return [f for p in patterns for f in sorted(bin_folder.glob(p))]


def _log(name: str) -> Path:
    return scratch() / f"{name}.json"


@pytest.fixture(scope="module")
def alone(bazel: InnerBazel) -> dict[str, bytes]:
    """What one process each writes."""
    outputs = _build(bazel, "alone", *_ALONE)
    assert {e["runner"] for e in executions(_log("alone"), "NpuCompile")} == {"local"}
    return outputs


@pytest.mark.parametrize("way", _WAYS)
def test_a_worker_writes_the_same_bytes(bazel: InnerBazel, alone: dict[str, bytes], way: str) -> None:
    assert _build(bazel, way, *_WAYS[way]) == alone
    for mnemonic in ("NpuCompile", "NpuVerify"):
        assert [e["runner"] for e in executions(_log(way), mnemonic)] == ["worker"] * len(_MODELS)


def test_a_failure_in_the_worker_fails_the_build_with_its_sentence(bazel: InnerBazel) -> None:
    for _ in range(2):  # the worker survives
        done = bazel.attempt("build", "@furiosa_rules//tests/bazel/checks:truncated")
        assert done.returncode == 1 and "truncated.onnx" in done.stderr and "Traceback" not in done.stderr


def test_an_edited_compiler_is_what_compiles(bazel: InnerBazel, checkout: Path) -> None:
    """A worker that went on with the old code would write the old version into the report."""
    bazel.run("build", *_MODELS)
    init = checkout / "compiler/furiosa/compiler/__init__.py"
    init.write_text(init.read_text() + '\n__version__ = "9.8.7"\n')
    bazel.run("build", "--output_groups=report", "//:tiny_int8_enf")
    report = Path(bazel.run("info", "bazel-bin").strip()) / "tiny_int8.report.json"
    assert json.loads(report.read_text())["compiler_version"] == "9.8.7"
