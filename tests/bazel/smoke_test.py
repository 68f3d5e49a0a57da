"""Bazel in Bazel: the smoke repository (examples/smoke) built, tested, cached, reproduced, and looked at in the sandbox."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from inner_bazel import InnerBazel, copy_checkout, executions, scratch

_CHECKS = "@furiosa_rules//tests/bazel/checks:"
_SANDBOXED = ("--spawn_strategy=linux-sandbox", "--nosandbox_default_allow_network")
# the ways to run an action in which Bazel 7.7.1 maps paths, by how its log calls them
_MAPPED = {
    "linux-sandbox": ("--strategy=NpuCompile=sandboxed", "--strategy=NpuVerify=sandboxed"),
    "worker": ("--worker_sandboxing", "--noworker_multiplex"),
}

_ALL_GROUPS = "--output_groups=+report,+dot,+tree,+manifest"


@pytest.fixture(scope="module")
def checkout() -> Path:
    return copy_checkout(scratch() / "first")


@pytest.fixture(scope="module")
def bazel(checkout: Path) -> Iterator[InnerBazel]:
    """The smoke repository as a user has it, with things in the user's environment that no action may see."""
    canary = scratch() / "canary"
    canary.mkdir()
    (canary / "furiosa_canary.py").touch()
    environment = {
        "PYTHONPATH": str(canary),
        "FURIOSA_CANARY": "1",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
    }
    with InnerBazel(checkout / "examples/smoke", "first", environment=environment) as inner:
        yield inner


@pytest.fixture(scope="module")
def other_bazel(checkout: Path) -> Iterator[InnerBazel]:
    """The same in another folder, with another output base, home, user, hash seed, time zone and locale."""
    environment = {
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Asia/Seoul",
        "PYTHONHASHSEED": "12345",
    }
    # a copy of the copy: the checkout itself may be worked on meanwhile
    other_checkout = copy_checkout(scratch() / "second/a longer path", checkout)
    with InnerBazel(other_checkout / "examples/smoke", "second", environment=environment) as inner:
        yield inner


@pytest.fixture(scope="module")
def disk_cache() -> str:
    return f"--disk_cache={scratch() / 'disk_cache'}"


@pytest.fixture(scope="module")
def built(bazel: InnerBazel, disk_cache: str) -> Path:
    """The whole smoke repository built, with an empty disk cache; the execution log."""
    log = scratch() / "log_first.json"
    bazel.run("build", "//...", disk_cache, _ALL_GROUPS, f"--execution_log_json_file={log}")
    return log


