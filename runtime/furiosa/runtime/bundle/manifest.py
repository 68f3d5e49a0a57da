"""The manifest: what a bundle says of its models, as a message and as JSON."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

from furiosa.enf import dtypes
from furiosa.enf.enf_pb2 import TensorDescriptor
from furiosa.enf.reader import Enf
from furiosa.runtime.bundle.manifest_pb2 import Manifest, Model, Tensor
from furiosa.runtime.errors import BundleError

FORMAT_VERSION = 1
JSON_FILE, BINPB_FILE = "manifest.json", "manifest.binpb"
MODEL_FOLDER = "models"
MAX_NAME = 80  # characters; models/<name>.enf must fit a tar header

_MODEL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", re.ASCII)


def check_name(name: str) -> None:
    """Refuses what cannot name a model: it becomes a file's name, and what follows # in ``vision.tar#resnet50``.

    Raises:
        BundleError: the name is empty or too long, has other characters, or begins with a dot.
    """
    if len(name) > MAX_NAME or not _MODEL_NAME.fullmatch(name):
        raise BundleError(
            f"{name!r} cannot name a model in a bundle: use up to {MAX_NAME} letters, digits, '-', '_' and '.', "
            "not beginning with '.'"
        )


def describe(name: str, enf: Enf, sha256: str) -> Model:
    """The entry of one model; ``sha256`` is that of the whole ENF.

    Raises:
        BundleError: a bad name, or a number in the ENF that is not finite.
    """
    check_name(name)
    metadata = enf.metadata
    model = Model(
        name=name,
        file=f"{MODEL_FOLDER}/{name}.enf",
        size=enf.size,
        sha256=sha256,
        target_npu=metadata.target_npu,
        batch_size=metadata.batch_size,
        compiler_version=metadata.compiler_version,
        source_format=metadata.source_format,
        source_sha256=metadata.source_sha256.hex(),
        inputs=map(_tensor, enf.interface.inputs),
        outputs=map(_tensor, enf.interface.outputs),
        sram_peak_bytes=metadata.sram_peak_bytes,
        dram_bytes=metadata.dram_bytes,
        latency_us=metadata.latency_us,
    )
    if metadata.HasField("selection"):
        model.selection.ParseFromString(metadata.selection.SerializeToString())  # has the same fields
    coverage = model.operator_coverage
    if metadata.total_macs and not metadata.unknown_macs:
        coverage.mac_share = metadata.npu_macs / metadata.total_macs
    coverage.unknown_macs = metadata.unknown_macs
    coverage.npu_macs, coverage.total_macs = metadata.npu_macs, metadata.total_macs
    coverage.npu_operators, coverage.host_operators = metadata.npu_operators, metadata.host_operators
    scales = (t.quantization.scale for t in (*model.inputs, *model.outputs))
    if not all(map(math.isfinite, (model.latency_us, *scales))):
        raise BundleError(f"model '{name}': its latency or a scale is not a finite number")
    return model


def _tensor(d: TensorDescriptor) -> Tensor:
    tensor = Tensor(name=d.name, dtype=dtypes.NAME[d.dtype], shape=d.shape, format=d.axes)
    if d.HasField("quantization"):
        tensor.quantization.scale = d.quantization.scale
        tensor.quantization.zero_point = d.quantization.zero_point
    return tensor


def to_binpb(manifest: Manifest) -> bytes:
    """The manifest as manifest.binpb."""
    return manifest.SerializeToString(deterministic=True)


def to_json(manifest: Manifest) -> bytes:
    """The manifest as manifest.json: every field by its name, null for a message that is not there."""
    return json.dumps(_plain(manifest), indent=2).encode("ascii") + b"\n"


def _plain(message: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        convert = {field.CPPTYPE_MESSAGE: _plain, field.CPPTYPE_FLOAT: _shortest}.get(
            field.cpp_type, lambda v: v
        )
        if field.is_repeated:
            out[field.name] = [convert(v) for v in value]
        elif field.message_type and not message.HasField(field.name):
            out[field.name] = None
        else:
            out[field.name] = convert(value)
    return out


def _shortest(value: float) -> float:
    """The number of fewest digits that is the same float32."""
    packed = struct.pack("<f", value)
    candidates = (float(f"{value:.{digits}g}") for digits in range(6, 10))  # 9 digits tell any two apart
    return next(c for c in candidates if _as_float32(c) == packed)


def _as_float32(value: float) -> bytes | None:
    try:
        return struct.pack("<f", value)
    except OverflowError:  # rounded up beyond the largest float32
        return None
