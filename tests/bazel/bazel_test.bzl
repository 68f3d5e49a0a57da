"""Tests that run Bazel."""

load("//tools/pytest:defs.bzl", "pytest_test")

_TAGS = [
    # they start a server and fill both cores
    "exclusive",
    "no-remote",
    "no-sandbox",
    # for wheels and, with a Bazel that is not Debian's, for modules
    "requires-network",
]

# Variables that say how wheels and modules are fetched on this machine.
_FETCH_VARIABLES = [
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PIP_CERT",
    "PIP_CONFIG_FILE",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PYENV_ROOT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
]

# What every build of a model takes.
_DATA = [
    "//:MODULE.bazel",
    "//compiler:furiosa_compiler",
    "//compiler:furiosa_onnx_compiler",
    "//compiler:furiosa_verifier",
    "//examples/models:generate",
    "//furiosa_rules:sources",
    "//tools/python:requirements_dev_lock.txt",
    "//tools/python:requirements_lock.txt",
]

def bazel_test(name, data = [], deps = [], **kwargs):
    """A test with a Bazel of its own, which works on a copy of the checkout that the test's sources link to.

    So it cannot run in a sandbox or remotely, and names what it builds in `data` only to be run again when that has changed.

    Args:
      name: name of the target; the test is `<name>.py`
      data: what it builds, besides the compiler and the rules
      deps: libraries that it imports, besides `inner_bazel`
      **kwargs: what pytest_test takes
    """
    pytest_test(
        name = name,
        srcs = [name + ".py"],
        data = _DATA + data,
        env = {"FETCH_VARIABLES": " ".join(_FETCH_VARIABLES)},
        env_inherit = _FETCH_VARIABLES,
        tags = _TAGS,
        deps = deps + ["//tests/bazel:inner_bazel"],
        **kwargs
    )
