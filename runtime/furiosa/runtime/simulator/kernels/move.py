"""LOAD, STORE, COPY and FILL."""

from __future__ import annotations

import numpy as np


def copy(source: np.ndarray, destination: np.ndarray) -> None:
    """Copies a tile; any strides."""
    np.copyto(destination, source)


def fill(output: np.ndarray, *, value: int) -> None:
    """Sets every byte of a tile."""
    output.view(np.uint8)[...] = value
