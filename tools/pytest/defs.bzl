"""Python tests that run under pytest."""

load("@rules_python//python:py_test.bzl", "py_test")

_MAIN = Label("//tools/pytest:main.py")
_PYTEST = Label("@furiosa_rules_dev_pypi//pytest")

def pytest_test(name, srcs, deps = [], args = [], **kwargs):
    """One test target that runs pytest over `srcs`.

    `--test_filter` becomes pytest's `-k`, `--test_arg` is handed on, `shard_count` shards by file, or by test where there are few files.

    Args:
      name: name of the target
      srcs: the test files; a conftest.py among them is loaded, not collected
      deps: libraries that the tests import; pytest itself is there already
      args: further arguments for pytest
      **kwargs: what py_test takes (data, size, tags, env, shard_count, ...)
    """
    py_test(
        name = name,
        srcs = [_MAIN] + srcs,
        main = _MAIN,
        args = ["$(rootpath %s)" % src for src in srcs if not src.endswith("conftest.py")] + args,
        deps = deps + [_PYTEST],
        legacy_create_init = 0,
        **kwargs
    )

def pytest_suite(name, srcs, strip_prefix = "", conftest = [], tags = [], shards = {}, **kwargs):
    """One `pytest_test` a folder, and a test_suite of all of them.

    Starting Python and importing the libraries takes longer than most files of tests, so those of a folder share a process. With
    strip_prefix `furiosa/enf/`, `furiosa/enf/reader/*_test.py` becomes `reader_test`; what lies in `furiosa/enf` itself takes the package's name.

    Args:
      name: name of the test_suite
      srcs: the test files
      strip_prefix: what to leave out of the names, a leading part of every path
      conftest: conftest.py files that every test loads
      tags: tags of every test
      shards: how many processes share the tests of a target, by its name; of the others one
      **kwargs: what pytest_test takes, for every test
    """
    folders = {}
    for src in srcs:
        folder, _, _ = src.removeprefix(strip_prefix).rpartition("/")
        target = (folder or native.package_name().rpartition("/")[2]).replace("/", "_") + "_test"
        folders.setdefault(target, []).append(src)
    for target, files in folders.items():
        pytest_test(
            name = target,
            timeout = "long",
            srcs = files + conftest,
            shard_count = shards.get(target),
            tags = tags,
            **kwargs
        )
    native.test_suite(name = name, tests = folders.keys(), tags = [tag for tag in tags if tag == "manual"])
