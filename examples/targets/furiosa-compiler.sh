#!/bin/sh
# The vendor's compiler as it is installed on the machine that builds: release 0.10 (Bazel compiles again when this file changes).
exec /usr/bin/furiosa-compiler "$@"
