"""A repository whose Python is any that is supported, or that names none: everything analyses, builds and runs."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from inner_bazel import InnerBazel, copy_checkout, scratch

_PYTHON = """\
python = use_extension("@rules_python//python/extensions:python.bzl", "python")
python.toolchain(
    is_default = True,
    python_version = "%s",
)
"""
_BUILD = """
load("@rules_python//python:py_binary.bzl", "py_binary")

py_binary(
    name = "version",
    srcs = ["version.py"],
)
"""
_VERSION = "import sys; print(*sys.version_info[:2], sep='.')\n"


@pytest.fixture(scope="module")
def bazel() -> Iterator[InnerBazel]:
    smoke = copy_checkout(scratch() / "checkout") / "examples/smoke"
    with (smoke / "BUILD.bazel").open("a") as build:
        build.write(_BUILD)
    (smoke / "version.py").write_text(_VERSION)
    with InnerBazel(smoke, "python", [f"--disk_cache={scratch() / 'disk_cache'}"]) as inner:
        yield inner


@pytest.fixture(scope="module")
def module(bazel: InnerBazel) -> str:
    """MODULE.bazel of the smoke repository: as a user has it, without a word of Python."""
    text = (bazel.workspace / "MODULE.bazel").read_text()
    assert "python.toolchain" not in text
    return text


@pytest.fixture(scope="module")
def digests() -> set[str]:
    """SHA-256 of the ENF, of each version."""
    return set()


@pytest.mark.parametrize("version", ["", "3.12", "3.13", "3.14"])
def test_builds_and_runs(bazel: InnerBazel, module: str, digests: set[str], version: str) -> None:
    (bazel.workspace / "MODULE.bazel").write_text(module + (_PYTHON % version if version else ""))
    bazel.run("build", "--nobuild", "//...")
    bazel.run("test", "//:tiny_int8_test", "//:vision_test")
    outputs = bazel.outputs("//:tiny_int8_enf")
    digests.add(hashlib.sha256(outputs["tiny_int8.enf"].read_bytes()).hexdigest())
    assert len(digests) == 1, "the same ENF under every version"
    bazel.run("build", "//:vision_layer")
    assert _python_of(bazel.outputs("//:vision_layer")["vision_layer.tar"]) == _python(bazel)


def _python(bazel: InnerBazel) -> str:
    """The version that this build's programs run on; not the one asked for where the machine lacks that."""
    version = bazel.run("run", "//:version").split()[-1]
    assert re.fullmatch(r"3\.1[1-4]", version)
    return version


def _python_of(layer: Path) -> str:
    """The version that the wheels in a layer are for."""
    with tarfile.open(layer) as archive:
        requires = json.load(archive.extractfile("opt/models/runtime/requires.json"))
    assert requires["exact"]
    return ".".join(map(str, requires["python"]))
