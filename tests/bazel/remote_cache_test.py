"""Bazel in Bazel with remote caches: all hits and no upload elsewhere, few downloads, a cache that dies, and damaged entries."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cache_servers import GrpcCache, HttpCache
from inner_bazel import InnerBazel, copy_checkout, executions, scratch

_SERVERS = {"nginx": HttpCache, "buildbox-casd": GrpcCache}
# buildbox-casd does not find an action again that has a folder for an output.
_GROUPS = {
    HttpCache: "--output_groups=+report,+dot,+manifest,+tree",
    GrpcCache: "--output_groups=+report,+dot,+manifest",
}
# Three tests, one of which leaves it to an action of its own to write its XML.
_COUNTS = {"NpuCompile": 3, "NpuVerify": 4, "NpuBundle": 1, "TestRunner": 4}
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
def cache(request: pytest.FixtureRequest, bazel: InnerBazel) -> Iterator[HttpCache | GrpcCache]:
    """A remote cache that holds the whole smoke repository and its tests, all made by `bazel`."""
    with _SERVERS[request.param](scratch() / request.param) as server:
        bazel.run("clean")
        runners = _run(bazel, "fill", "test", server, _GROUPS[type(server)], "//...")
        assert all(_HIT not in r for r in runners.values()) and server.uploads() > 0
        yield server


def _run(bazel: InnerBazel, name: str, command: str, cache: HttpCache | GrpcCache, *flags: str) -> dict:
    """Runs a command that must succeed with a cache; who ran what, by mnemonic."""
    log = scratch() / f"{name}.json"
    bazel.run(command, f"--remote_cache={cache.url}", f"--execution_log_json_file={log}", *flags)
    return {mnemonic: [e["runner"] for e in executions(log, mnemonic)] for mnemonic in _COUNTS}


def _outputs(bazel: InnerBazel) -> dict[str, Path]:
    """The ENFs, reports, graphs and bundles that are there, by path."""
    folder = Path(bazel.run("info", "bazel-bin").strip())
    patterns = ("*.enf", "*.json", "*.dot", "*.tar", "vision.manifest/*", "vision.tree/**/*")
    return {
        str(f.relative_to(folder)): f for pattern in patterns for f in folder.glob(pattern) if f.is_file()
    }


def _digests(bazel: InnerBazel) -> dict[str, str]:
    return {name: hashlib.sha256(f.read_bytes()).hexdigest() for name, f in _outputs(bazel).items()}


def test_all_hits_and_no_upload_elsewhere(
    bazel: InnerBazel, other_bazel: InnerBazel, cache: HttpCache | GrpcCache
) -> None:
    other_bazel.run("clean")
    before = cache.uploads()
    flags = (_GROUPS[type(cache)], "--remote_download_outputs=all", "//...")
    runners = _run(other_bazel, "elsewhere", "test", cache, *flags)
    assert runners == {mnemonic: [_HIT] * count for mnemonic, count in _COUNTS.items()}
    assert cache.uploads() == before
    assert _digests(other_bazel) == _digests(bazel)


def test_downloads_only_what_is_asked_for(other_bazel: InnerBazel, cache: HttpCache | GrpcCache) -> None:
    other_bazel.run("clean")
    minimal, top = "--remote_download_minimal", "--remote_download_outputs=toplevel"
    assert _run(other_bazel, "minimal", "build", cache, minimal, "//...")["NpuCompile"] == [_HIT] * 3
    assert not _outputs(other_bazel)
    other_bazel.run("clean")
    _run(other_bazel, "top", "build", cache, top, "//:vision")
    assert list(_outputs(other_bazel)) == ["vision.tar"]
    # What was never downloaded is fetched for an action that runs here.
    anew = ("--nocache_test_results", "--noremote_accept_cached", minimal, "//:tiny_int8_test")
    runners = _run(other_bazel, "anew", "test", cache, *anew)
    assert _HIT not in runners["TestRunner"] and not runners["NpuCompile"]
    assert "tiny_int8.enf" in _outputs(other_bazel)


def test_a_damaged_entry_is_found_and_made_anew(
    bazel: InnerBazel, other_bazel: InnerBazel, cache: HttpCache | GrpcCache
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


def test_what_only_a_dead_cache_holds_is_made_anew_without_it(other_bazel: InnerBazel) -> None:
    """The price of few downloads: the build fails, and goes on when the cache is no longer named."""
    other_bazel.run("clean")
    with HttpCache(scratch() / "nginx_that_is_gone") as cache:
        flags = (f"--remote_cache={cache.url}", "--remote_download_minimal")
        other_bazel.run("build", flags[0], "//:tiny_int8.onnx")
        other_bazel.run("clean")
        other_bazel.run("build", *flags, "//:tiny_int8.onnx")
    done = other_bazel.attempt("build", *flags, "//:tiny_int8_enf")
    assert done.returncode == 39 and "Failed to fetch blobs" in done.stderr, done.stderr
    other_bazel.run("build", "//:tiny_int8_enf")
