"""Opening, checking and unpacking a bundle, which may come from anybody."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from typing import BinaryIO

from google.protobuf.message import DecodeError

from furiosa.enf import leaving, outputs
from furiosa.enf import reader as enf_reader
from furiosa.enf.errors import EnfError
from furiosa.enf.files import Content, FileChanged, in_memory, open_file
from furiosa.enf.reader import Enf
from furiosa.runtime.bundle import manifest as manifests
from furiosa.runtime.bundle import tar
from furiosa.runtime.bundle.manifest_pb2 import Manifest, Model
from furiosa.runtime.errors import BundleError
from furiosa.runtime.files import copy

MAX_MANIFEST = 16 << 20  # bytes


class Bundle:
    """A bundle whose archive and manifest agree about names and sizes; models are read when they are needed.

    ``manifest`` is the message of manifest.proto, ``files`` the contents by their names.  What only reading every byte
    can show, ``verify``, ``copy`` and ``unpack`` check.
    """

    def __init__(self, data: Content, name: str = "the bundle"):
        """A bundle from its bytes; ``name`` is what sentences call it.

        Raises:
            BundleError: no bundle, a damaged one, one that holds what it may not, or one that changes meanwhile.
        """
        self.name = name
        try:
            entries = list(tar.members(data))
            self.files: dict[str, Content] = {
                m.name: data[m.offset : m.offset + m.size] for m in entries if not m.is_folder
            }
            self.manifest = self._read_manifest()
            self._compare([m.name for m in entries if m.is_folder])
        except BundleError as e:
            raise BundleError(f"{name}: {e.message}") from None
        except FileChanged as e:
            raise BundleError(f"{name}: {e.strerror}") from None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """A bundle from a file, of which only the archive's headers and the manifest are read.

        Raises:
            OSError: the file cannot be opened.
            BundleError: as the constructor.
        """
        return cls(open_file(path), os.fspath(path))

    def _read_manifest(self) -> Manifest:
        for file in (manifests.BINPB_FILE, manifests.JSON_FILE):
            if file not in self.files:
                raise BundleError(f"it has no {file}, so it is no bundle")
            if len(self.files[file]) > MAX_MANIFEST:
                raise BundleError(f"{file} is larger than {MAX_MANIFEST} bytes")
            self.files[file] = memoryview(bytes(self.files[file]))
        try:
            manifest = Manifest.FromString(bytes(self.files[manifests.BINPB_FILE]))
        except DecodeError:
            raise BundleError(f"{manifests.BINPB_FILE} is damaged") from None
        if manifest.format_version != manifests.FORMAT_VERSION:
            raise BundleError(
                f"its format is version {manifest.format_version}; this reader knows {manifests.FORMAT_VERSION}"
            )
        return manifest

    def _compare(self, folders: list[str]) -> None:
        """Refuses an archive that does not hold exactly what its manifest says."""
        wanted = {manifests.BINPB_FILE, manifests.JSON_FILE}
        names = [model.name for model in self.manifest.models]
        if names != sorted(set(names)):
            raise BundleError("the manifest's models are not in order of their names, or one is there twice")
        for model in self.manifest.models:
            manifests.check_name(model.name)
            if model.file != f"{manifests.MODEL_FOLDER}/{model.name}.enf":
                raise BundleError(f"model '{model.name}' is in another place than its name says")
            if model.file not in self.files:
                raise BundleError(f"'{model.file}' is missing")
            if len(self.files[model.file]) != model.size:
                size = len(self.files[model.file])
                raise BundleError(f"'{model.file}' has {size} bytes where the manifest says {model.size}")
            wanted.add(model.file)
        strange = sorted(set(self.files) - wanted) or [f for f in folders if f != manifests.MODEL_FOLDER]
        if strange:
            raise BundleError(f"'{strange[0]}' is not in the manifest")

    @property
    def names(self) -> list[str]:
        """The names of the models, sorted."""
        return [model.name for model in self.manifest.models]

    def enf_bytes(self, name: str) -> Content:
        """The ENF of a model, not read yet; that it is what the manifest says, ``sha256`` tells.

        Raises:
            BundleError: no such model.
        """
        return self.files[self._model(name).file]

    def sha256(self, name: str) -> str:
        """The digest of a model's ENF that the manifest states; raises as ``enf_bytes``."""
        return self._model(name).sha256

    def _model(self, name: str) -> Model:
        for model in self.manifest.models:
            if model.name == name:
                return model
        raise BundleError(f"{self.name} has no model '{name}'; it has {', '.join(self.names) or 'none'}")

    def verify(self, check: Callable[[str, Enf], None] | None = None) -> None:
        """Checks every byte: digests, each ENF by the verifier, and that the manifest says what the ENFs say.

        Args:
            check: called with each model that is sound, what to call it and its ENF; what it raises ends the check.

        Raises:
            BundleError: the first thing that is wrong.
        """
        self._check_json()
        found = Manifest(format_version=self.manifest.format_version)
        for model in self.manifest.models:
            try:
                data = in_memory(self.files[model.file])
                digest = hashlib.sha256(data).hexdigest()
                self._check_digest(model, digest)
                enf = enf_reader.load(data)
            except EnfError as e:
                raise BundleError(f"{self.name}: model '{model.name}': {e}") from e
            except FileChanged as e:
                raise BundleError(f"{self.name}: {e.strerror}") from None
            found.models.append(manifests.describe(model.name, enf, digest))
            if found.models[-1] != model:
                raise BundleError(
                    f"{self.name}: the manifest says something else of model '{model.name}' than its ENF"
                )
            if check is not None:
                check(f"{self.name}: model '{model.name}'", enf)
        if manifests.to_binpb(found) != self.files[manifests.BINPB_FILE]:
            raise BundleError(f"{self.name}: {manifests.BINPB_FILE} holds more than a manifest")

    def _check_json(self) -> None:
        """manifest.json must say what manifest.binpb says, in the very bytes that ``pack`` writes."""
        if self.files[manifests.JSON_FILE] != manifests.to_json(self.manifest):
            raise BundleError(f"{self.name}: {manifests.JSON_FILE} and {manifests.BINPB_FILE} differ")

    def _check_digest(self, model: Model, digest: str) -> None:
        if digest != model.sha256:
            raise BundleError(f"{self.name}: '{model.file}' is damaged: its SHA-256 is not the manifest's")

    def copy(self, file: str, out: BinaryIO) -> None:
        """Writes one of ``files``; after the last byte it is known to be what the manifest says.

        Raises:
            OSError: it cannot be written.
            BundleError: a digest does not match, or the bundle changes meanwhile.
        """
        try:
            digest = copy(self.files[file], out)
        except FileChanged as e:
            raise BundleError(f"{self.name}: {e.strerror}") from None
        for model in self.manifest.models:
            if model.file == file:
                self._check_digest(model, digest)

    def unpack(self, folder: str | os.PathLike[str]) -> None:
        """Writes the bundle's files to a folder that does not exist yet, or is empty; all of them or nothing.

        A folder that exists keeps its mode and owner; it may be a mounted volume or behind a symbolic link. In it
        ``manifest.json`` comes last: where that is, all is.

        Raises:
            FileExistsError: the folder has something in it, or another process is unpacking to it.
            OSError: it cannot be written.
            BundleError: as ``copy``.
        """
        exists = os.path.lexists(folder)
        if exists:
            _check_empty(os.fspath(folder))
        folder = os.path.realpath(folder)
        self._check_json()
        with outputs.temporary_folder(os.path.join(folder, "bundle") if exists else folder) as temporary:
            os.mkdir(os.path.join(temporary, manifests.MODEL_FOLDER))
            for name in self.files:
                with outputs.replacing(os.path.join(temporary, name)) as f:
                    self.copy(name, f)
            with leaving.held():
                _put(temporary, folder, exists)


