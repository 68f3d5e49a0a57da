"""Python tests that run under pytest."""

load("@rules_python//python:py_test.bzl", "py_test")

_MAIN = Label("//tools/pytest:main.py")
_PYTEST = Label("@furiosa_rules_dev_pypi//pytest")

def pytest_test(name, srcs, deps = [], args = [], **kwargs):
    """One test target that runs pytest over `srcs`.

    `--test_filter` becomes pytest's `-k`, `--test_arg` is handed on, `shard_count` shards by test.

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

def pytest_suite(name, srcs, strip_prefix = "", conftest = [], tags = [], **kwargs):
    """One `pytest_test` a file, and a test_suite of all of them.

    With strip_prefix `furiosa/enf/`, `furiosa/enf/reader/header_test.py` becomes `reader_header_test`.

    Args:
      name: name of the test_suite
      srcs: the test files
      strip_prefix: what to leave out of the names, a leading part of every path
      conftest: conftest.py files that every test loads
      tags: tags of every test
      **kwargs: what pytest_test takes, for every test
    """
    tests = []
    for src in srcs:
        test = src.removeprefix(strip_prefix).removesuffix(".py").replace("/", "_")
        tests.append(test)
        pytest_test(name = test, srcs = [src] + conftest, tags = tags, **kwargs)
    native.test_suite(name = name, tests = tests, tags = [tag for tag in tags if tag == "manual"])
