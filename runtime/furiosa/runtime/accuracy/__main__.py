"""The command on its own, what the rule npu_accuracy_test runs: ``python -m furiosa.runtime.accuracy @arguments``."""

import sys

from furiosa.enf import leaving
from furiosa.runtime.accuracy.cli import main

if __name__ == "__main__":
    leaving.on_signals()
    sys.exit(main())
