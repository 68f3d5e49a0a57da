"""The bundler on its own: ``python -m furiosa.runtime.bundle pack …``."""

import sys

from furiosa.runtime.cli import bundler_main

sys.exit(bundler_main())
