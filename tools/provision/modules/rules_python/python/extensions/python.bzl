"""`python.toolchain`: one toolchain, of the version that the root module asks for, or else any module."""

load("//python/private:interpreter.bzl", "find_interpreter", "local_python_repo")

def _python_impl(mctx):
    version = ""
    for module in reversed(mctx.modules):  # breadth first from the root: the root's is the last word
        for tag in reversed(module.tags.toolchain):
            version = tag.python_version
        for tag in module.tags.toolchain:
            if tag.is_default:
                version = tag.python_version
        for tag in module.tags.defaults:
            version = tag.python_version or version
    local_python_repo(
        name = "local_python",
        python = find_interpreter(version).path,
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
