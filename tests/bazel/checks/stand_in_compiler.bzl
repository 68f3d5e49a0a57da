"""Compilers in the place of the default one."""

load("@rules_python//python:py_binary.bzl", "py_binary")
load("//furiosa_rules:defs.bzl", "npu_compiler_toolchain")

def registered_compiler(name, testonly = True, **kwargs):
    """A compiler for `--extra_toolchains=…:<name>_toolchain`.

    Args:
      name: first part of the names
      testonly: whether only tests may depend on it
      **kwargs: what npu_compiler_toolchain takes
    """

    # "manual": a build of the test chooses it; //... has the default one
    npu_compiler_toolchain(
        name = name + "_compiler",
        testonly = testonly,
        tags = ["manual"],
        **kwargs
    )
    native.toolchain(
        name = name + "_toolchain",
        testonly = testonly,
        toolchain = name + "_compiler",
        toolchain_type = "//furiosa_rules:toolchain_type",
    )

def stand_in_compiler(name, main, **kwargs):
    """A program with the compiler's own dependencies, as a compiler.

    Args:
      name: first part of the names
      main: the program
      **kwargs: what npu_compiler_toolchain takes
    """
    py_binary(
        name = name,
        testonly = True,
        srcs = [main],
        main = main,
        tags = ["manual"],
        deps = ["//compiler"],
    )
    registered_compiler(name = name, compiler = name, **kwargs)
