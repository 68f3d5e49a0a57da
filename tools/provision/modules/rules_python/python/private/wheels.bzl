"""Repositories behind pip.parse: wheels by hash, through the machine's pip and its own settings."""

# Debian's interpreter, whose pip downloads for every version
PIP_PYTHON = "/usr/bin/python3"

_WHEEL_BUILD = """\
load("@rules_python//python:py_library.bzl", "py_library")

package(default_visibility = ["//visibility:public"])

py_library(
    name = "pkg",
    srcs = glob(
        ["site-packages/**/*.py"],
        allow_empty = True,
    ),
    data = glob(
        ["site-packages/**/*"],
        allow_empty = True,
        exclude = ["site-packages/**/*.py"],
    ),
    imports = ["site-packages"],
    deps = {deps},
)

# The name that rules_python gives it
alias(
    name = "{repo}",
    actual = ":pkg",
)

filegroup(
    name = "data",
    srcs = glob(["site-packages/**/*"]),
)

filegroup(
    name = "dist_info",
    srcs = glob(["site-packages/*.dist-info/**"]),
)

filegroup(
    name = "whl",
    srcs = glob(["*.whl"]),
)
"""

def _wheel_repo_impl(rctx):
    name = rctx.attr.distribution
    version = rctx.attr.python_version
    tool = rctx.path(Label("//python/private:wheels.py"))
    rctx.file("requirement.txt", rctx.attr.requirement + "\n")
    result = rctx.execute(
        [PIP_PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"] +
        ["--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", version] +
        rctx.attr.extra_pip_args + ["--dest", ".", "-r", "requirement.txt"],
        timeout = 1200,
    )
    if result.return_code:
        fail("pip could not download %s for Python %s:\n%s%s" % (name, version, result.stdout, result.stderr))
    wheels = [path for path in rctx.path(".").readdir() if path.basename.endswith(".whl")]
    if len(wheels) != 1:
        fail("pip downloaded %d wheels for %s, expected one" % (len(wheels), name))
    result = rctx.execute([
        PIP_PYTHON,
        "-I",
        tool,
        "install",
        wheels[0],
        "site-packages",
        version,
        json.encode(rctx.attr.extras),
        json.encode(rctx.attr.locked),
    ])
    if result.return_code:
        fail("could not unpack %s: %s" % (wheels[0].basename, result.stderr))

    # Bytecode is made once here: an action could keep none.  Neither time nor path gets into it.  What does
    # not compile (a template, say) is imported from source, if at all.
    rctx.execute([rctx.attr.python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"] +
                 ["-s", rctx.path("site-packages"), rctx.path("site-packages")])
    deps = ["@%s%s//:pkg" % (rctx.attr.prefix, repo) for repo in json.decode(result.stdout)]
    rctx.file("BUILD.bazel", _WHEEL_BUILD.format(
        deps = repr(deps),
        repo = rctx.attr.locked[name],
    ))

wheel_repo = repository_rule(
    implementation = _wheel_repo_impl,
    attrs = {
        "distribution": attr.string(mandatory = True),
        "extra_pip_args": attr.string_list(),
        "extras": attr.string_list(),
        "locked": attr.string_dict(mandatory = True),
        "prefix": attr.string(mandatory = True),
        "python": attr.string(mandatory = True),
        "python_version": attr.string(mandatory = True),
        "requirement": attr.string(mandatory = True),
    },
    doc = "One locked distribution, unpacked as a py_library.",
)

_HUB_PACKAGE = """\
package(default_visibility = ["//visibility:public"])

[alias(
    name = name,
    actual = select(
        {{
            "@local_python//:is_%s" % version: "@%s//:%s" % (repo, target)
            for version, repo in {repos}.items()
        }},
        no_match_error = {error},
    ),
) for name, target in {targets}.items()]
"""

_HUB_REQUIREMENTS = """\
all_requirements = {all}

def requirement(name):
    return "@@{canonical}//%s" % name.lower().replace("-", "_").replace(".", "_")
"""

def _hub_repo_impl(rctx):
    rctx.file("BUILD.bazel", "exports_files([\"requirements.bzl\"])\n")
    for package, encoded in rctx.attr.packages.items():
        repos = json.decode(encoded)
        supported = ", ".join(["//_config:is_cp" + version.replace(".", "") for version in repos])
        rctx.file(package + "/BUILD.bazel", _HUB_PACKAGE.format(
            error = repr("%s is locked for other versions of Python than this build's; it supports %s" % (package, supported)),
            repos = repr(repos),
            targets = repr({package: "pkg"} | {name: name for name in ["pkg", "whl", "data", "dist_info"]}),
        ))
    rctx.file("requirements.bzl", _HUB_REQUIREMENTS.format(
        all = repr(["@@%s//%s" % (rctx.name, package) for package in rctx.attr.packages]),
        canonical = rctx.name,
    ))

hub_repo = repository_rule(
    implementation = _hub_repo_impl,
    attrs = {"packages": attr.string_dict(mandatory = True)},
    doc = "The hub: @hub//name for every locked distribution, in the version of Python that the build has.",
)
