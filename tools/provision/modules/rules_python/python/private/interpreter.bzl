"""The interpreters of this machine, and toolchains around them."""

load("//python/private:interpreters.bzl", "INTERPRETERS")

# Where the root module has no default
OWN_DEFAULT = "3.11"

def minor(version):
    """Major and minor version: "3.11" of "3.11.7"."""
    return ".".join(version.split(".")[:2])

def find_interpreter(version):
    """The provisioned interpreter for a version, or Debian's where there is none.

    Args:
      version: "3.11" or "3.11.7"; "" for Debian's

    Returns:
      a struct of `path`, the interpreter in its empty virtual environment, and `version`, "3.11.7"
    """
    return INTERPRETERS.get(minor(version)) or INTERPRETERS["default"]

_HEAD = """\
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")
load("@rules_python//python/private:version_flag.bzl", "version_flag")

package(default_visibility = ["//visibility:public"])

# What rules_python calls //python/config_settings:python_version
version_flag(
    name = "python_version",
    build_setting_default = "{default}",
)

alias(
    name = "runtime",
    actual = select({{{runtimes}}}),
)
"""

_VERSION = """
config_setting(
    name = "is_{version}",
    flag_values = {{":python_version": "{version}"}},
)

py_runtime(
    name = "runtime_{version}",
    interpreter_path = "{python}",
    python_version = "PY3",
    stub_shebang = "#!{python}",
)

py_runtime_pair(
    name = "pair_{version}",
    py3_runtime = ":runtime_{version}",
)

toolchain(
    name = "toolchain_{version}",
    target_settings = [":is_{version}"],
    toolchain = ":pair_{version}",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _local_python_repo_impl(rctx):
    versions = [_VERSION.format(version = version, python = python) for version, python in rctx.attr.pythons.items()]
    runtimes = ", ".join(['":is_%s": ":runtime_%s"' % (version, version) for version in rctx.attr.pythons])
    rctx.file("BUILD.bazel", _HEAD.format(default = rctx.attr.default, runtimes = runtimes) + "".join(versions))

local_python_repo = repository_rule(
    implementation = _local_python_repo_impl,
    attrs = {
        "default": attr.string(mandatory = True),
        "pythons": attr.string_dict(mandatory = True),
    },
    doc = "Toolchains around the interpreters at absolute paths, by version; a build's flag chooses.",
)
