"""A folder of helpers and tests."""

load("@rules_python//python:py_library.bzl", "py_library")
load("//tools/pytest:defs.bzl", "pytest_suite")

def tested_library(name, folder, tests, deps, programs = [], shards = None, **kwargs):
    """What the tests of a folder share, and a suite of them.

    Args:
      name: name of the library
      folder: where its files and the tests lie, below this package
      tests: name of the suite
      deps: of the library
      programs: files of the folder that are neither
      shards: how many processes share the tests
      **kwargs: what py_library takes (data, visibility, ...)
    """
    files = folder + "/**/*.py"
    test_files = folder + "/**/*_test.py"
    py_library(
        name = name,
        testonly = True,
        srcs = native.glob([files], exclude = [test_files] + programs),
        imports = [".."],
        deps = deps,
        **kwargs
    )
    pytest_suite(
        name = tests,
        srcs = native.glob([test_files]),
        shards = {folder + "_test": shards},
        deps = [":" + name],
    )
