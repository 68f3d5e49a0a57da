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

# Not among them: --incompatible_disallow_struct_provider_syntax, under which Bazel 7's own py_binary fails.
# What Bazel 8 and 9 have as their default or only way, or announce, as far as Bazel 7 knows it as a flag and can live with it itself.
LATER_BAZELS = [
    "--incompatible_config_setting_private_default_visibility",
    "--incompatible_disable_native_repo_rules",
    "--incompatible_disable_starlark_host_transitions",
    "--incompatible_disable_target_provider_fields",
    "--incompatible_disallow_empty_glob",
    "--incompatible_fail_on_unknown_attributes",
    "--incompatible_no_implicit_file_export",
    "--incompatible_struct_has_no_methods",
    "--incompatible_top_level_aspects_require_providers",
    "--incompatible_use_plus_in_repo_names",
    "--noenable_workspace",
]
# The same of a command that analyses.
LATER_ANALYSIS = [
    "--incompatible_always_check_depset_elements",
    "--incompatible_auto_exec_groups",
    "--incompatible_check_sharding_support",
    "--incompatible_check_testonly_for_output_files",
    "--incompatible_check_visibility_for_toolchains",
    "--incompatible_default_to_explicit_init_py",
    "--incompatible_sandbox_hermetic_tmp",
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
    for name in (".bazelrc", ".bazelversion", "BUILD.bazel", "MODULE.bazel", "vision_test.py"):
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


def test_the_archive_of_the_documentation(tmp_path: Path) -> None:
    """What the command that makes a release writes, of every file of public symbols."""
    docs = [
        Path(__file__).parents[2] / f"docs/{name}_extract.binaryproto" for name in ("rules", "extensions")
    ]
    command = [sys.executable, ROOT / "tools/release/release.py", "--root", ROOT, tmp_path]
    done = subprocess.run(
        [*command, *(f"--docs={d}" for d in docs)], check=True, capture_output=True, text=True
    )
    path = Path(done.stdout.splitlines()[2])
    assert re.fullmatch(r"furiosa_rules-[0-9.]+\.docs\.tar\.gz", path.name)
    with tarfile.open(path) as archive:
        assert archive.getnames() == [
            "furiosa_rules/extensions_extract.binaryproto",
            "furiosa_rules/rules_extract.binaryproto",
        ]


def test_the_registry_templates_name_this_archive(archive: Path, unpacked: Path) -> None:
    """Filled in as the publishing workflow of the Bazel Central Registry does it."""
    templates = ROOT / ".bcr"
    version = re.search(r'version = "([^"]+)"', (unpacked / "MODULE.bazel").read_text())[1]
    filled = {}
    for name in ("source", "attestations"):
        text = (templates / f"{name}.template.json").read_text()
        for key, value in {
            "REPO": "furiosa_rules",
            "VERSION": version,
            "TAG": f"v{version}",
            "OWNER": "o",
        }.items():
            text = text.replace(f"{{{key}}}", value)
        filled[name] = json.loads(text)
    source, attestations = filled["source"], filled["attestations"]["attestations"]
    assert attestations.keys() == {"source.json", "MODULE.bazel", archive.name}
    assert attestations[archive.name]["url"] == source["url"] + ".intoto.jsonl"
    assert source["strip_prefix"] == unpacked.name
    assert source["docs_url"].endswith(f"/v{version}/{archive.name.removesuffix('.tar.gz')}.docs.tar.gz")
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
    bazel.run("build", "--nobuild", *LATER_BAZELS, *LATER_ANALYSIS, "//...")


def test_all_packages_load_without_what_later_bazels_removed(bazel: InnerBazel) -> None:
    found = bazel.run("query", *LATER_BAZELS, REMOVED_RULES, "@furiosa_rules//...").split()
    assert "@furiosa_rules//furiosa_rules/toolchain:default" in found
    assert "@furiosa_rules//furiosa_rules/toolchain:default_tools" in found
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


# Built into Bazel 7, removed from Bazel 8 or 9, where a load() must bring them: what --incompatible_autoload_externally
# knows, and what WORKSPACE files had.
_REMOVED = re.compile(
    r"(android|cc|java|objc|proto|py|sh)_(\w+_)?(alias|aspect|binary|common|extension|import|library|package_configuration"
    r"|plugin|runtime|runtime_pair|sdk|suite|test|toolchain)"
    r"|(AndroidIde|Cc|CcSharedLibrary|CcSharedLibraryHint|CcToolchainConfig|DebugPackage|Java|JavaPlugin|ProguardSpec|Proto|Py"
    r"|PyCcLinkParams|PyRuntime)(Info|Provider)"
    r"|aar_import|apple_common|available_xcodes|fdo_\w+|memprof_profile|propeller_optimize|proto_common_do_not_use"
    r"|proto_lang_toolchain|xcode_\w+|bind|(new_)?local_repository|register_execution_platforms|workspace"
)
_REMOVED_FIELDS = re.compile(
    r"\bctx\.(?:host_configuration|host_fragments|new_file|resolve_command|resolve_tools)\b"
)
# What `native` has in all of them; of the rest some is removed.
_NATIVE = [
    "alias",
    "config_setting",
    "constraint_setting",
    "constraint_value",
    "existing_rule",
    "existing_rules",
    "exports_files",
    "filegroup",
    "genquery",
    "genrule",
    "glob",
    "label_flag",
    "label_setting",
    "module_name",
    "module_version",
    "package_group",
    "package_name",
    "package_relative_label",
    "platform",
    "repo_name",
    "starlark_doc_extract",
    "subpackages",
    "test_suite",
    "toolchain",
    "toolchain_type",
]
# Folders of Bazel's own repositories that went to other modules.
_MOVED = re.compile(
    r"@bazel_tools//(?:platforms|tools/(?:cpp|jdk|osx|proto|python|sh))\b|@local_config_platform\b"
)


def removed_symbols(text: str) -> list[str]:
    """What a .bzl or BUILD file uses that no load() brings and later Bazels do not have."""
    text = re.sub(r'""".*?"""|#[^\n]*', "", text, flags=re.DOTALL)
    loads = re.compile(r"^load\(.*?\)", re.DOTALL | re.MULTILINE)
    loaded = set(re.findall(r'"(\w+)"|(\w+) = "', " ".join(loads.findall(text))))
    known = {name for names in loaded for name in names}
    code = re.sub(r'"[^"\n]*"', "", loads.sub("", text))
    names = re.findall(r"(?<![\w.'/:@])\w+\b(?!\s*=[^=])", code)  # no field, and no parameter
    return [
        *(name for name in names if _REMOVED.fullmatch(name) and name not in known),
        *_REMOVED_FIELDS.findall(code),
        *(f"native.{name}" for name in re.findall(r"\bnative\.(\w+)", code) if name not in _NATIVE),
        *_MOVED.findall(text),
    ]


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
        ("x = cc_common.link(info[CcInfo])\njava_common.pack()", ["cc_common", "CcInfo", "java_common"]),
        ("info = [PyCcLinkParamsProvider, ProguardSpecInfo]", ["PyCcLinkParamsProvider", "ProguardSpecInfo"]),
        ("    native.existing_rule(name)\n    native.bind(name)", ["native.bind"]),
        ('workspace(name = "x")\nlocal_repository(name = "y")', ["workspace", "local_repository"]),
        ("    tools = ctx.resolve_tools(tools = x)", ["ctx.resolve_tools"]),
        ("def f(py_test = None, workspace = 1):\n    return a.py_library", []),
        ('load("@bazel_tools//tools/cpp:x.bzl", "x")', ["@bazel_tools//tools/cpp"]),
        ('load("@bazel_tools//tools/build_defs/repo:http.bzl", "x")', []),
    ],
)
def test_what_counts_as_a_removed_symbol(text: str, symbols: list[str]) -> None:
    assert removed_symbols(text) == symbols
