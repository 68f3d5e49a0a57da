"""`pip.parse`: a repository for each distribution of a hashed lock, and the hub that names them all."""

load("//python/private:interpreter.bzl", "find_interpreter")
load("//python/private:wheels.bzl", "PIP_PYTHON", "hub_repo", "wheel_repo")

def _pip_impl(mctx):
    tool = mctx.path(Label("//python/private:wheels.py"))
    for module in mctx.modules:
        for tag in module.tags.parse:
            lock = tag.requirements_linux or tag.requirements_lock
            if not lock:
                fail("pip.parse(hub_name = %r) has no requirements_lock" % tag.hub_name)
            mctx.watch(lock)
            python = find_interpreter(tag.python_version)
            result = mctx.execute([PIP_PYTHON, "-I", tool, "parse", mctx.path(lock), python.version])
            if result.return_code:
                fail("pip.parse(hub_name = %r): %s" % (tag.hub_name, result.stderr))
            distributions = json.decode(result.stdout)
            locked = {d["name"]: d["repo"] for d in distributions}
            for d in distributions:
                wheel_repo(
                    name = "%s_%s" % (tag.hub_name, d["repo"]),
                    distribution = d["name"],
                    extra_pip_args = tag.extra_pip_args,
                    extras = d["extras"],
                    hub = tag.hub_name,
                    locked = locked,
                    python = python.path,
                    python_version = python.version,
                    requirement = d["requirement"],
                )
            hub_repo(
                name = tag.hub_name,
                hub = tag.hub_name,
                repos = locked.values(),
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
