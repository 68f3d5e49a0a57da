"""Host side of pip.parse, with the standard library and what pip itself brings.

parse LOCK VERSION                             prints the distributions of a hashed lock for a Python version
install WHEEL FOLDER VERSION EXTRAS LOCKED     unpacks a wheel, prints which of its dependencies are locked
"""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name


def applies(requirement: Requirement, version: str, extras: list[str]) -> bool:
    """Whether the marker of `requirement` holds under Python `version`, with any of `extras` or without."""
    short = ".".join(version.split(".")[:2])
    environment = {"python_version": short, "python_full_version": version, "implementation_version": version}
    return not requirement.marker or any(
        requirement.marker.evaluate({**environment, "extra": extra}) for extra in ["", *extras]
    )


def parse(lock: str, version: str) -> list[dict]:
    """The distributions of the lock file that apply; exits where one is without a hash or there twice."""
    with open(lock, encoding="utf-8") as f:
        text = re.sub(r"\\\r?\n", " ", f.read())
    found = {}
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not line or line.startswith("-"):
            continue  # options and index addresses are the machine's business
        hashes = re.findall(r"--hash=\S+", line)
        requirement = Requirement(line.split("--hash=")[0].strip())
        if not applies(requirement, version, []):
            continue
        name = canonicalize_name(requirement.name)
        if not hashes:
            sys.exit(f"{lock}: {name} has no --hash")
        if name in found:
            sys.exit(f"{lock}: {name} is locked twice for Python {version}")
        found[name] = {
            "name": name,
            "repo": name.replace("-", "_"),
            "extras": sorted(requirement.extras),
            "requirement": f"{requirement.name}{requirement.specifier} {' '.join(hashes)}",
        }
    return [found[name] for name in sorted(found)]


def install(wheel: str, folder: str, version: str, extras: list[str], locked: dict[str, str]) -> list[str]:
    """Unpacks what can be imported into `folder`; returns the values of `locked` that the wheel depends on."""
    deps = set()
    inside = os.path.abspath(folder) + os.sep
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            path = info.filename
            head, _, rest = path.partition("/")
            if head.endswith(".data"):
                kind, _, path = rest.partition("/")
                if kind not in ("purelib", "platlib"):
                    continue  # scripts, headers and data are not imported
            if info.is_dir() or path.endswith(".dist-info/RECORD"):
                continue  # the record lists what an installer wrote
            target = os.path.abspath(os.path.join(folder, path))
            if not target.startswith(inside):
                sys.exit(f"{info.filename} points outside the wheel")
            content = archive.read(info)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as f:
                f.write(content)
            os.chmod(target, 0o755 if (info.external_attr >> 16) & 0o111 else 0o644)
            if re.fullmatch(r"[^/]+\.dist-info/METADATA", path):
                for line in content.decode("utf-8").split("\n\n", 1)[0].splitlines():
                    if line.lower().startswith("requires-dist:"):
                        requirement = Requirement(line.split(":", 1)[1].strip())
                        name = canonicalize_name(requirement.name)
                        if name in locked and applies(requirement, version, extras):
                            deps.add(locked[name])
    return sorted(deps)


if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "parse":
        print(json.dumps(parse(*arguments)))
    else:
        print(json.dumps(install(*arguments[:3], *map(json.loads, arguments[3:]))))
