"""TABLE_LOOKUP."""

from __future__ import annotations

import numpy as np

from furiosa.runtime.simulator.kernels.blocks import blocks


def table_lookup(input: np.ndarray, table: np.ndarray, output: np.ndarray) -> None:
    """output = table[0, input], the input's byte taken as an unsigned number; or table[c, input] at the last index c."""
    if len(table) == 1:
        # bytes.translate is several times faster than numpy's indexing with bytes
        looked_up = input.tobytes().translate(table.tobytes())
        np.copyto(output, np.frombuffer(looked_up, output.dtype).reshape(output.shape))
        return
    entries = table.reshape(-1)
    first = np.broadcast_to(np.arange(0, entries.size, 256, np.int32), input.shape)
    for x, at, out in blocks(input, first, output):
        out[...] = entries[at + x.view(np.uint8)].view(out.dtype)
