"""docs/enf.md is what the tables say."""

from __future__ import annotations

import pathlib

from furiosa.enf import docgen
from furiosa.enf.isa import INSTRUCTIONS
from furiosa.enf.machine import Engine, Rounding, Space


def _page() -> str:
    """The page in the repository; under Bazel the file //docs:enf.md among the test's data."""
    for folder in pathlib.Path(__file__).absolute().parents:
        path = folder / "docs" / "enf.md"
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise AssertionError(
        "docs/enf.md is not there: generate it, under Bazel make //docs:enf.md data of this test"
    )


def test_the_page_is_not_stale():
    assert _page() == docgen.markdown(), "run: python -m furiosa.enf.docgen > docs/enf.md"


def test_what_is_said_first():
    title, first = docgen.markdown().split("\n\n")[:2]
    assert title.startswith("# ENF 1.1")
    assert "not public" in first and "This is not it" in first


def test_everything_is_in_it():
    page = docgen.markdown()
    for i in INSTRUCTIONS:
        part = page[page.index(f"### {i.name}\n") :]
        for name in (*(o.name for o in i.operands), *i.param_names):
            assert f"| {name} |" in part


def test_every_code_has_a_name_and_a_meaning():
    for codes, last in ((Space, Space.CONST), (Engine, Engine.COUNT - 1), (Rounding, Rounding.QDQ)):
        assert len(codes.NAMES) == len(codes.DOCS) == last + 1


def test_tables_are_tables():
    """Each row of a table has as many cells as its head."""
    width = 0
    for line in docgen.markdown().splitlines():
        if line.startswith("|"):
            cells = line.replace("\\|", "").count("|")
            assert width in (0, cells), line
            width = cells
        else:
            width = 0
