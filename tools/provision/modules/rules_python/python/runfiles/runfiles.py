"""The names of rules_python's runfiles library."""

from bazel_tools.tools.python.runfiles import runfiles as _runfiles

Create = _runfiles.Create
CreateDirectoryBased = _runfiles.CreateDirectoryBased
CreateManifestBased = _runfiles.CreateManifestBased
