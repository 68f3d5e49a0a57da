"""The interpreters of this machine, and a toolchain around one of them."""

load("//python/private:interpreters.bzl", "INTERPRETERS")

def find_interpreter(version):
    """The provisioned interpreter for a version, or Debian's where there is none.

    Args:
      version: "3.11" or "3.11.7"; "" for Debian's

    Returns:
      a struct of `path`, the interpreter in its empty virtual environment, and `version`, "3.11.7"
    """
    return INTERPRETERS.get(".".join(version.split(".")[:2])) or INTERPRETERS["default"]

_BUILD = """\
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

py_runtime(
    name = "runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
    stub_shebang = "#!{python}",
)

py_runtime_pair(
    name = "pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _local_python_repo_impl(rctx):
    rctx.file("BUILD.bazel", _BUILD.format(python = rctx.attr.python))

local_python_repo = repository_rule(
    implementation = _local_python_repo_impl,
    attrs = {"python": attr.string(mandatory = True)},
    doc = "A toolchain around the interpreter at an absolute path.",
)
