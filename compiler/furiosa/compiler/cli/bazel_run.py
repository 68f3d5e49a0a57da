"""The command ``furiosa`` under ``bazel run``, which starts it in its own folder: paths are meant from the user's folder."""

from __future__ import annotations

import os
import sys

from furiosa.compiler.cli.main import main

if __name__ == "__main__":
    os.chdir(os.environ.get("BUILD_WORKING_DIRECTORY", "."))
    sys.exit(main())
