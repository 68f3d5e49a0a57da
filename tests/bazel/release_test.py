"""The release archive: the same bytes anywhere, nothing of the house in it, and a repository that builds with it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from inner_bazel import InnerBazel, scratch

ROOT = Path(__file__).resolve().parents[2]

# What Bazel 8 and 9 have as their default or only way, as far as Bazel 7 knows it as a flag and can live with it itself.
LATER_BAZELS = [
    "--incompatible_disable_native_repo_rules",
    "--incompatible_disable_starlark_host_transitions",
    "--incompatible_disallow_empty_glob",
    "--incompatible_use_plus_in_repo_names",
    "--noenable_workspace",
]
# Rules that are no longer built in. Python's are left to the static check below: a rules_python for Bazel 7 may wrap
# them. For queries only: Bazel 7's own tools need some of them.
REMOVED_RULES = "--incompatible_autoload_externally=" + ",".join(
    f"-{language}_{kind}" for language in ("cc", "java", "sh") for kind in ("library", "binary", "test")
)


def release(folder: Path, root: Path) -> Path:
    """The archive of a checkout, by the command that makes a release."""
    if not (root / "tools/release/release.py").is_file():
        pytest.skip(f"the checkout is not reachable from the test ({root})")
    folder.mkdir()
    command = [sys.executable, root / "tools/release/release.py", "--root", root, folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    path, integrity = done.stdout.splitlines()
    digest = base64.b64encode(hashlib.sha256(Path(path).read_bytes()).digest()).decode()
    assert integrity == f"integrity = sha256-{digest}"
    return Path(path)


@pytest.fixture(scope="module")
def archive() -> Path:
    return release(scratch() / "release", ROOT)


@pytest.fixture(scope="module")
def unpacked(archive: Path) -> Path:
    with tarfile.open(archive) as a:
        a.extractall(scratch() / "unpacked", filter="data")
    (folder,) = (scratch() / "unpacked").iterdir()
    return folder


@pytest.fixture(scope="module")
def bazel(archive: Path) -> Iterator[InnerBazel]:
    """The smoke repository, with the rules of the archive instead of those of the checkout."""
    smoke = scratch() / "smoke"
    smoke.mkdir()
    for name in (".bazelrc", "BUILD.bazel", "MODULE.bazel", "vision_test.py"):
        shutil.copy(ROOT / "examples/smoke" / name, smoke)
    module = (smoke / "MODULE.bazel").read_text()
    override = re.compile(
        r'^# A user has.*?local_path_override\(.*?path = "\.\./\.\.",\n\)\n', re.DOTALL | re.MULTILINE
    )
    digest = base64.b64encode(hashlib.sha256(archive.read_bytes()).digest()).decode()
    instead = (
        f'archive_override(\n    module_name = "furiosa_rules",\n    integrity = "sha256-{digest}",\n'
        f'    strip_prefix = "{archive.name.removesuffix(".tar.gz")}",\n    urls = ["{archive.as_uri()}"],\n)\n'
    )
    changed, count = override.subn(instead, module)
    assert count == 1
    (smoke / "MODULE.bazel").write_text(changed)
    with InnerBazel(smoke, "release") as inner:
        yield inner


def test_the_same_bytes_of_another_copy(archive: Path, unpacked: Path) -> None:
    """The archive holds all that its own bytes are made of; where the copy lies, and when it was made, says nothing."""
    copy = scratch() / "copy"
    shutil.copytree(unpacked, copy)
    shutil.copytree(ROOT / "tools/release", copy / "tools/release")
    (copy / "furiosa_rules/__pycache__").mkdir()
    (copy / "furiosa_rules/__pycache__/x.py").touch()
    assert release(scratch() / "again", copy).read_bytes() == archive.read_bytes()


def test_nothing_of_the_house_is_in_it(archive: Path) -> None:
    with tarfile.open(archive) as a:
        entries = a.getmembers()
    (top,) = {e.name.split("/")[0] for e in entries}
    assert top == archive.name.removesuffix(".tar.gz")
    assert {(e.uid, e.gid, e.mtime, e.uname, e.gname) for e in entries} == {(0, 0, 0, "", "")}
    assert {e.mode for e in entries} == {0o644, 0o755} and all(e.isfile() for e in entries)
    names = {e.name.removeprefix(f"{top}/") for e in entries}
    assert {"MODULE.bazel", "LICENSE", "README.md", "furiosa_rules/defs.bzl"} <= names
    assert [n for n in names if n.endswith("_test.py")] == ["examples/smoke/vision_test.py"]
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", ".ci/", "tools/provision/"))]


def test_the_registry_templates_name_this_archive(archive: Path, unpacked: Path) -> None:
    """Filled in as the publishing workflow of the Bazel Central Registry does it."""
    templates = ROOT / ".bcr"
    version = re.search(r'version = "([^"]+)"', (unpacked / "MODULE.bazel").read_text())[1]
    text = (templates / "source.template.json").read_text()
    for key, value in {
        "REPO": "furiosa_rules",
        "VERSION": version,
        "TAG": f"v{version}",
        "OWNER": "o",
    }.items():
        text = text.replace(f"{{{key}}}", value)
    source = json.loads(text)
    assert source["strip_prefix"] == unpacked.name
    assert source["url"].endswith(f"/v{version}/{archive.name}")
    assert source["integrity"] == ""
    metadata = json.loads((templates / "metadata.template.json").read_text())
    assert metadata.keys() == {"homepage", "maintainers", "repository", "versions", "yanked_versions"}
    presubmit = (templates / "presubmit.yml").read_text()
    module = re.search(r"^  module_path: (\S+)$", presubmit, re.MULTILINE)[1]
    assert (unpacked / module / "MODULE.bazel").is_file(), "the test module is in the archive"


def test_a_repository_builds_with_it(bazel: InnerBazel) -> None:
    bazel.run("build", "//...")
    bazel.run("test", "//:vision_test", "//:tiny_int8_test")


def test_later_bazels_analyse_the_repository(bazel: InnerBazel) -> None:
    bazel.run("build", "--nobuild", *LATER_BAZELS, "//...")


def test_all_packages_load_without_what_later_bazels_removed(bazel: InnerBazel) -> None:
    found = bazel.run("query", *LATER_BAZELS, REMOVED_RULES, "@furiosa_rules//...").split()
    assert "@furiosa_rules//furiosa_rules/toolchain:default" in found
    assert "@furiosa_rules//runtime:portable" in found
    # the flags do what they are here for
    wrong = bazel.workspace / "wrong"
    wrong.mkdir()
    for text, complaint in (
        ('sh_library(name = "x")', "name 'sh_library' is not defined"),
        ('filegroup(name = "x", srcs = glob(["*.x"]))', "allow_empty"),
    ):
        (wrong / "BUILD.bazel").write_text(text)
        done = bazel.attempt("query", *LATER_BAZELS, REMOVED_RULES, "//wrong:all")
        assert done.returncode and complaint in done.stderr
    shutil.rmtree(wrong)


# Built into Bazel 7, removed from Bazel 8 or 9, where a load() must bring them.
_REMOVED = re.compile(
    r"(?<![\w.\"'/:@])(native\.)?"
    r"((?:py|sh|cc|java|proto|android|objc)_(?:\w+_)?(?:library|binary|test|import|runtime|toolchain|runtime_pair)"
    r"|(?:Py|PyRuntime|Cc|Java|Proto)Info)\b"
)


def removed_symbols(text: str) -> list[str]:
    """The symbols of a .bzl or BUILD file that no load() brings and later Bazels do not have."""
    text = re.sub(r'""".*?"""|#[^\n]*', "", text, flags=re.DOTALL)
    loads = re.compile(r"^load\(.*?\)", re.DOTALL | re.MULTILINE)
    loaded = set(re.findall(r'"(\w+)"|(\w+) = "', " ".join(loads.findall(text))))
    known = {name for names in loaded for name in names}
    found = _REMOVED.findall(re.sub(r'"[^"\n]*"', "", loads.sub("", text)))
    return [native + name for native, name in found if native or name not in known]


def test_no_removed_symbol(unpacked: Path) -> None:
    found = {
        str(path.relative_to(unpacked)): removed_symbols(path.read_text())
        for path in sorted((*unpacked.rglob("*.bzl"), *unpacked.rglob("BUILD.bazel")))
    }
    assert len(found) > 20
    assert not {path: symbols for path, symbols in found.items() if symbols}


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ('sh_test(name = "x")', ["sh_test"]),
        ('load("@rules_shell//shell:sh_test.bzl", "sh_test")\nsh_test(name = "x")', []),
        ("    native.py_library(name = name)", ["native.py_library"]),
        ("    info = target[PyInfo]", ["PyInfo"]),
        ('load(":x.bzl", "py_test")\npy_test()\npy_binary()', ["py_binary"]),
        ('"""py_binary"""\n# sh_test\nx = "//a:cc_library"', []),
    ],
)
def test_what_counts_as_a_removed_symbol(text: str, symbols: list[str]) -> None:
    assert removed_symbols(text) == symbols