def _artifacts(bazel: InnerBazel) -> dict[str, str]:
    """SHA-256 of the ENFs, reports, graphs and bundles, by path."""
    bin_folder = Path(bazel.run("info", "bazel-bin").strip())
    patterns = ("*.enf", "*.json", "*.dot", "*.tar", "vision.manifest/*", "vision.tree/**/*")
    files = [file for pattern in patterns for file in bin_folder.glob(pattern) if file.is_file()]
    return {str(f.relative_to(bin_folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_repository_builds_and_its_test_passes(bazel: InnerBazel, built: Path, disk_cache: str) -> None:
    compiled = executions(built, "NpuCompile")
    assert sorted(entry["targetLabel"] for entry in compiled) == [
        "//:tiny_batch4_enf",
        "//:tiny_float32_enf",
        "//:tiny_int8_enf",
    ]
    assert "disk cache hit" not in {entry["runner"] for entry in compiled}
    assert len(executions(built, "NpuVerify")) == 4
    artifacts = _artifacts(bazel)
    assert artifacts["vision.tree/models/tiny_int8.enf"] == artifacts["tiny_int8.enf"]
    assert artifacts["vision.tree/manifest.json"] == artifacts["vision.manifest/manifest.json"]
    bazel.run("test", "//...", disk_cache)


@pytest.mark.usefixtures("built")
def test_same_bytes_elsewhere(bazel: InnerBazel, other_bazel: InnerBazel) -> None:
    log = scratch() / "log_second.json"
    other_bazel.run("build", "//...", _ALL_GROUPS, f"--execution_log_json_file={log}")
    assert [entry["runner"] for entry in executions(log, "NpuCompile") if "cache" in entry["runner"]] == []
    first = _artifacts(bazel)
    assert {
        "tiny_int8.enf",
        "tiny_int8.report.json",
        "tiny_int8.dot",
        "vision.tar",
        "vision_layer.tar",
    } <= first.keys()
    assert first == _artifacts(other_bazel)


@pytest.mark.usefixtures("built")
def test_cache_hands_on_what_was_compiled(
    bazel: InnerBazel, other_bazel: InnerBazel, disk_cache: str
) -> None:
    other_bazel.run("clean")
    log = scratch() / "log_cached.json"
    other_bazel.run("build", "//...", disk_cache, _ALL_GROUPS, f"--execution_log_json_file={log}")
    for mnemonic, count in {
        "NpuCompile": 3,
        "NpuVerify": 4,
        "NpuBundle": 1,
        "NpuLayer": 1,
        "NpuUnpack": 1,
    }.items():
        assert [entry["runner"] for entry in executions(log, mnemonic)] == ["disk cache hit"] * count
    assert _artifacts(bazel) == _artifacts(other_bazel)


@pytest.mark.parametrize(("way", "model"), zip(_MAPPED, ("//:tiny_int8_enf", "//:tiny_float32_enf")))
def test_one_action_serves_all_configurations(bazel: InnerBazel, way: str, model: str) -> None:
    """With mapped paths, what was compiled in one configuration is a cache hit in another."""
    flags = [
        "--experimental_output_paths=strip",
        *_MAPPED[way],
        f"--disk_cache={scratch() / f'mapped_cache_{way}'}",
        model,
    ]
    for mode, runner in (("fastbuild", way), ("opt", "disk cache hit")):
        log = scratch() / f"log_mapped_{way}_{mode}.json"
        bazel.run("build", "-c", mode, *flags, f"--execution_log_json_file={log}")
        for mnemonic in ("NpuCompile", "NpuVerify"):
            (entry,) = executions(log, mnemonic)
            assert entry["runner"] == runner
            paths = [*entry["commandArgs"], *(i["path"] for i in entry["inputs"])]
            assert _unmapped(paths) == [], "the action names a folder of its configuration"
            assert any("bazel-out/cfg/" in path for path in entry["commandArgs"])


def test_the_compiler_sees_mapped_paths_only(bazel: InnerBazel) -> None:
    """Also in its argument file, which the execution log names by its digest."""
    flags = [
        "--experimental_output_paths=strip",
        *_MAPPED["linux-sandbox"],
        f"--extra_toolchains={_CHECKS}reporting_toolchain",
        f"{_CHECKS}tiny_enf",
    ]
    _sandboxed(bazel, *flags)
    (report,) = bazel.outputs(flags[-1], *flags[:-1]).values()
    seen = json.loads(report.read_text())
    assert len([line for line in seen["lines"] if line.startswith("bazel-out/cfg/bin/")]) == 4, (
        "model, ENF, report, graph"
    )
    assert _unmapped([*seen["arguments"], *seen["lines"]]) == []


def _unmapped(paths: Iterable[str]) -> list[str]:
    """Those that lead to an output folder of one configuration."""
    return [path for path in paths if "bazel-out/" in path.replace("bazel-out/cfg/", "")]


def test_findings_of_a_repository(bazel: InnerBazel) -> None:
    aspect = "--aspects=@furiosa_rules//furiosa_rules:defs.bzl%npu_lint"
    bazel.run("build", "//...", aspect, "--output_groups=npu_lint")
    bin_folder = Path(bazel.run("info", "bazel-bin").strip())
    (run,) = json.loads((bin_folder / "tiny_float32.sarif").read_text(encoding="ascii"))["runs"]
    assert {r["ruleId"] for r in run["results"]} >= {"eight-bit-activations", "eight-bit-weights"}
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]}
    assert uris == {"tiny_float32.onnx"}
    for quantized in ("tiny_int8", "tiny_batch4"):
        content = json.loads((bin_folder / f"{quantized}.lint.json").read_text(encoding="ascii"))
        assert (content["label"], content["findings"]) == (f"//:{quantized}_enf", [])


def test_the_platform_decides_the_npu(bazel: InnerBazel) -> None:
    """The setting in .bazelrc says warboy-2pe; the model itself says nothing."""
    action = 'mnemonic("NpuCompile", //:tiny_float32_enf)'
    platform = "--platforms=@furiosa_rules//furiosa_rules/platforms:warboy"
    for more, npu in (((), "warboy-2pe"), ((platform,), "warboy")):
        words = [w for w in bazel.run("aquery", *more, action).split() if w != "\\"]
        assert words[words.index("--target-npu") + 1] == npu


def _sandboxed(bazel: InnerBazel, target: str, *flags: str):
    """Builds in linux-sandbox without network; skips the test where this machine has no such sandbox."""
    done = bazel.attempt("build", *_SANDBOXED, *flags, target)
    if "no strategy with that identifier was registered" in done.stderr:
        pytest.skip("Bazel's linux-sandbox does not work on this machine")
    return done


def test_compiler_works_in_the_sandbox_without_network(bazel: InnerBazel) -> None:
    log = scratch() / "log_sandbox.json"
    done = _sandboxed(bazel, f"{_CHECKS}tiny_enf", f"--execution_log_json_file={log}")
    assert done.returncode == 0, done.stderr
    assert [entry["runner"] for entry in executions(log, "NpuCompile")] == ["linux-sandbox"]


def test_action_sees_its_inputs_and_locked_wheels_only(bazel: InnerBazel) -> None:
    toolchain = f"--extra_toolchains={_CHECKS}reporting_toolchain"
    done = _sandboxed(bazel, f"{_CHECKS}tiny_enf", toolchain)
    assert done.returncode == 0, done.stderr
    (report,) = bazel.outputs(f"{_CHECKS}tiny_enf", toolchain).values()
    seen = json.loads(report.read_text())

    assert [argument[0] for argument in seen["arguments"]] == ["@"]
    assert seen["lines"][0] == "compile" and seen["lines"][4:8] == [
        "--target-npu",
        "warboy-2pe",
        "--batch-size",
        "1",
    ]
    assert not [line for line in seen["lines"] if line.startswith("/")]
    assert not {"HOME", "USER", "LANG", "TZ", "PYTHONHASHSEED", "FURIOSA_CANARY"} & seen["environment"].keys()
    assert seen["network_interfaces"] == ["lo"]
    assert not seen["can_write_home"]

    lock = (bazel.workspace.parents[1] / "tools/python/requirements_lock.txt").read_text()
    locked = {_normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)}
    visible = {_normal(name) for name in seen["distributions"]}
    assert {"numpy", "onnx"} <= visible, "the compiler's own wheels are there"
    assert visible <= locked, "nothing else is, such as the machine's site-packages"
    assert not [entry for entry in seen["import_path"] if "canary" in entry]


