"""Lets the tests import `generator` when pytest runs outside Bazel."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
