"""Writes the release archive: what users need of this checkout, with the same bytes wherever it is written.

release.py [--root CHECKOUT] [--docs EXTRACT...] FOLDER

writes FOLDER/furiosa_rules-VERSION.tar.gz and prints its path and integrity; with what `starlark_doc_extract` wrote, also
FOLDER/furiosa_rules-VERSION.docs.tar.gz, of which the Bazel Central Registry makes reference pages
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

# What the rules, the compiler and the runtime are built from, the test module of the registry, and the pages.
_ROOMS = (
    "BUILD.bazel",
    "CHANGELOG.md",
    "LICENSE",
    "MODULE.bazel",
    "README.md",
    "compiler",
    "docs",
    "enf",
    "examples/digits",
    "examples/models",
    "examples/shapes",
    "examples/smoke",
    "furiosa_rules",
    "pyproject.toml",
    "runtime",
    "setup.py",
    "tools/pytest",
    "tools/python",
)
# The project's own tests, and what stays in the checkout for them.
_LEFT_OUT = re.compile(
    r"^(?!examples/smoke/).*_test\.py$|(^|/)(conftest|testing)\.py$|(^|/)testing/|^furiosa_rules/tests/|^docs/BUILD|/requirements_dev"
)
_SOURCES = re.compile(
    r"\.(bazel|bazelrc|bazelversion|bzl|css|in|js|json|md|proto|py|toml|txt)$|(^|/)(LICENSE|run)$"
)


def version(root: Path) -> str:
    """The module's version.

    Raises:
        ValueError: MODULE.bazel names none.
    """
    found = re.search(r'^ +version = "([^"]+)",$', (root / "MODULE.bazel").read_text("utf-8"), re.MULTILINE)
    if not found:
        raise ValueError(f"{root / 'MODULE.bazel'} names no version")
    return found[1]


def files(root: Path) -> list[str]:
    """The paths of the release's files, sorted."""
    found = (path for room in _ROOMS for path in _below(root, room))
    return sorted(p for p in found if _SOURCES.search(p) and not _LEFT_OUT.search(p))


def _below(root: Path, room: str) -> Iterator[str]:
    if (root / room).is_file():
        yield room
        return
    for folder, folders, names in os.walk(root / room):
        # links of Bazel, caches of other tools
        folders[:] = [f for f in folders if not f.startswith((".", "bazel-", "__"))]
        yield from (Path(folder, name).relative_to(root).as_posix() for name in names)


def write(root: Path, folder: Path) -> Path:
    """Writes the archive and returns its path.

    Files lie in ``furiosa_rules-VERSION/``, with mode 0644 or 0755.

    Raises:
        OSError: a file cannot be read or written.
    """
    name = f"furiosa_rules-{version(root)}"
    return _pack(folder / f"{name}.tar.gz", {f"{name}/{path}": root / path for path in files(root)})


def write_docs(root: Path, extracts: list[Path], folder: Path) -> Path:
    """Writes the archive of `extracts`, one binary proto a .bzl file, and returns its path.

    Raises:
        OSError: a file cannot be read or written.
    """
    names = {f"furiosa_rules/{extract.name}": extract for extract in extracts}
    return _pack(folder / f"furiosa_rules-{version(root)}.docs.tar.gz", dict(sorted(names.items())))


def _pack(target: Path, members: dict[str, Path]) -> Path:
    """Writes `target`, with owner 0 and time 0, in the order of `members`: name in the archive to file."""
    temporary = target.with_name(f".{target.name}.tmp")
    with (
        open(temporary, "wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, path in members.items():
            data = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            # Bazel's outputs are all executable
            entry.mode = 0o755 if os.access(path, os.X_OK) and not name.endswith(".binaryproto") else 0o644
            archive.addfile(entry, io.BytesIO(data))
    os.replace(temporary, target)
    return target


def integrity(archive: Path) -> str:
    """What ``archive_override`` and the registry's source.json call integrity."""
    digest = hashlib.sha256(archive.read_bytes()).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def main() -> None:
    """Writes the archive and says where it is."""
    checkout = os.environ.get("BUILD_WORKSPACE_DIRECTORY", Path(__file__).resolve().parents[2])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(checkout), help="the checkout")
    parser.add_argument("--docs", type=Path, action="append", default=[], help="an extract of documentation")
    parser.add_argument("folder", type=Path, help="where to write the archives")
    args = parser.parse_args()
    folder = Path(os.environ.get("BUILD_WORKING_DIRECTORY", ".")) / args.folder
    archive = write(args.root, folder)
    print(f"{archive}\nintegrity = {integrity(archive)}")
    if args.docs:
        print(write_docs(args.root, args.docs, folder))


if __name__ == "__main__":
    main()
