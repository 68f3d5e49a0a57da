"""Bazel in Bazel with remote caches: all hits and no upload elsewhere, few downloads, a cache that dies, and damaged entries."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from buildgrid_server import BuildGrid
from cache_servers import GrpcCache, HttpCache
from inner_bazel import InnerBazel, copy_checkout, executions, scratch

Cache = HttpCache | GrpcCache | BuildGrid
_SERVERS = {"nginx": HttpCache, "buildbox-casd": GrpcCache, "BuildGrid": BuildGrid}
_GROUPS = "--output_groups=+report,+dot,+manifest,+tree"
# Four programs that the others run; three tests, one of which leaves it to an action of its own to write its XML.
_COUNTS = {
    "Genrule": 2,
    "NpuBundle": 1,
    "NpuCompile": 3,
    "NpuLayer": 1,
    "NpuUnpack": 1,
    "NpuVerify": 4,
    "PythonTool": 4,
    "TestRunner": 4,
}
_HIT = "remote cache hit"


@pytest.fixture(scope="module")
def bazel() -> Iterator[InnerBazel]:
    checkout = copy_checkout(scratch() / "first")
    with InnerBazel(checkout / "examples/smoke", "first") as inner:
        yield inner


@pytest.fixture(scope="module")
def other_bazel(bazel: InnerBazel) -> Iterator[InnerBazel]:
    """The same in another folder, with another output base, home, user, locale and time zone."""
    checkout = copy_checkout(scratch() / "second/a longer path", bazel.workspace.parents[1])
    environment = {"LANG": "tr_TR.UTF-8", "TZ": "Asia/Seoul", "PYTHONHASHSEED": "12345"}
    with InnerBazel(checkout / "examples/smoke", "second", environment=environment) as inner:
        yield inner


@pytest.fixture(scope="module", params=_SERVERS)
def cache(request: pytest.FixtureRequest, bazel: InnerBazel) -> Iterator[Cache]:
    """A remote cache that holds the whole smoke repository and its tests, all made by `bazel`."""
    with _SERVERS[request.param](scratch() / request.param) as server:
        bazel.run("clean")
        actions = _run(bazel, "fill", "test", server, _GROUPS, "//...")
        assert actions.total() == sum(_COUNTS.values()) and server.uploads() > 0
        assert not [mnemonic for mnemonic, runner in actions if runner == _HIT]
        yield server


def _run(bazel: InnerBazel, name: str, command: str, cache: Cache, *flags: str) -> Counter[tuple[str, str]]:
    """Runs a command that must succeed with a cache; how many actions there were, by mnemonic and by who ran them."""
    log = bazel.folder / f"{name}.json"
    bazel.run(command, f"--remote_cache={cache.url}", f"--execution_log_json_file={log}", *flags)
    return Counter((e["mnemonic"], e["runner"]) for e in executions(log))


def _outputs(bazel: InnerBazel) -> dict[str, Path]:
    """The ENFs, reports, graphs and bundles that are there, by path."""
    folder = Path(bazel.run("info", "bazel-bin").strip())
    patterns = ("*.enf", "*.json", "*.dot", "*.tar", "vision.manifest/*", "vision.tree/**/*")
    return {
        str(f.relative_to(folder)): f for pattern in patterns for f in folder.glob(pattern) if f.is_file()
    }


def _digests(bazel: InnerBazel) -> dict[str, str]:
    return {name: hashlib.sha256(f.read_bytes()).hexdigest() for name, f in _outputs(bazel).items()}


def test_all_hits_and_no_upload_elsewhere(bazel: InnerBazel, other_bazel: InnerBazel, cache: Cache) -> None:
    other_bazel.run("clean")
    before, counts, groups = cache.uploads(), _COUNTS, _GROUPS
    if isinstance(cache, GrpcCache):
        # buildbox-casd does not find an action again that has a folder for an output.
        counts, groups = (
            {m: n for m, n in _COUNTS.items() if m != "NpuUnpack"},
            _GROUPS.removesuffix(",+tree"),
        )
    actions = _run(other_bazel, "elsewhere", "test", cache, groups, "--remote_download_outputs=all", "//...")
    assert actions == {(mnemonic, _HIT): count for mnemonic, count in counts.items()}
    assert cache.uploads() == before
    made = _digests(bazel)
    assert _digests(other_bazel) == {n: d for n, d in made.items() if counts is _COUNTS or ".tree" not in n}


@pytest.mark.parametrize("cache", ["nginx"], indirect=True)
def test_all_hits_and_no_upload_for_another_user(bazel: InnerBazel, cache: Cache) -> None:
    """A user whose ID is another one, too, and who may write nothing but what is below `folder`."""
    before, folder = cache.uploads(), scratch() / "another_user"
    workspace = copy_checkout(folder / "checkout", bazel.workspace.parents[1]) / "examples/smoke"
    with InnerBazel(workspace, "another", user=65534, folder=folder) as another:
        actions = _run(another, "user", "test", cache, _GROUPS, "--remote_download_outputs=all", "//...")
        assert actions == {(mnemonic, _HIT): count for mnemonic, count in _COUNTS.items()}
        assert {file.stat().st_uid for file in _outputs(another).values()} == {65534}
        assert _digests(another) == _digests(bazel)
    assert cache.uploads() == before


@pytest.mark.parametrize("cache", ["nginx", "BuildGrid"], indirect=True)
def test_downloads_only_what_is_asked_for(other_bazel: InnerBazel, cache: Cache) -> None:
    other_bazel.run("clean")
    minimal, top = "--remote_download_minimal", "--remote_download_outputs=toplevel"
    assert _run(other_bazel, "minimal", "build", cache, minimal, "//...")["NpuCompile", _HIT] == 3
    assert not _outputs(other_bazel)
    other_bazel.run("clean")
    _run(other_bazel, "top", "build", cache, top, "//:vision")
    assert list(_outputs(other_bazel)) == ["vision.tar"]
    # What was never downloaded is fetched for an action that runs here.
    anew = ("--nocache_test_results", "--noremote_accept_cached", minimal, "//:tiny_int8_test")
    actions = _run(other_bazel, "anew", "test", cache, *anew)
    assert {mnemonic for mnemonic, _ in actions} == {"PythonTool", "TestRunner"}
    assert not [mnemonic for mnemonic, runner in actions if runner == _HIT]
    assert "tiny_int8.enf" in _outputs(other_bazel)


@pytest.mark.parametrize("cache", ["nginx", "BuildGrid"], indirect=True)
def test_a_damaged_entry_is_found_and_made_anew(
    bazel: InnerBazel, other_bazel: InnerBazel, cache: Cache
) -> None:
    good = _digests(bazel)
    blob = cache.blob(good["tiny_int8.enf"])
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    other_bazel.run("clean")
    flags = (f"--remote_cache={cache.url}", "--remote_download_outputs=all", "//:tiny_int8_enf")
    done = other_bazel.attempt("build", *flags)
    assert done.returncode == 0, done.stderr
    assert f"Expected digest '{good['tiny_int8.enf']}" in done.stderr
    assert _digests(other_bazel)["tiny_int8.enf"] == good["tiny_int8.enf"]


@pytest.mark.parametrize("kind", _SERVERS)
def test_a_cache_that_dies_only_slows_the_build(
    bazel: InnerBazel, other_bazel: InnerBazel, kind: str
) -> None:
    other_bazel.run("clean")
    log = scratch() / "dies.json"
    with _SERVERS[kind](scratch() / f"{kind}_that_dies") as cache:
        done = threading.Event()

        def kill_after_an_upload() -> None:
            while not cache.uploads() and not done.is_set():
                time.sleep(0.01)
            cache.stop()

        killer = threading.Thread(target=kill_after_an_upload)
        killer.start()
        flags = (
            f"--remote_cache={cache.url}",
            "--remote_download_outputs=all",
            f"--execution_log_json_file={log}",
        )
        result = other_bazel.attempt("build", *flags, "//...")
        done.set()
        killer.join()
    assert result.returncode == 0, result.stderr
    assert "WARNING: Remote Cache: " in result.stderr
    assert [entry["runner"] for entry in executions(log, "NpuCompile")].count(_HIT) == 0
    assert _digests(other_bazel)["tiny_int8.enf"] == _digests(bazel)["tiny_int8.enf"]


def test_what_a_cache_no_longer_has_is_made_anew(other_bazel: InnerBazel) -> None:
    """The price of few downloads: a file that the cache alone has had. Bazel 7.7.1 tries anew only when it is told to."""
    with HttpCache(scratch() / "nginx_that_forgets") as cache:
        flags = (f"--remote_cache={cache.url}", "--remote_download_minimal")

        def leave_a_model_in_the_cache() -> None:
            for outputs in ("all", "minimal"):
                other_bazel.run("clean")
                other_bazel.run(
                    "build", flags[0], f"--remote_download_outputs={outputs}", "//:tiny_int8.onnx"
                )
            assert "tiny_int8.onnx" not in _names(other_bazel)

        leave_a_model_in_the_cache()
        shutil.rmtree(cache.folder / "cache/cas")
        retries = "--experimental_remote_cache_eviction_retries=5"
        done = other_bazel.attempt("build", *flags, retries, "//:tiny_int8_enf")
        assert done.returncode == 0 and done.stderr.count("retrying the build") == 1, done.stderr
        assert "they do not exist remotely" in done.stderr
        leave_a_model_in_the_cache()
    # A cache that is gone is another thing: no number of retries helps, but not to count on it does.
    done = other_bazel.attempt("build", *flags, retries, "//:tiny_int8_enf")
    assert done.returncode == 39 and "Connection refused" in done.stderr, done.stderr
    other_bazel.run("build", flags[0], "--remote_download_outputs=all", "//:tiny_int8_enf")


def _names(bazel: InnerBazel) -> list[str]:
    return [f.name for f in Path(bazel.run("info", "bazel-bin").strip()).iterdir()]
