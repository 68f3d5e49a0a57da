"""Targets: seed files, how they are damaged, and what may come of a file: success, or one of the documented errors."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from generator.__main__ import build

from furiosa.compiler.dump.dump import dump
from furiosa.compiler.errors import CompileError
from furiosa.compiler.frontend.onnx import testing as onnx_testing
from furiosa.compiler.frontend.tflite import testing as tflite_testing
from furiosa.compiler.pipeline import STAGES, Compilation, Options, compile_model
from furiosa.compiler.report.report import report, to_json
from furiosa.enf import container, enf_pb2, reader
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


@cache
def onnx_files() -> list[bytes]:
    """The tiny network in both precisions, and models of what it lacks: shape arithmetic, control flow, contrib operators."""
    ints, one = onnx_testing.tensor, onnx_testing.model
    return [
        build("tiny", "int8").SerializeToString(deterministic=True),
        build("tiny", "float32").SerializeToString(deterministic=True),
        one(
            "g (float[N, 4, 6] x) => (float[N, 24] y) { s = Shape(x)  n = Slice(s, a, b)  t = Concat<axis = 0>(n, m)"
            "  r = Reshape(x, t)  c = ConstantOfShape(t)  e = Expand(c, t)  p = Pad(e, q)  k = Tile(p, o)  y = Add(r, k) }",
            ints("a", [0], "int64"), ints("b", [1], "int64"), ints("m", [24], "int64"), ints("q", [0, 0, 0, 0], "int64"),
            ints("o", [1, 1], "int64"),
        ),
        one(
            "g (float[1, 2, 4, 4] x) => (float y) { r = Resize<mode = \"nearest\">(x, , , i)  f = Flatten(r)  n = Range(z, l, o)"
            "  h = Cast<to = 1>(n)  m = ReduceSum<keepdims = 0>(f)  w = ReduceMax<keepdims = 0>(h)  y = Add(m, w) }",
            ints("i", [1, 2, 8, 8], "int64"), ints("z", 0, "int64"), ints("l", 9, "int64"), ints("o", 1, "int64"),
        ),
        one(
            "g (float[4] x, bool c) => (float[4] y) { y = If (c) <then_branch = t () => (float[4] a) { a = Relu(x) },"
            " else_branch = e () => (float[4] b) { b = Neg(x) }> }"
        ),
        one(
            "g (float[1, 4] x) => (float[1, 4] y) { q = QuantizeLinear(x, s, z)  a = com.microsoft.QLinearAdd(q, s, z, q, s, z, s, z)"
            "  d = DequantizeLinear(a, s, z)  y = Softmax(d) }",
            ints("s", 0.05, "float32"), ints("z", 3, "uint8"), com_microsoft=1,
        ),
    ]  # fmt: skip


def change_onnx(data: bytes, rng: random.Random) -> bytes:
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        mutate.change_message(model, rng)
    return model.SerializeToString(deterministic=True)


@cache
def tflite_files() -> list[bytes]:
    """A quantised network; shape arithmetic, resizes and moves; control flow."""
    o = tflite_testing.options
    moves = tflite_testing.ModelBuilder()
    x = moves.tensor("x", [1, 4, 4, 2], scale=0.5, zero_point=3)
    sizes = [
        moves.tensor(n, list(np.shape(v)), "int32", v)
        for n, v in (("size", [8, 8]), ("begin", [0, 1, 0, 0]), ("end", [1, 7, 8, 2]), ("step", [1, 2, 1, 1]),
                     ("pads", [[0, 0], [1, 1], [0, 0], [0, 0]]), ("times", [1, 1, 2, 1]), ("shape", [1, 5, 32]))
    ]  # fmt: skip
    shapes = [[1, 8, 8, 2], [1, 3, 8, 2], [1, 5, 8, 2], [1, 5, 16, 2], [1, 5, 32], [3]]
    made = [moves.tensor(f"t{i}", s, scale=0.5, zero_point=3) for i, s in enumerate(shapes[:-1])]
    moves.operator("RESIZE_NEAREST_NEIGHBOR", [x, sizes[0]], [made[0]], o("ResizeNearestNeighborOptions"))
    moves.operator("STRIDED_SLICE", [made[0], *sizes[1:4]], [made[1]], o("StridedSliceOptions"))
    moves.operator("PAD", [made[1], sizes[4]], [made[2]], o("PadOptions"))
    moves.operator("TILE", [made[2], sizes[5]], [made[3]])
    moves.operator("RESHAPE", [made[3], sizes[6]], [made[4]], o("ReshapeOptions", newShape=[1, 5, 32]))
    y = moves.tensor("y", [1, 5, 32], "float32")
    moves.operator("DEQUANTIZE", [made[4]], [y])
    flow = tflite_testing.ModelBuilder()
    condition, a, b = (
        flow.tensor("c", [1], "bool"),
        flow.tensor("a", [4], "float32"),
        flow.tensor("b", [4], "float32"),
    )
    flow.operator("IF", [condition, a], [b], o("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2))
    for name in ("RELU", "NEG"):
        graph = flow.subgraph()
        graph.inputs, graph.outputs = [0], [1]
        flow.operator(name, [flow.tensor("p", [4], "float32")], [flow.tensor("q", [4], "float32")])
    return [
        tflite_testing.conv_model(np.random.default_rng(0)),
        moves.build([x], [y]),
        flow.build([condition, a], [b]),
    ]


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
    models = [onnx_files()[0], onnx_files()[5], tflite_files()[0], tflite_files()[1]]
    return [compile_model(m, target_npu=t) for m in models for t in TARGETS]


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
    if enf.metadata.dram_bytes > MAX_RUN or any(s.WhichOneof("step") != "commands" for s in enf.plan.steps):
        return "loaded"
    with Session(enf) as session:
        session.run([np.zeros(d.shape, d.numpy_dtype) for d in session.inputs()])
    return "ran"


@cache
def bundle_files() -> list[bytes]:
    """A bundle of two small programs."""
    models = {"a": enf_files()[2], "b": enf_files()[6]}
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
