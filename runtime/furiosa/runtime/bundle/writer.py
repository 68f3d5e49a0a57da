"""Packing ENFs into a bundle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from furiosa.enf import reader as enf_reader
from furiosa.enf.errors import EnfError
from furiosa.enf.files import open_file
from furiosa.enf.outputs import replacing
from furiosa.runtime.bundle import manifest as manifests
from furiosa.runtime.bundle import tar
from furiosa.runtime.bundle.manifest_pb2 import Manifest
from furiosa.runtime.errors import BundleError
from furiosa.runtime.files import copy


def pack(output: str | os.PathLike[str], models: Iterable[tuple[str, str | os.PathLike[str]]]) -> Manifest:
    """Writes a bundle of (name, path of an ENF) and returns its manifest.

    The bytes depend on nothing but the ENFs and their names, not on their order.  Every ENF is verified.

    Raises:
        BundleError: no models, a bad name, a name twice, or a file that is no sound ENF.
        OSError: a file cannot be read or written.
    """
    paths: dict[str, str | os.PathLike[str]] = {}
    manifest = Manifest(format_version=manifests.FORMAT_VERSION)
    for name, path in sorted(models):
        manifests.check_name(name)
        file = f"{manifests.MODEL_FOLDER}/{name}.enf"
        if file in paths:
            raise BundleError(f"two models are named '{name}'")
        paths[file] = path
        try:
            enf = enf_reader.load_file(path)
        except EnfError as e:
            raise BundleError(f"model '{name}', {os.fspath(path)}: {e}") from e
        manifest.models.append(manifests.describe(name, enf, hashlib.sha256(enf.data).hexdigest()))
    if not paths:
        raise BundleError("a bundle needs at least one model")
    with replacing(output) as f:
        for name, data in (
            (manifests.BINPB_FILE, manifests.to_binpb(manifest)),
            (manifests.JSON_FILE, manifests.to_json(manifest)),
        ):
            f.write(tar.header(name, len(data)))
            f.write(data)
            f.write(tar.padding(len(data)))
        f.write(tar.header(manifests.MODEL_FOLDER, 0, is_folder=True))
        for model in manifest.models:
            f.write(tar.header(model.file, model.size))
            if copy(open_file(paths[model.file]), f) != model.sha256:
                raise BundleError(
                    f"model '{model.name}', {os.fspath(paths[model.file])}: it changes meanwhile"
                )
            f.write(tar.padding(model.size))
        f.write(tar.end(f.tell()))
    return manifest
