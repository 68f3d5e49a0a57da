"""The command on its own, what the rule npu_accuracy_test runs: ``python -m furiosa.runtime.accuracy @arguments``."""

import sys

from furiosa.enf import leaving
from furiosa.runtime.accuracy import cli


def main() -> int:
    """Runs the command of this process; returns the exit status."""
    leaving.on_signals()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
