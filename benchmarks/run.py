"""Prints the benchmark tables: compile time, simulation and loading beside the peers, as ratios within the same run.

    pip install . -r benchmarks/requirements.txt && python benchmarks/run.py [--runs 5] [compile simulate load]

Peers: Vela (ethos-u-vela, its default accelerator) compiling TFLite, LiteRT's reference kernels, onnxruntime. Each pair runs in
turn, A B A B, after a warm-up; the figures are medians, the ratios medians of the pairs. Needs the models in ../shared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT.parent / "shared" / "models"
COMPILED = (
    "tiny_resnet8_int8",
    "tiny_kws_dscnn_int8",
    "tiny_vww_mobilenet_int8",
    "tiny_ad_autoencoder_int8",
    "mnistnet_uint8",
    "mobilenet_v2_1.0_224_quant",
    "mobilenet_v2_1.0_224_ptq",
    "movenet_lightning_ptq",
    "deeplabv3_mnv2_dm05_quant",
)
MOBILENET = "mobilenet_v2_1.0_224_ptq"
THREADS = 2

Sample = tuple[float, float]  # seconds, MB of peak memory (0 where it is not measured)


def pair(runs: int, a: Callable[[], Sample], b: Callable[[], Sample]) -> tuple[Sample, Sample, float]:
    """Medians of both and the median ratio a/b of seconds."""
    a(), b()
    samples = [(a(), b()) for _ in range(runs)]
    mid = [tuple(statistics.median(s[side][i] for s in samples) for i in (0, 1)) for side in (0, 1)]
    return mid[0], mid[1], statistics.median(x[0] / y[0] for x, y in samples)


def process(command: list[str], folder: str) -> Callable[[], Sample]:
    """A whole process: wall seconds and peak memory."""

    def once() -> Sample:
        start = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"failed: {' '.join(command)}")
        return time.perf_counter() - start, usage.ru_maxrss / 1024

    return once


def timed(function: Callable[[], object], repeat: int = 1) -> Callable[[], Sample]:
    """A call in this process: seconds a call; what it returns lives until the clock has stopped."""

    def once() -> Sample:
        start = time.perf_counter()
        results = [function() for _ in range(repeat)]
        seconds = time.perf_counter() - start
        del results
        return seconds / repeat, 0.0

    return once


def row(name: str, ours: Sample, peer: Sample, ratio: float, goal: str) -> None:
    memory = f"{ours[1]:.0f} / {peer[1]:.0f} MB" if ours[1] else ""
    print(
        f"| {name} | {ours[0] * 1e3:.1f} ms | {peer[0] * 1e3:.1f} ms | {ratio:.2f} | {goal} | {memory} |",
        flush=True,
    )


def header(title: str, peer: str) -> None:
    print(f"\n## {title}\n\n| | ours | {peer} | ratio | goal | peak memory |\n|---|---|---|---|---|---|")


def scripts(name: str) -> str:
    """A command of this environment."""
    return str(Path(sys.executable).parent / name)


def resnet50(folder: str) -> str:
    path = f"{folder}/resnet50_int8.onnx"
    generator = str(ROOT / "examples" / "models")
    command = [
        sys.executable,
        "-m",
        "generator",
        "--model",
        "resnet50",
        "--precision",
        "int8",
        "--output",
        path,
    ]
    subprocess.run(command, check=True, cwd=generator, env=os.environ | {"PYTHONPATH": generator})
    return path


def bench_compile(runs: int, folder: str) -> None:
    header("Compilation, whole process", "Vela")
    ours = [scripts("furiosa"), "compile", "-o", f"{folder}/out.enf"]
    vela = [scripts("vela"), "--output-dir", f"{folder}/vela"]
    for name in COMPILED:
        path = str(MODELS / f"{name}.tflite")
        row(name, *pair(runs, process([*ours, path], folder), process([*vela, path], folder)), "<= 1")
    mobilenet = process([*vela, str(MODELS / f"{MOBILENET}.tflite")], folder)
    row(
        f"ResNet50 int8 against Vela on {MOBILENET}",
        *pair(runs, process([*ours, resnet50(folder)], folder), mobilenet),
        "<= 3",
    )


def _inputs(sess: object) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    out = []
    for d in sess.inputs():
        dtype = np.dtype(d.numpy_dtype)
        noise = rng.standard_normal(d.shape).astype(np.float32)
        out.append(noise if dtype.kind == "f" else rng.integers(0, 127, d.shape).astype(dtype))
    return out


def bench_simulate(runs: int, folder: str) -> None:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from furiosa.runtime import session

    path = str(MODELS / f"{MOBILENET}.tflite")
    header(f"One inference, {THREADS} threads each", "peer")
    interpreter = Interpreter(
        path, num_threads=THREADS, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    with session.create(path) as sess:
        x = _inputs(sess)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[0])
        result = pair(runs, timed(lambda: sess.run(x), 3), timed(interpreter.invoke))
        row("MobileNetV2 against LiteRT BUILTIN_REF", *result, "<= 0.6")
    path = resnet50(folder)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.intra_op_num_threads = THREADS
    fused = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    with session.create(path) as sess:
        x = _inputs(sess)
        feed = {fused.get_inputs()[0].name: x[0]}
        result = pair(runs, timed(lambda: sess.run(x)), timed(lambda: fused.run(None, feed)))
        row("ResNet50 int8 against onnxruntime, fused int8", *result, "<= 1")


def bench_load(runs: int, folder: str) -> None:
    import onnxruntime

    from furiosa.compiler.pipeline import compile_model
    from furiosa.runtime import session

    header("session.create from an ENF, in process", "onnxruntime, from the int8 model")
    model = resnet50(folder)
    enf = f"{folder}/resnet50.enf"
    Path(enf).write_bytes(compile_model(Path(model).read_bytes()))
    small = f"{folder}/mobilenet.enf"
    Path(small).write_bytes(compile_model((MODELS / f"{MOBILENET}.tflite").read_bytes()))

    def reference() -> object:
        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    row(
        "ResNet50 int8",
        *pair(runs, timed(lambda: session.create(enf)), timed(reference)),
        "<= 0.1",
    )
    ours, peer, ratio = pair(runs, timed(lambda: session.create(small)), timed(reference))
    row("MobileNetV2 (peer: ResNet50 int8)", ours, peer, ratio, "< 5 ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each command")
    parser.add_argument(
        "which", nargs="*", choices=["compile", "simulate", "load", []], help="tables; default all"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.which or ("compile", "simulate", "load"):
            globals()[f"bench_{name}"](arguments.runs, folder)


if __name__ == "__main__":
    main()
