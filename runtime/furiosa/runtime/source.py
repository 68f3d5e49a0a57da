"""From what a user calls a model to its bytes."""

from __future__ import annotations

import os
from typing import NamedTuple

from furiosa.enf import container, files, reader
from furiosa.enf.errors import EnfError
from furiosa.enf.files import Content, FileChanged
from furiosa.enf.reader import Enf
from furiosa.runtime.errors import IncompatibleModel

_USTAR = slice(257, 262)  # where a tar file says that it is one


class Source(NamedTuple):
    """A model file: its bytes, what to call it in a sentence, and its path; None for what came as bytes or of a bundle.

    ``sha256`` is the hex digest that a bundle's manifest states of it.
    """

    data: Content
    name: str
    path: str | None
    sha256: str | None = None

    @property
    def is_enf(self) -> bool:
        """True for an ENF, by content; raises as ``read``."""
        return self._read(slice(4)) == container.MAGIC[:4]

    @property
    def is_bundle(self) -> bool:
        """True for a tar archive, by content; raises as ``read``."""
        return self._read(_USTAR) == b"ustar"

    def read(self) -> bytes:
        """All of it.

        Raises:
            OSError: the file cannot be read.
            IncompatibleModel: it changed since it was opened, or is not what the manifest says.
        """
        data = self._read(slice(None))
        if self.sha256 is not None:
            try:
                reader.compare_digest(data, self.sha256)
            except EnfError as e:
                raise IncompatibleModel(f"{self.name}: {e}") from None
        return data

    def in_memory(self) -> Source:
        """The same, read now; raises as ``read``."""
        return self._replace(data=memoryview(self.read()))

    def load(self, *, wait: bool = True) -> Enf:
        """The program of an ENF; for ``wait`` see ``furiosa.enf.reader.load``.

        Raises:
            OSError: the file cannot be read.
            IncompatibleModel: it must not be run, or changed since it was opened.
        """
        try:
            return reader.load(self.data, wait=wait, sha256=self.sha256)
        except EnfError as e:
            raise IncompatibleModel(f"{self.name}: {e}") from e
        except FileChanged as e:
            raise self._changed(e) from None

    def _read(self, span: slice) -> bytes:
        try:
            return files.read(self.data[span])
        except FileChanged as e:
            raise self._changed(e) from None

    def _changed(self, e: FileChanged) -> IncompatibleModel:
        return IncompatibleModel(f"{self.name}: {e.strerror}")


def read(model: object) -> Source:
    """The bytes of a model: a path, ``"vision.tar#resnet50"`` for a model of a bundle, or bytes.

    A file is opened and not read yet; bytes that might change are copied; a ``Source`` is taken as it is.

    Raises:
        TypeError: something else.
        OSError: the file cannot be opened, or is no regular file.
        BundleError: the bundle cannot be used, or has no such model.
        IncompatibleModel: a bundle without a model's name.
    """
    if isinstance(model, Source):
        return model
    if isinstance(model, (str, os.PathLike)):
        path = os.fspath(model)
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        archive, separator, member = path.rpartition("#")
        if separator and not os.path.exists(path):
            from furiosa.runtime.bundle.reader import Bundle

            bundle = Bundle.open(archive)
            return Source(bundle.enf_bytes(member), path, None, bundle.sha256(member))
        source = Source(files.open_file(path), path, path)
    elif isinstance(model, (bytes, bytearray, memoryview)):
        data = memoryview(model).cast("B")
        source = Source(data if type(data.obj) is bytes else memoryview(bytes(data)), "the model", None)
    elif hasattr(model, "__bytes__"):
        source = Source(memoryview(bytes(model)), "the model", None)
    else:
        raise TypeError(f"model: a path or bytes is expected, not {type(model).__name__}")
    if source.is_bundle:
        raise IncompatibleModel(
            f"{source.name} is a bundle: say which of its models, like 'vision.tar#resnet50'"
        )
    return source