def _normal(name: str) -> str:
    """A distribution's name in its normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_bad_model_fails_the_build_with_one_sentence(bazel: InnerBazel) -> None:
    done = bazel.attempt("build", f"{_CHECKS}truncated")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    # Bazel's own begin with the path of the BUILD file, and do not name the model.
    assert len([line for line in errors if "truncated.onnx" in line]) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_enf_fails_validation(bazel: InnerBazel) -> None:
    flags = [f"--extra_toolchains={_CHECKS}damaging_toolchain", f"{_CHECKS}tiny_enf"]
    done = bazel.attempt("build", *flags)
    assert done.returncode == 1
    assert re.search(r"Verifying the ENF of \S+//tests/bazel/checks:tiny_enf failed", done.stderr), (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    bazel.run("build", "--norun_validations", *flags)


def test_changed_weight_fails_the_comparison(bazel: InnerBazel) -> None:
    target = f"{_CHECKS}tiny_test"
    bazel.run("test", target)
    done = bazel.attempt("test", f"--extra_toolchains={_CHECKS}weight_changing_toolchain", target)
    assert done.returncode == 3, done.stdout + done.stderr  # Bazel's code for tests that fail
    found = re.search(
        r"First difference that nothing explains: layer \d+, [\w, ]+ '\S+' on the npu, tensor '(\S+)'",
        done.stdout,
    )
    assert found, done.stdout
    # how Bazel spells the folder of a module differs between its versions
    (outputs,) = Path(bazel.run("info", "bazel-testlogs").strip()).glob(
        "external/*/tests/bazel/checks/tiny_test"
    )
    document = json.loads((outputs / "test.outputs/compare.json").read_text(encoding="ascii"))
    assert document["first_difference"]["tensor"] == found[1]
    assert document["changed_sections"] == ["constants"]
    failure = ElementTree.parse(outputs / "test.xml").find("testsuite/testcase/failure")
    assert f"tensor '{found[1]}'" in failure.get("message")
    assert (outputs / "test.outputs/compare.html").is_file()
