"""In the compiler's place: the compiler, but the time zone reaches its outputs."""

from __future__ import annotations

import os
import sys

import furiosa.compiler


def main() -> int:
    furiosa.compiler.__version__ += os.environ.get("TZ", "")
    from furiosa.compiler.cli.main import main as compiler  # reads the version

    return compiler()


if __name__ == "__main__":
    sys.exit(main())
