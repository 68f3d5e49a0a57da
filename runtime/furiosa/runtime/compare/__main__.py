"""The comparison on its own, what the rule npu_model_test runs: ``python -m furiosa.runtime.compare @arguments``."""

import sys

from furiosa.enf import leaving
from furiosa.runtime.compare.cli import main

if __name__ == "__main__":
    leaving.on_signals()
    sys.exit(main())
