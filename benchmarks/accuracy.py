"""Writes docs/accuracy.md: the simulator's outputs against the reference runtimes', element by element.

    PYTHONPATH=enf:compiler:runtime:examples/models python benchmarks/accuracy.py

TFLite models are compared with LiteRT's default kernels, ONNX models with onnxruntime (session.qdqisint8allowed=1). Needs the
models and images in ../shared and the packages of benchmarks/requirements.txt; the example models are generated on the way.
"""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from generator.__main__ import build

from furiosa.compiler.ldfg.coverage import coverage
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.runtime import session

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT.parent / "shared" / "models"
IMAGES = ROOT.parent / "shared" / "images"
TARGETS = ("warboy", "warboy-2pe")
SEEDS = (0, 1, 2)
EXAMPLES = ("tiny", "resnet50", "ssd_mobilenet", "ssd_resnet34")
SLOW = "ssd_resnet34"  # 216 GMACs: one input is enough
REFUSED = "unknown_custom_op.tflite"  # has no reference; its refusal is tested elsewhere


class Row(NamedTuple):
    """One model on one target: outputs compared over all inputs; ``largest`` in LSB for integer outputs.

    ``npu_share`` is that of the multiply-accumulates, or of the operators of a model without any; ``host`` counts the operators
    that run on the host by type.
    """

    model: str
    target: str
    npu_share: float
    host: dict[str, int]
    inputs: int
    elements: int
    differing: int
    largest: float
    same_top1: bool


def reference(path: Path, data: bytes, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of the format's reference runtime."""
    if path.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=data)
        interpreter.allocate_tensors()
        for detail, x in zip(interpreter.get_input_details(), inputs):
            interpreter.set_tensor(detail["index"], x)
        interpreter.invoke()
        return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.log_severity_level = 3
    run = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return run.run(None, {i.name: x for i, x in zip(run.get_inputs(), inputs)})


def inputs_of(sess: session.Session) -> Iterator[list[np.ndarray]]:
    """Seeded noise, and the images where the model has one image input."""
    descriptions = sess.inputs()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        yield [_noise(rng, d.shape, np.dtype(d.numpy_dtype)) for d in descriptions]
    if len(descriptions) == 1 and len(descriptions[0].shape) == 4:
        d = descriptions[0]
        channels_last = d.shape[3] in (1, 3)
        if channels_last or d.shape[1] in (1, 3):
            for path in sorted(IMAGES.glob("*.bmp")) + sorted(IMAGES.glob("*.jpg")):
                yield [_image(path, d.shape, np.dtype(d.numpy_dtype), channels_last)]


def _noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -128), min(info.max, 255), shape, endpoint=True).astype(dtype)


def _image(path: Path, shape: tuple[int, ...], dtype: np.dtype, channels_last: bool) -> np.ndarray:
    from PIL import Image

    height, width, channels = shape[1:] if channels_last else (*shape[2:], shape[1])
    picture = Image.open(path).convert("RGB" if channels == 3 else "L").resize((width, height))
    x = np.asarray(picture, np.uint8).reshape(height, width, channels)
    if dtype == np.int8:
        x = (x.astype(np.int16) - 128).astype(np.int8)
    elif dtype.kind == "f":
        x = ((x.astype(np.float32) - 127.5) / 127.5).astype(dtype)
    return np.ascontiguousarray((x if channels_last else x.transpose(2, 0, 1))[None])


def compare(path: Path, target: str) -> Row:
    """Compiles a model and compares all outputs over all inputs."""
    data = path.read_bytes()
    compilation = Compilation(data, Options(target)).run()
    enf = container.to_bytes(compilation.enf)
    elements = differing = count = 0
    largest, same = 0.0, True
    with session.create(enf) as sess:
        for inputs in inputs_of(sess):
            if SLOW in path.name and count:
                break
            count += 1
            for ours, theirs in zip(sess.run(inputs).numpy(), reference(path, data, inputs), strict=True):
                difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
                elements += difference.size
                differing += int(np.count_nonzero(difference))
                largest = max(largest, float(difference.max(initial=0)))
                same &= bool(ours.size == 0 or np.argmax(ours) == np.argmax(theirs))
    verdicts = compilation.ldfg.verdicts
    host = Counter(op.op_type for op, verdict in verdicts.items() if verdict.placed_on == "host")
    share = coverage(compilation.ldfg).share
    return Row(path.name, target, share, host, count, elements, differing, largest, same)


def example_models(folder: Path) -> list[Path]:
    """The example models, generated."""
    out = []
    for name in EXAMPLES:
        for precision in ("int8", "float32"):
            path = folder / f"example {name} {precision}.onnx"
            path.write_bytes(build(name, precision).SerializeToString(deterministic=True))
            out.append(path)
    return out


def markdown(rows: list[Row]) -> str:
    out = io.StringIO()
    out.write(
        "# Accuracy\n\n"
        "Outputs of the simulator against the source format's reference runtime: LiteRT with its default kernels (XNNPACK) for TFLite,\n"
        "onnxruntime with `session.qdqisint8allowed=1` for ONNX. Every output element is compared, on seeded noise and, where a model\n"
        "takes an image, on four photographs. The NPU's share is that of the multiply-accumulates, of the operators where a model has\n"
        "none; why an operator runs on the host says `furiosa compile -v`. Written by `benchmarks/accuracy.py`; do not edit.\n\n"
        "| model | target | share of the NPU | on the host | inputs | elements compared | differing | largest difference | same top-1 |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    for r in rows:
        host = ", ".join(f"{n} {kind}" for kind, n in sorted(r.host.items()))
        out.write(
            f"| {r.model} | {r.target} | {r.npu_share:.0%} | {host if r.npu_share else 'all'} | {r.inputs} | {r.elements:,} | {r.differing:,} | {r.largest:g} | "
            f"{'yes' if r.same_top1 else 'no'} |\n"
        )
    return out.getvalue()


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        models = [
            p for p in sorted(MODELS.glob("*.*")) if p.suffix in (".tflite", ".onnx") and p.name != REFUSED
        ]
        for path in models + example_models(Path(folder)):
            for target in TARGETS:
                rows.append(compare(path, target))
                print(*rows[-1], flush=True)
    (ROOT / "docs" / "accuracy.md").write_text(markdown(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
