"""Targets: seed files, how they are damaged, and what may come of a file: success, or one of the documented errors."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.dump.dump import dump
from furiosa.compiler.errors import CompileError
from furiosa.compiler.pipeline import STAGES, Compilation, Options, compile_model
from furiosa.compiler.report.report import report, to_json
from furiosa.enf import comparison, container, enf_pb2, reader
from furiosa.enf import dump as enf_dump
from furiosa.enf.errors import EnfError
from furiosa.enf.target import TARGETS
from furiosa.runtime.bundle import manifest as manifests
from furiosa.runtime.bundle import tar
from furiosa.runtime.bundle.manifest_pb2 import Manifest
from furiosa.runtime.bundle.reader import Bundle
from furiosa.runtime.errors import BundleError
from furiosa.runtime.session import Session
from tests.fuzz import mutate
from tests.fuzz.models import onnx_files, tflite_files

CODES = (2, 4, 5, 6, 7, 8, 12)  # docs/cli.md
MAX_RUN = 64 << 20  # bytes of DRAM of a program that is run, too

_MESSAGES = {
    "metadata": enf_pb2.Metadata,
    "interface": enf_pb2.Interface,
    "plan": enf_pb2.Plan,
    "memory": enf_pb2.MemoryPlan,
    "debug": enf_pb2.DebugMap,
}


class Target(NamedTuple):
    """What is fuzzed: whole files, a way to damage one by its fields, and what must hold of any file."""

    seeds: Callable[[], list[bytes]]
    change: Callable[[bytes, random.Random], bytes]
    check: Callable[[bytes, int], str]


def case(target: str, number: int) -> bytes:
    """The file of a case; one in three is damaged by its bytes, the others by their fields."""
    rng = random.Random(f"{target}:{number}")
    files = TARGETS_BY_NAME[target].seeds()
    data = rng.choice(files)
    if rng.random() < 1 / 3:
        return mutate.damage(data, rng.choice(files), rng)
    return TARGETS_BY_NAME[target].change(data, rng)


def outcome(target: str, number: int, data: bytes) -> str:
    """What became of a file, in a word.

    Raises:
        Exception: anything that is not documented is a finding.
    """
    return TARGETS_BY_NAME[target].check(data, number)


# Models.


def check_model(data: bytes, number: int) -> str:
    """Compiles, or is refused with a documented code and a sentence; what it makes is sound.

    The options go with the number: case 0 has the default ones.
    """
    options = Options(TARGETS[(number + 1) % 2], (1, 1, 2, 1, 3)[number % 5])
    try:
        compilation = Compilation(data, options).run()
    except CompileError as e:
        assert e.code in CODES, f"code {e.code}"
        assert str(e).strip() and "\n" not in str(e), repr(str(e))
        return f"code {e.code}"
    enf = container.to_bytes(compilation.enf)
    reader.load(enf)
    to_json(report(compilation, "name", len(enf)))
    for ir in STAGES[:-1]:
        for line in dump(compilation, ir):
            line.encode("utf-8", "backslashreplace")
    return "compiled"


def change_onnx(data: bytes, rng: random.Random) -> bytes:
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        mutate.change_message(model, rng)
    return model.SerializeToString(deterministic=True)


def change_tflite(data: bytes, rng: random.Random) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for _ in range(rng.choice((1, 1, 2, 5))):
        mutate.change_object(model, rng)
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except Exception:  # noqa: BLE001 - a value that a flatbuffer cannot hold
        return mutate.damage(data, data, rng)
    return bytes(builder.Output())


# ENF and bundles.


@cache
def enf_files() -> list[bytes]:
    """Programs for both targets, with and without host clusters."""
    models = [*onnx_files()[-6:], *tflite_files()[-3:], *onnx_files()[0:18:3], *tflite_files()[0:23:4]]
    return [compile_model(m, target_npu=TARGETS[i % 2]) for i, m in enumerate(models)]


def change_enf(data: bytes, rng: random.Random) -> bytes:
    """A container with sound checksums around sections that are not."""
    enf = memoryview(data)
    sections = {s.name: bytes(enf[s.offset : s.offset + s.size]) for s in container.read_table(enf)}
    damaged: set[str] = set()  # which need be no messages any more
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice([*sections, "code", "code"])
        if name in _MESSAGES and name not in damaged and rng.random() < 0.8:
            message = _MESSAGES[name].FromString(sections[name])
            mutate.change_message(message, rng)
            sections[name] = message.SerializeToString(deterministic=True)
        else:
            sections[name] = mutate.damage(sections[name], sections["code"], rng)
            damaged.add(name)
    return container.to_bytes(sections)


def check_enf(data: bytes, number: int) -> str:
    """Loads, can be shown and, without host clusters, be run; or is refused by the verifier."""
    try:
        enf = reader.load(data)
    except EnfError as e:
        assert str(e).strip() and "\n" not in str(e), repr(str(e))
        return type(e).__name__
    list(enf_dump.summary(enf))
    changes = comparison.compare(_typical_enf(), enf)
    list(comparison.text(changes))
    json.dumps(comparison.as_json(changes), allow_nan=False)
    if enf.metadata.dram_bytes > MAX_RUN or any(s.WhichOneof("step") != "commands" for s in enf.plan.steps):
        return "loaded"
    with Session(enf) as session:
        session.run([np.zeros(d.shape, d.numpy_dtype) for d in session.inputs()])
    return "ran"


@cache
def _typical_enf() -> reader.Enf:
    return reader.load(enf_files()[0])


@cache
def bundle_files() -> list[bytes]:
    """A bundle of two small programs."""
    models = {"a": enf_files()[5], "b": enf_files()[-1]}
    return [_bundle(models, Manifest(format_version=manifests.FORMAT_VERSION))]


def _bundle(models: dict[str, bytes], manifest: Manifest) -> bytes:
    import hashlib

    for name, data in models.items():
        manifest.models.append(manifests.describe(name, reader.load(data), hashlib.sha256(data).hexdigest()))
    files = {f"{manifests.MODEL_FOLDER}/{name}.enf": data for name, data in models.items()}
    return _archive(manifests.to_binpb(manifest), manifests.to_json(manifest), files)


def _archive(binpb: bytes, text: bytes, files: dict[str, bytes]) -> bytes:
    head = {manifests.BINPB_FILE: binpb, manifests.JSON_FILE: text}
    out = b"".join(tar.header(n, len(d)) + d + tar.padding(len(d)) for n, d in {**head, **files}.items())
    return out + tar.end(len(out))


def change_bundle(data: bytes, rng: random.Random) -> bytes:
    """A sound archive with another manifest, or of other files."""
    view = memoryview(data)
    files = {m.name: bytes(view[m.offset : m.offset + m.size]) for m in tar.members(view) if not m.is_folder}
    manifest = Manifest.FromString(files.pop(manifests.BINPB_FILE))
    text = files.pop(manifests.JSON_FILE)
    for _ in range(rng.choice((1, 1, 3))):
        if rng.random() < 0.7:
            mutate.change_message(manifest, rng)
        else:
            name = rng.choice(list(files))
            files[rng.choice((name, "models/c.enf"))] = mutate.damage(files[name], data[:4096], rng)
    if rng.random() < 0.5:
        text = manifests.to_json(manifest)
    return _archive(manifest.SerializeToString(deterministic=True), text, files)


def check_bundle(data: bytes, number: int) -> str:
    try:
        bundle = Bundle(memoryview(data))
        for name in bundle.names:
            bundle.enf_bytes(name)
        bundle.verify()
    except BundleError as e:
        assert str(e).strip() and "\n" not in str(e), repr(str(e))
        return "BundleError"
    return "verified"


TARGETS_BY_NAME = {
    "onnx": Target(onnx_files, change_onnx, check_model),
    "tflite": Target(tflite_files, change_tflite, check_model),
    "enf": Target(enf_files, change_enf, check_enf),
    "bundle": Target(bundle_files, change_bundle, check_bundle),
}
