"""Which files make a runtime that needs only a Python interpreter, and what that interpreter must be."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from furiosa.runtime.errors import BundleError

PROGRAM = "run"
FOLDER = "runtime"
REQUIRES = f"{FOLDER}/requires.json"
OLDEST_PYTHON = (3, 11)  # what pyproject.toml asks for

_TOP = {f"furiosa/runtime/deploy/{name}": name for name in (PROGRAM, "run.py")}
# Of no use to a program that runs: tests, caches, types, and what native code is built with.
_LEFT_OUT = re.compile(r"(^|/)(tests|__pycache__|_pyinstaller)/|\.(pyi|pyc|a|h|pyx|pxd|f|f90|lib)$")
_TAG = re.compile(r"Tag: (\S+)-(\S+)-(\S+)")
_OLD_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}  # PEP 600


def files(paths: Iterable[str | os.PathLike[str]]) -> dict[str, Path | bytes]:
    """The files to pack, by their place beside ``manifest.json``: ``run``, ``run.py`` and ``runtime/…``.

    Args:
        paths: files of unpacked wheels (below a folder ``site-packages``) and of this project (below ``furiosa``); others
            are left out.

    Raises:
        BundleError: the program itself is not among them, two are for one place, or wheels that no one interpreter can load.
        OSError: a wheel's metadata cannot be read.
    """
    found: dict[str, Path | bytes] = {}
    for path in sorted(Path(p) for p in paths):
        place = _place(path)
        # the parts of furiosa lie in one folder here: a namespace package needs no __init__
        if place in (None, "furiosa/__init__.py") or _LEFT_OUT.search(place):
            continue
        target = _TOP.get(place, f"{FOLDER}/{place}")
        if target in found:
            raise BundleError(f"the runtime has two files for {target}: {found[target]} and {path}")
        found[target] = path
    missing = [target for target in _TOP.values() if target not in found]
    if missing:
        raise BundleError(f"the runtime's files do not hold {missing[0]}")
    wheels = {
        target.split("/")[1]: path.read_text("utf-8")
        for target, path in found.items()
        if re.fullmatch(rf"{FOLDER}/[^/]+\.dist-info/WHEEL", target)
    }
    found[REQUIRES] = json.dumps(requirements(wheels), indent=2, sort_keys=True).encode("ascii") + b"\n"
    return found


def _place(path: Path) -> str | None:
    """Where a file is imported from; None for what is not imported: a wheel's programs, headers and shared data.

    rules_python puts those beside ``site-packages``, from 2.1 on among a library's files.
    """
    parts = path.parts
    for root, keep in (("site-packages", 1), ("furiosa", 0)):
        if root in parts:
            return "/".join(parts[parts.index(root) + keep :])
    return None


def requirements(wheels: Mapping[str, str]) -> dict[str, object]:
    """What an interpreter must be to load all wheels, from their tags.

    Args:
        wheels: the text of each wheel's file WHEEL, by a name for sentences.

    Returns:
        ``python`` (major and minor version), ``exact`` (whether no later one will do), and where a wheel holds native
        code ``system`` and ``machine`` (``linux`` and ``x86_64``, say) and ``glibc`` (the oldest version, or None).

    Raises:
        BundleError: tags that are not known, or that exclude each other.

    Tags: https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/
    """
    python, exact, places, glibc = OLDEST_PYTHON, False, {}, (0, 0)
    for wheel, text in sorted(wheels.items()):
        tags = _TAG.findall(text)
        if not tags:
            raise BundleError(f"{wheel}: its file WHEEL names no tag")
        if any(platform == "any" and interpreter.startswith("py3") for interpreter, _, platform in tags):
            continue
        interpreter, abi, _ = tags[0]
        version = re.fullmatch(r"cp3(\d+)", interpreter)
        if not version or abi not in ("abi3", interpreter):
            raise BundleError(f"{wheel}: a wheel for '{interpreter}-{abi}' cannot be packed")
        needed = (3, int(version[1]))
        if exact and (needed > python or abi != "abi3" and needed != python):
            raise BundleError(f"{wheel} needs Python 3.{needed[1]}, and another wheel 3.{python[1]}")
        if abi != "abi3" and needed < python:
            raise BundleError(f"{wheel} needs Python 3.{needed[1]}, and the runtime at least 3.{python[1]}")
        python, exact = max(python, needed), exact or abi != "abi3"
        found = [_platform(platform, wheel) for _, _, platform in tags]
        places[found[0][:2]] = wheel
        glibc = max(glibc, min(version for _, _, version in found))
    if len(places) > 1:
        raise BundleError(f"{' and '.join(sorted(places.values()))} are for different platforms")
    system, machine = next(iter(places), (None, None))
    return {
        "python": list(python),
        "exact": exact,
        "system": system,
        "machine": machine,
        "glibc": list(glibc) if glibc > (0, 0) else None,
    }


def _platform(tag: str, wheel: str) -> tuple[str, str, tuple[int, int]]:
    """System and machine as ``sys.platform`` and ``os.uname`` have them, and the oldest glibc."""
    if many := re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", tag):
        return "linux", many[3], (int(many[1]), int(many[2]))
    if old := re.fullmatch(r"(manylinux(?:1|2010|2014))_(\w+)", tag):
        return "linux", old[2], _OLD_MANYLINUX[old[1]]
    if mac := re.fullmatch(r"macosx_\d+_\d+_(arm64|x86_64)", tag):
        return "darwin", mac[1], (0, 0)
    raise BundleError(f"{wheel}: a wheel for '{tag}' cannot be packed; Linux (glibc) and macOS are known")
