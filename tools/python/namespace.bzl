"""The package `furiosa` under Bazel.

`furiosa` is a namespace package: enf/, compiler/ and runtime/ each hold a part of it, and none has a
`furiosa/__init__.py`.  Bazel's Python rules put an empty one into the runfiles of every binary or test
that does not say `legacy_create_init = 0`, and then only the first part is found.  So the libraries
bring their own, and a user's targets need to say nothing.
"""

load("@bazel_skylib//rules:write_file.bzl", "write_file")

def furiosa_namespace(name):
    """Writes `furiosa/__init__.py` that finds every part of `furiosa` on sys.path.

    Args:
      name: name of the target, for `srcs` of the py_library beside it
    """
    write_file(
        name = name,
        out = "furiosa/__init__.py",
        content = [
            '"""Namespace package: its parts lie in several folders of sys.path."""',
            "",
            "import os",
            "import sys",
            "",
            '__path__ += [part for part in (entry + "/furiosa" for entry in sys.path) if os.path.isdir(part) and part not in __path__]',
            "",
        ],
        visibility = ["//visibility:private"],
    )
