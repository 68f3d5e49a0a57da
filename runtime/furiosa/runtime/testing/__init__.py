"""What the tests of the runtime share."""

from __future__ import annotations

import os
import sys


def own_path() -> dict[str, str]:
    """An environment in which another Python process finds what this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
