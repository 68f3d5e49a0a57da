"""The comparison on its own, what the rule npu_model_test runs: ``python -m furiosa.runtime.compare @arguments``."""

import sys

from furiosa.enf import leaving
from furiosa.runtime.compare import cli


def main() -> int:
    """Runs the command of this process; returns the exit status."""
    leaving.on_signals()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
