"""docs/reference.md is what the docstrings of the rules say, and names every public symbol."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest


def _text(variable: str) -> str:
    if variable not in os.environ:
        pytest.skip("Bazel writes what the page is compared with: bazel test //docs:reference_test")
    return Path(os.environ[variable]).read_text("utf-8")


def test_it_is_up_to_date():
    fresh = _text("REFERENCE") == _text("GENERATED")
    assert fresh, (
        "docs/reference.md is stale: ./bazelw build //docs:generated_reference && "
        "cp bazel-bin/docs/generated_reference.md docs/reference.md"
    )


def test_everything_is_described():
    rows = [line for line in _text("REFERENCE").splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if not row.removesuffix("|").rpartition("|")[2].strip()] == []


def test_every_public_symbol_has_its_section():
    symbols = re.findall(r"^(\w+) = _", _text("DEFS") + _text("EXTENSIONS"), re.MULTILINE)
    assert {"npu_model", "NpuModelInfo", "npu_models"} <= set(symbols)
    sections = re.findall(r"^## (\w+)$", _text("REFERENCE"), re.MULTILINE)
    assert sorted(sections) == sorted(symbols)
