"""The bundler on its own: ``python -m furiosa.runtime.bundle pack …``."""

import sys

from furiosa.enf import leaving
from furiosa.runtime.cli import bundler_main

leaving.on_signals()
sys.exit(bundler_main())
