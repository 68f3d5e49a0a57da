"""What the programs of build actions leave out of the wheels (unused.bzl) is imported by no module in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).absolute()
ROOT = HERE.parents[2]
OWN = [ROOT / "compiler" / "furiosa" / "compiler", ROOT / "enf" / "furiosa" / "enf"]
RUNTIME = ROOT / "runtime" / "furiosa" / "runtime"
QUANTIZER = ROOT / "compiler" / "furiosa" / "quantizer"
TESTS = re.compile(r"_test\.py$|/testing/|/testing\.py$|/conftest\.py$|/checks/|/docgen\.py$|/bazel_run\.py$")
ALIASES = {"np": "numpy"}


@cache
def _lists() -> dict[str, list[str]]:
    """The lists of left out paths, by their names in unused.bzl."""
    found: dict[str, list[str]] = {}
    for node in ast.parse(HERE.with_name("unused.bzl").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names = [n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)]
            own = [n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)]
            found[node.targets[0].id] = [path for name in names for path in found[name]] + own
    return found


def _names(tree: ast.AST) -> Iterator[str]:
    """All dotted names that a module imports or reads off a package: `numpy.random` of `np.random.default_rng`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            parts: list[str] = []
            value: ast.expr = node
            while isinstance(value, ast.Attribute):
                parts.append(value.attr)
                value = value.value
            if isinstance(value, ast.Name):
                yield ".".join([ALIASES.get(value.id, value.id), *reversed(parts)])


@cache
def _names_in(file: Path) -> list[str]:
    return list(_names(ast.parse(file.read_bytes())))


def _left_out(name: str, unused: list[str]) -> bool:
    path = name.replace(".", "/")
    return any(
        path.startswith(prefix[:-1])
        if prefix.endswith("*")
        else f"{path}/".startswith(prefix.removesuffix(".py") + "/")
        for prefix in unused
    )


def _users(folders: list[Path], unused: list[str]) -> list[str]:
    files = [p for folder in folders for p in sorted(folder.rglob("*.py")) if not TESTS.search(str(p))]
    assert len(files) > 50
    return [f"{file.name}: {name}" for file in files for name in _names_in(file) if _left_out(name, unused)]


@pytest.mark.parametrize(
    ("folders", "unused"),
    [(OWN, "UNUSED_BY_COMPILER"), ([*OWN, RUNTIME], "UNUSED"), ([*OWN, QUANTIZER], "UNUSED")],
    ids=["compiler", "verifier", "quantizer"],
)
def test_nothing_that_is_left_out_is_used(folders: list[Path], unused: str) -> None:
    assert _users(folders, _lists()[unused]) == []


def test_a_use_is_seen() -> None:
    tree = ast.parse(
        "import numpy.fft\nfrom onnx import reference\ndef f():\n    np.random.default_rng(1)\n    np.add(1, 2)\n"
    )
    unused = _lists()["UNUSED_BY_COMPILER"]
    assert {name for name in _names(tree) if _left_out(name, unused)} == {
        "numpy.fft",
        "onnx.reference",
        "numpy.random",
        "numpy.random.default_rng",
    }
    # what the runtime draws its inputs with
    assert any("numpy.random" in use for use in _users([RUNTIME], unused))