def _put(temporary: str, folder: str, exists: bool) -> None:
    """Puts a folder, or what is in it, in its place."""
    if exists:
        _move_all(temporary, folder)
        return
    try:
        os.rename(temporary, folder)
    except OSError as e:
        if e.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise FileExistsError(errno.EEXIST, "another process has written it meanwhile", folder) from None


def _check_empty(folder: str) -> None:
    """Refuses a folder that has something in it; what a run that was killed left there is removed."""
    if not os.path.isdir(folder):
        raise FileExistsError(errno.EEXIST, "it exists and is no folder, nor a link to one", folder)
    # what a new file system has at its top
    found = [name for name in sorted(os.listdir(folder)) if name != "lost+found"]
    left = [name for name in found if not outputs.abandoned(os.path.join(folder, name))]
    if not left:
        return
    ours = all(outputs.is_temporary(name) for name in left)
    raise FileExistsError(
        errno.EEXIST,
        "another process is unpacking to it" if ours else f"it is not empty: '{left[0]}' is in it",
        folder,
    )


def _move_all(source: str, folder: str) -> None:
    """Moves what is in one folder to another of the same file system; after an error nothing of it stays there."""
    names = sorted(os.listdir(source), key=lambda name: (name == manifests.JSON_FILE, name))
    moved: list[str] = []
    try:
        for name in names:
            target = os.path.join(folder, name)
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "another process has written to it meanwhile", folder)
            os.rename(os.path.join(source, name), target)
            moved.append(name)
    except BaseException:
        for name in reversed(moved):
            os.rename(os.path.join(folder, name), os.path.join(source, name))
        raise
