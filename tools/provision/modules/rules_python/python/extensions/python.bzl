"""`python.toolchain`: toolchains of the versions that modules ask for; the root module's default is the build's."""

load("//python/private:interpreter.bzl", "OWN_DEFAULT", "find_interpreter", "local_python_repo", "minor")

def _default(root):
    """The root module's default version; what other modules say of it does not count."""
    tags = root.tags.toolchain
    version = OWN_DEFAULT
    for tag in tags:
        if tag.is_default or len(tags) == 1:
            version = tag.python_version
    for tag in root.tags.defaults:
        version = tag.python_version or version
    return version

def _python_impl(mctx):
    default = OWN_DEFAULT
    asked = []
    for module in mctx.modules:
        if module.is_root:
            default = _default(module)
        asked += [tag.python_version for tag in module.tags.toolchain]
    found = [find_interpreter(version) for version in [default] + asked]
    local_python_repo(
        name = "local_python",
        default = minor(found[0].version),
        pythons = {minor(python.version): python.path for python in found},
    )
    return mctx.extension_metadata(reproducible = True)

python = module_extension(
    implementation = _python_impl,
    tag_classes = {
        "defaults": tag_class(attrs = {
            "python_version": attr.string(),
            "python_version_env": attr.string(),
            "python_version_file": attr.label(),
        }),
        "toolchain": tag_class(attrs = {
            "configure_coverage_tool": attr.bool(),
            "ignore_root_user_error": attr.bool(),
            "is_default": attr.bool(),
            "python_version": attr.string(),
        }),
    },
)
