"""Writes the archive of a ``python_tool``: ``pack.py @FILE``, where FILE holds one argument a line:

ARCHIVE MODULE:FUNCTION (file PATH SOURCE | native PATH)...

PATH is below ``sys.path``.  The archive holds the bytecode of each module, and every other file as it is; for a shared library, which lies at
PATH beside the archive, it holds a module that loads it from there.  It is the same bytes for the same files, wherever they lie.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
import warnings
import zipfile
from collections.abc import Sequence

TIME = (1980, 1, 1, 0, 0, 0)  # the first that an archive can state
FILE, FOLDER = 0o100644 << 16, 0o040755 << 16 | 0x10

MAIN = """\
import sys

if sys.version_info[:2] != {version}:
    sys.exit("ERROR: this program was packed by Python %d.%d and is run by %d.%d: the Python toolchains of the machines that build must be of "
             "one version" % ({version} + sys.version_info[:2]))

from {module} import {function}

sys.exit({function}())
"""

# An interpreter that another one starts with its sys.path needs no more than this.
NATIVE = """\
import importlib.machinery
import importlib.util
import os
import sys

path = os.path.join(os.path.dirname(__spec__.loader.archive), *{parts!r})
loader = importlib.machinery.ExtensionFileLoader(__name__, path)
module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(__name__, path, loader=loader))
sys.modules[__name__] = module
loader.exec_module(module)
"""


class Conflict(Exception):
    """Two files for one place, in one sentence."""


def contents(entry: str, rest: Sequence[str]) -> dict[str, bytes]:
    """The files of the archive by their paths, without folders.

    Raises:
        Conflict: two files that differ have one path.
    """
    module, function = entry.split(":")
    sources: dict[str, bytes] = {}

    def add(path: str, content: bytes, source: str) -> None:
        if sources.setdefault(path, content) != content:
            raise Conflict(f"{source} is another {path} than one of the other dependencies has")

    words = iter(rest)
    for kind in words:
        path = next(words)
        if kind == "native":
            folder, _, name = path.rpartition("/")
            path = "/".join(part for part in (folder, name.split(".")[0] + ".py") if part)
            add(path, NATIVE.format(parts=[*folder.split("/"), name]).encode(), path)
        else:
            source = next(words)
            with open(source, "rb") as f:
                add(path, f.read(), source)
    # what any version can read
    found = {
        "__main__.py": MAIN.format(module=module, function=function, version=sys.version_info[:2]).encode()
    }
    for path, content in sources.items():
        code = bytecode(content, f"program.zip/{path}") if path.endswith(".py") else None
        found[path + "c" if code else path] = code or content
    return found


def bytecode(source: bytes, path: str) -> bytes | None:
    """What Python makes of a module, without the source's time or place; None of what is no module, such as a template."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError):
            return None
    # "1": the interpreter need not look whether the source has changed
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    return head + marshal.dumps(code)


def write(archive: str, files: dict[str, bytes]) -> None:
    """Writes the archive of files, and of all folders, by which packages without ``__init__.py`` are found."""
    members = dict(files)
    for path in files:
        parts = path.split("/")[:-1]
        members.update({"/".join(parts[: i + 1]) + "/": b"" for i in range(len(parts))})
    # not compressed: what a compressor makes depends on its version
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as f:
        for path in sorted(members):
            info = zipfile.ZipInfo(path, TIME)
            info.create_system, info.external_attr = 3, FOLDER if path.endswith("/") else FILE
            f.writestr(info, members[path])


def main(argv: list[str]) -> int:
    if len(argv) != 1 or not argv[0].startswith("@"):
        sys.stderr.write("ERROR: usage: pack.py @FILE\n")
        return 2
    with open(argv[0][1:], encoding="utf-8", errors="surrogateescape", newline="\n") as f:
        archive, entry, *rest = f.read().splitlines()
    try:
        write(archive, contents(entry, rest))
    except (Conflict, OSError) as e:
        sys.stderr.write(f"ERROR: {archive}: {e}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
