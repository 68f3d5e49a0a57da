"""What starts the programs of actions and tests: the interpreter of the Python toolchain, without the machine's python3, and without runfiles."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from inner_bazel import InnerBazel, copy_checkout, executions, scratch

_MODELS = ("//:tiny_int8.onnx", "//:tiny_float32.onnx")
_WANTED = ("//:tiny_int8_enf", "//:tiny_float32_enf", "//:vision", "//:vision_layer")
_TESTS = ("//:tiny_int8_test", "//:again", "//:budget")
_BUILD = """
load("@furiosa_rules//furiosa_rules:defs.bzl", "npu_budget_test", "npu_reproducibility_test")

npu_reproducibility_test(
    name = "again",
    model = ":tiny_int8_enf",
)

npu_budget_test(
    name = "budget",
    max_latency_us = 1000000,
    model = ":tiny_int8_enf",
)

genrule(
    name = "masked",
    outs = ["masked.txt"],
    cmd = "! /usr/bin/python3 -c '' && touch $@",
)
"""
# An interpreter that is an input of the actions, as that of rules_python.
_HERMETIC = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")
load("@rules_python//python:py_runtime.bzl", "py_runtime")

py_runtime(
    name = "runtime",
    files = glob(
        ["bin/python3*", "lib/lib*.so*", "lib/python{version}/**"],
        exclude = ["**/__pycache__/**", "**/test/**", "**/site-packages/**", "**/*.a", "**/* *"],
        allow_empty = True,
    ),
    interpreter = "bin/python{version}",
    python_version = "PY3",
)

py_runtime_pair(
    name = "pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""
_REPOSITORY = """
new_local_repository = use_repo_rule("@bazel_tools//tools/build_defs/repo:local.bzl", "new_local_repository")
new_local_repository(
    name = "interpreter",
    build_file = "//:interpreter.BUILD",
    path = "{prefix}",
)
"""


@pytest.fixture(scope="module")
def bazel() -> Iterator[InnerBazel]:
    smoke = copy_checkout(scratch() / "checkout") / "examples/smoke"
    with (smoke / "BUILD.bazel").open("a") as build:
        build.write(_BUILD)
    with InnerBazel(smoke, "interpreter", [f"--disk_cache={scratch() / 'disk_cache'}"]) as inner:
        inner.run("build", *_MODELS)
        yield inner


def _again(bazel: InnerBazel) -> None:
    """What a build of the models' actions needs, and nothing that is built: each test runs all actions again."""
    bazel.run("clean")
    bazel.run("build", *_MODELS)


def test_no_python3_of_the_machine_is_started(bazel: InnerBazel) -> None:
    mask = [f"--sandbox_block_path={p}" for p in sorted(Path("/usr/bin").glob("python3*"))]
    if not mask:
        pytest.skip("the machine has no /usr/bin/python3 to be masked")
    flags = ["--spawn_strategy=linux-sandbox", "--disk_cache=", *mask]
    done = bazel.attempt("build", *flags, "//:masked")
    if "no strategy with that identifier was registered" in done.stderr:
        pytest.skip("no linux-sandbox here, by which a file is masked")
    assert done.returncode == 0, done.stderr
    log = scratch() / "masked.json"
    done = bazel.attempt("test", *flags, f"--execution_log_json_file={log}", *_WANTED, *_TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "overwrote runfile" not in done.stderr
    mnemonics = {entry["mnemonic"] for entry in executions(log)}
    assert {"PythonTool", "NpuCompile", "NpuVerify", "NpuBundle", "NpuLayer", "TestRunner"} <= mnemonics


@pytest.mark.parametrize(
    "flags",
    [
        ["--noenable_runfiles"],
        ["--nobuild_runfile_links", "--worker_sandboxing", "--experimental_worker_multiplex_sandboxing"],
    ],
    ids=" ".join,
)
def test_no_runfiles_are_needed(bazel: InnerBazel, flags: list[str]) -> None:
    _again(bazel)
    bazel.run("build", "--disk_cache=", *flags, *_WANTED)


def test_an_interpreter_that_is_a_file_of_the_build(bazel: InnerBazel) -> None:
    """It is an input of the actions, found from the program's place there and in runfiles."""
    version, prefix = "{}.{}".format(*sys.version_info), Path(os.path.realpath(sys.executable)).parents[1]
    if version != "3.11" or prefix in (Path("/usr"), Path("/")):
        pytest.skip("no Python 3.11 in a folder of its own here, which could be a repository")
    with (bazel.workspace / "MODULE.bazel").open("a") as module:
        module.write(_REPOSITORY.format(prefix=prefix))
    (bazel.workspace / "interpreter.BUILD").write_text(_HERMETIC.format(version=version))
    log = scratch() / "hermetic.json"
    flags = ["--extra_toolchains=@interpreter//:toolchain", "--disk_cache="]
    bazel.run("test", *flags, f"--execution_log_json_file={log}", *_WANTED, *_TESTS)
    for mnemonic in ("PythonTool", "NpuCompile", "NpuVerify", "NpuBundle"):
        for entry in executions(log, mnemonic):
            assert any(i["path"].endswith(f"interpreter/bin/python{version}") for i in entry["inputs"])
