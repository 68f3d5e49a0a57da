"""The extension by which `bazel mod tidy` gets its buildozer: here an empty repository."""

def _empty_impl(rctx):
    rctx.file("BUILD.bazel")

_empty = repository_rule(implementation = _empty_impl)

def _buildozer_binary_impl(_mctx):
    _empty(name = "buildozer_binary")

buildozer_binary = module_extension(implementation = _buildozer_binary_impl)
