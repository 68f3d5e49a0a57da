"""Packing ENFs into a bundle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from furiosa.enf import reader as enf_reader
from furiosa.enf.errors import EnfError
from furiosa.runtime.bundle import manifest as manifests
from furiosa.runtime.bundle import tar
from furiosa.runtime.bundle.manifest_pb2 import Manifest
from furiosa.runtime.errors import BundleError
from furiosa.runtime.files import map_file, replacing


def pack(output: str | os.PathLike[str], models: Iterable[tuple[str, str | os.PathLike[str]]]) -> Manifest:
    """Writes a bundle of (name, path of an ENF) and returns its manifest.

    The bytes depend on nothing but the ENFs and their names, not on their order.  Every ENF is verified.

    Raises:
        BundleError: no models, a bad name, a name twice, or a file that is no sound ENF.
        OSError: a file cannot be read or written.
    """
    contents: dict[str, memoryview] = {}
    manifest = Manifest(format_version=manifests.FORMAT_VERSION)
    for name, path in sorted(models):
        manifests.check_name(name)
        file = f"{manifests.MODEL_FOLDER}/{name}.enf"
        if file in contents:
            raise BundleError(f"two models are named '{name}'")
        contents[file] = data = map_file(os.fspath(path))
        try:
            enf = enf_reader.load(data)
        except EnfError as e:
            raise BundleError(f"model '{name}', {os.fspath(path)}: {e}") from e
        manifest.models.append(manifests.describe(name, enf, hashlib.sha256(data).hexdigest()))
    if not contents:
        raise BundleError("a bundle needs at least one model")
    head = {
        manifests.BINPB_FILE: manifests.to_binpb(manifest),
        manifests.JSON_FILE: manifests.to_json(manifest),
    }
    with replacing(output) as f:
        for name, data in {**head, manifests.MODEL_FOLDER: None, **contents}.items():
            if data is None:
                f.write(tar.header(name, 0, is_folder=True))
            else:
                f.write(tar.header(name, len(data)))
                f.write(data)
                f.write(tar.padding(len(data)))
        f.write(tar.end(f.tell()))
    return manifest
