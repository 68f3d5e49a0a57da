"""Entry point of every pytest_test: runs pytest over the given files the way `bazel test` expects.

`--test_filter` is pytest's `-k`; a sharded test runs every n-th file, or test where there are few files; the JUnit report goes where
Bazel looks for it.  Exit code: pytest's own; a file in which no test is found fails (4).
"""

from __future__ import annotations

import os
import sys


class EveryFile:
    """Fails where a file that was given has no test, before any filter or shard: files of a folder share a process, so that pytest itself
    would not see it.
    """

    def __init__(self, files: list[str]) -> None:
        self.files = [f for f in files if f.endswith("_test.py")]

    def pytest_collection_modifyitems(self, items: list) -> None:
        import pytest

        found = {os.path.realpath(item.path) for item in items}
        empty = [f for f in self.files if os.path.realpath(f) not in found]
        if empty:
            raise pytest.UsageError(f"no test was found in {', '.join(empty)}")


class Shard:
    """Keeps the tests of this shard, by the protocol of Bazel's test encyclopedia.

    Whole files, whose tests share what is made for them, unless these are fewer than five a shard.
    """

    def __init__(self, index: int, total: int) -> None:
        self.index, self.total = index, total

    def pytest_collection_modifyitems(self, items: list) -> None:
        places = {item.path: None for item in items}
        if len(places) < 5 * self.total:
            items[:] = items[self.index :: self.total]
            return
        mine = set(list(places)[self.index :: self.total])
        items[:] = [item for item in items if item.path in mine]


def main(argv: list[str]) -> int:
    """Runs pytest over the files and options `argv`; returns the exit code."""
    env = os.environ
    scratch = env.get("TEST_TMPDIR")
    if scratch:  # nothing is read from or left in a home or a source tree
        env["HOME"] = scratch
        env["HYPOTHESIS_STORAGE_DIRECTORY"] = os.path.join(scratch, "hypothesis")

    options = ["--import-mode=importlib", "--rootdir=.", "-p", "no:cacheprovider", "-r", "fEs", "--color=no"]
    if scratch:
        options.append(f"--basetemp={scratch}/pytest")
    if env.get("XML_OUTPUT_FILE"):
        options.append(f"--junitxml={env['XML_OUTPUT_FILE']}")
    narrowed = False
    if env.get("TESTBRIDGE_TEST_ONLY"):
        options += ["-k", env["TESTBRIDGE_TEST_ONLY"]]
        narrowed = True
    plugins: list[object] = []
    if env.get("TEST_TOTAL_SHARDS"):
        open(env["TEST_SHARD_STATUS_FILE"], "w").close()
        plugins.append(Shard(int(env["TEST_SHARD_INDEX"]), int(env["TEST_TOTAL_SHARDS"])))
        narrowed = True
    # pytest asks the last plugin first: all tests are seen before a shard leaves some out
    plugins.append(EveryFile(argv))

    import pytest

    code = int(pytest.main(options + argv, plugins=plugins))
    # A filter or a shard may well leave nothing of this file; a file without tests is a mistake.
    return 0 if narrowed and code == pytest.ExitCode.NO_TESTS_COLLECTED else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
