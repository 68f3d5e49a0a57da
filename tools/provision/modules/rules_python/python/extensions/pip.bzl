"""`pip.parse`: for each version of Python a repository of each distribution of a hashed lock, and the hub that names them all."""

load("//python/private:interpreter.bzl", "find_interpreter", "minor")
load("//python/private:wheels.bzl", "PIP_PYTHON", "hub_repo", "wheel_repo")

def _lock(tag):
    lock = tag.requirements_linux or tag.requirements_lock
    if not lock:
        fail("pip.parse(hub_name = %r) has no requirements_lock" % tag.hub_name)
    return lock

def _by_version(tags):
    """The tags of one hub by the version of the interpreter that serves each; one of that very version goes first."""
    found = {}
    for tag in tags:
        version = minor(find_interpreter(tag.python_version).version)
        if version == minor(tag.python_version):
            found[version] = tag
    for tag in tags:
        found.setdefault(minor(find_interpreter(tag.python_version).version), tag)
    return found

def _variant(mctx, hub, version, tag):
    """Makes the repositories of one version.

    Args:
      mctx: the extension's context
      hub: the hub's name
      version: "3.11"
      tag: the `pip.parse` of it

    Returns:
      the repositories, by the distributions' packages in the hub
    """
    lock = _lock(tag)
    mctx.watch(lock)
    python = find_interpreter(version)
    tool = mctx.path(Label("//python/private:wheels.py"))
    result = mctx.execute([PIP_PYTHON, "-I", tool, "parse", mctx.path(lock), python.version])
    if result.return_code:
        fail("pip.parse(hub_name = %r): %s" % (hub, result.stderr))
    distributions = json.decode(result.stdout)
    prefix = "%s_%s_" % (hub, version.replace(".", ""))
    locked = {d["name"]: d["repo"] for d in distributions}
    for d in distributions:
        wheel_repo(
            name = prefix + d["repo"],
            distribution = d["name"],
            extra_pip_args = tag.extra_pip_args,
            extras = d["extras"],
            locked = locked,
            prefix = prefix,
            python = python.path,
            python_version = python.version,
            requirement = d["requirement"],
        )
    return {repo: prefix + repo for repo in locked.values()}

def _pip_impl(mctx):
    for module in mctx.modules:
        hubs = {}
        for tag in module.tags.parse:
            hubs.setdefault(tag.hub_name, []).append(tag)
        for hub, tags in hubs.items():
            packages = {}
            for version, tag in _by_version(tags).items():
                for package, repo in _variant(mctx, hub, version, tag).items():
                    packages.setdefault(package, {})[version] = repo
            hub_repo(
                name = hub,
                packages = {package: json.encode(repos) for package, repos in packages.items()},
            )
    return mctx.extension_metadata(reproducible = True)

pip = module_extension(
    implementation = _pip_impl,
    tag_classes = {
        "parse": tag_class(attrs = {
            "download_only": attr.bool(),
            "envsubst": attr.string_list(),
            "experimental_index_url": attr.string(),
            "extra_pip_args": attr.string_list(),
            "hub_name": attr.string(mandatory = True),
            "isolated": attr.bool(default = True),
            "python_version": attr.string(),
            "quiet": attr.bool(default = True),
            "requirements_by_platform": attr.label_keyed_string_dict(),
            "requirements_darwin": attr.label(),
            "requirements_linux": attr.label(),
            "requirements_lock": attr.label(),
            "requirements_windows": attr.label(),
            "timeout": attr.int(default = 600),
        }),
    },
)
