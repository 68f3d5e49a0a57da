"""Writes the page of the public symbols of .bzl files: render.py EXTRACT.binaryproto... PAGE.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

# this folder, also where the interpreter does not add it
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from messages import KWARGS, TYPES, Module

_DEFS = "@furiosa_rules//furiosa_rules:defs.bzl"
_EXTENSIONS = "@furiosa_rules//furiosa_rules:extensions.bzl"
_HEAD = f"""\
# Reference of the public symbols

Of `{_DEFS}` and `{_EXTENSIONS}`, written from their docstrings by `//docs:generated_reference`; how they are used: [rules.md](rules.md).
"""


class Undocumented(Exception):
    """A public symbol, an attribute or a field without documentation, or with one that cannot be shown."""


def page(extracts: Iterable[bytes]) -> str:
    """The page in Markdown.

    Args:
        extracts: what `starlark_doc_extract` wrote, of each file.

    Raises:
        Undocumented: something public has no documentation, or one that is not ASCII.
    """
    lines = [_HEAD]
    for data in extracts:
        lines += _sections(Module.FromString(data))
    return "\n".join(lines).rstrip("\n") + "\n"


def _sections(module: Module) -> list[str]:
    """The sections of one file's symbols."""
    lines = []
    for function in module.functions:
        lines += _symbol(function.name, function.doc, function.parameters)
    for rule in module.rules:
        lines += _symbol(rule.name, rule.doc, rule.attributes)
    for aspect in module.aspects:
        lines += [f"## {aspect.name}", "", f"    --aspects={_DEFS}%{aspect.name}", ""]
        own = [
            a for a in aspect.attributes if a.name != "name"
        ]  # which Bazel 7 lists, though an aspect has none
        lines += [_text(aspect.name, aspect.doc), "", *_table(aspect.name, own)]
    for provider in module.providers:
        lines += [
            f"## {provider.name}",
            "",
            _text(provider.name, provider.doc),
            "",
            "| field | |",
            "|---|---|",
        ]
        lines += [f"| `{f.name}` | {_cell(f'{provider.name}.{f.name}', f.doc)} |" for f in provider.fields]
        lines.append("")
    for extension in module.extensions:
        lines += [f"## {extension.name}", "", _text(extension.name, extension.doc), ""]
        for tag in extension.tags:
            lines += _symbol(f"{extension.name}.{tag.name}", tag.doc, tag.attributes, level="###")
    return lines


def _symbol(name: str, doc: str, inputs: Iterable[object], level: str = "##") -> list[str]:
    """The section of a rule, a macro or a tag of a module extension."""
    inputs = [i for i in inputs if i.name != "name"]
    inputs.sort(key=lambda i: (_is_rest(i), not i.mandatory))  # stable: else in the extract's order
    signature = ", ".join(["name", *(_argument(i) for i in inputs)])
    return [
        f"{level} {name}",
        "",
        f"    {name}({signature})",
        "",
        _text(name, doc),
        "",
        *_table(name, inputs),
    ]


def _table(name: str, inputs: Iterable[object]) -> list[str]:
    rows = [f"| `{i.name}` | {_kind(i)} | {_cell(f'{name}.{i.name}', i.doc)} |" for i in inputs]
    return ["| attribute | | |", "|---|---|---|", *rows, ""] if rows else []


def _is_rest(value: object) -> bool:
    """Whether it is a macro's ``**kwargs``; Bazel 7 names no role, but only these may be left out without a default."""
    role = getattr(value, "role", None)
    return role == KWARGS or (role == 0 and not value.mandatory and not value.default)


def _argument(value: object) -> str:
    if _is_rest(value):
        return f"**{value.name}"
    return value.name if value.mandatory else f"{value.name} = {value.default}"


def _kind(value: object) -> str:
    words = [TYPES[value.type]] if getattr(value, "type", 0) else []
    return ", ".join([*words, "mandatory"] if value.mandatory else words)


def _text(what: str, doc: str) -> str:
    if not doc.strip():
        raise Undocumented(f"{what} has no documentation")
    if not doc.isascii():  # what Bazel makes of other characters differs between its versions
        strange = next(c for c in doc if not c.isascii())
        raise Undocumented(f"{what}: its documentation holds {strange!a}; write it in ASCII")
    return doc.strip("\n")


def _cell(what: str, doc: str) -> str:
    return " ".join(_text(what, doc).split()).replace("|", "\\|")


def main() -> int:
    """Reads the extract and writes the page; an error is one line."""
    *sources, target = sys.argv[1:]
    try:
        text = page(Path(source).read_bytes() for source in sources)
    except Undocumented as e:
        print(f"ERROR: {e}", file=sys.stderr)
        return 1
    with open(target, "w", encoding="ascii", newline="\n") as f:
        f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
