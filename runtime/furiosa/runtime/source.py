"""From what a user calls a model to its bytes."""

from __future__ import annotations

import os
from typing import NamedTuple

from furiosa.enf import container
from furiosa.runtime.errors import IncompatibleModel
from furiosa.runtime.files import map_file

_USTAR = slice(257, 262)  # where a tar file says that it is one


class Source(NamedTuple):
    """A model file: its bytes, what to call it in a sentence, and the folder for external data."""

    data: memoryview
    name: str
    folder: str | None

    @property
    def is_enf(self) -> bool:
        """True for an ENF, by content."""
        return bytes(self.data[:4]) == container.MAGIC[:4]


def read(model: object) -> Source:
    """The bytes of a model: a path, ``"vision.tar#resnet50"`` for a model of a bundle, or bytes.

    A file is mapped and not read.

    Raises:
        TypeError: something else.
        OSError: the file cannot be opened.
        BundleError: the bundle cannot be used, or has no such model.
        IncompatibleModel: a bundle without a model's name.
    """
    if isinstance(model, (str, os.PathLike)):
        path = os.fspath(model)
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        archive, separator, member = path.rpartition("#")
        if separator and not os.path.exists(path):
            from furiosa.runtime.bundle.reader import Bundle

            return Source(Bundle.open(archive).enf_bytes(member), path, None)
        source = Source(map_file(path), path, os.path.dirname(os.path.abspath(path)))
    elif isinstance(model, (bytes, bytearray, memoryview)):
        source = Source(memoryview(model).cast("B"), "the model", None)
    elif hasattr(model, "__bytes__"):
        source = Source(memoryview(bytes(model)), "the model", None)
    else:
        raise TypeError(f"model: a path or bytes is expected, not {type(model).__name__}")
    if bytes(source.data[_USTAR]) == b"ustar":
        raise IncompatibleModel(
            f"{source.name} is a bundle: say which of its models, like 'vision.tar#resnet50'"
        )
    return source
