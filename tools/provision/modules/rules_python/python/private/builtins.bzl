"""Bazel 7's builtin providers under other names: a .bzl file cannot rebind a builtin to itself."""

builtin_py_info = PyInfo
builtin_py_runtime_info = PyRuntimeInfo
