"""The TFLite file that a graph was imported from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.tables import Table


@dataclass(slots=True, eq=False)
class Source:
    """What a host cluster is cut out of: the decoded Model table, the bytes of the file, and which subgraph was imported.

    ``open`` are numbers of tensors whose shape only the runtime finds: models that are cut out keep what the file says of it.
    """

    model: Table
    data: memoryview
    subgraph: int
    open: set[int] = field(default_factory=set)

    def buffer(self, index: int, where: str) -> np.ndarray | None:
        """The bytes of a buffer, uint8 [n], or None if it is empty.

        Raises:
            InvalidModel: there is no such buffer, or it leads out of the file; ``where`` names who refers to it.
        """
        buffers = self.model["buffers"]
        if index == 0:  # by convention the empty buffer
            return None
        if index >= len(buffers):
            raise InvalidModel(f"{where} refers to buffer {index}, but the model has {len(buffers)} buffers")
        buffer = buffers[index]
        if len(buffer["data"]):
            return buffer["data"]
        if buffer["offset"] > 1:  # 1 is a placeholder
            return self.behind(buffer["offset"], buffer["size"], where)
        return None

    def behind(self, offset: int, size: int, where: str) -> np.ndarray:
        """Bytes that lie behind the flatbuffer, as in a file beyond 2 GiB."""
        if size > len(self.data) - offset:
            raise InvalidModel(f"{where} leads out of the file (offset {offset}, {size} bytes)")
        return np.frombuffer(self.data, np.uint8, size, offset)
