"""`from python.runfiles import runfiles`, on top of Bazel 7's own runfiles library."""
