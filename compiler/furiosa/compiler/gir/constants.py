"""The constants section as it grows."""

from __future__ import annotations

import numpy as np

from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.gir.tile import ALIGNMENT, Buffer
from furiosa.enf.isa import Space


class ConstantPool:
    """The constants section: every constant once, the constants of one operator next to each other."""

    def __init__(self) -> None:
        self.buffer = Buffer("constants", 0, Space.CONST)
        self.pieces: list[tuple[int, np.ndarray]] = []
        self._placed: dict[Tensor, int] = {}
        self._small: dict[bytes, int] = {}

    def place(self, t: Tensor) -> int:
        """The byte offset of a constant in the section."""
        if t not in self._placed:
            data = np.ascontiguousarray(t.data)
            if data.nbytes <= 4096:  # tables repeat
                key = data.tobytes()
                at = self._small.get(key)
                if at is None:
                    at = self._small[key] = self._append(data)
            else:
                at = self._append(data)
            self._placed[t] = at
        return self._placed[t]

    def _append(self, data: np.ndarray) -> int:
        at = -(-self.buffer.size // ALIGNMENT) * ALIGNMENT
        self.buffer.size = at + data.nbytes
        self.pieces.append((at, data))
        return at
