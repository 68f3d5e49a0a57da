"""The bundler on its own: ``python -m furiosa.runtime.bundle pack …``."""

import sys

from furiosa.enf import leaving
from furiosa.runtime.cli import bundler_main


def main() -> int:
    """Runs the command of this process; returns the exit status."""
    leaving.on_signals()
    return bundler_main()


if __name__ == "__main__":
    sys.exit(main())
