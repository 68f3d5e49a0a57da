"""Prints how long models of many operators take to compile, and how much memory: chains of small operators, and of NPU and host in turn.

    python benchmarks/chains.py [--kinds conv,pool,qlinear,alternating] [--counts 1000,4000,20000,100000] [--seconds 300]

Needs the wheels of tools/python.  Each is compiled by a process of its own, without the trial of host clusters; docs/scale.md
holds the results.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent
SHAPE = (1, 4, 4, 4)
CODE = "import sys; from furiosa.compiler.cli.main import main; sys.exit(main(sys.argv[1:]))"

# one operator of a chain between DequantizeLinear and QuantizeLinear: its type, further inputs and attributes
KINDS = {
    "conv": [("Conv", ["w"], {"kernel_shape": [1, 1]})],
    "pool": [("MaxPool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})],
    "qlinear": [("QLinearConv", [], {"kernel_shape": [1, 1]})],  # without operators between
    "alternating": [("Conv", ["w"], {"kernel_shape": [1, 1]}), ("CumSum", ["axis"], {})],
}


def model(kind: str, count: int) -> bytes:
    """A chain of ``count`` operators, each with its quantisation."""
    constants = {
        "s": np.float32(0.5),
        "z": np.int8(0),
        "axis": np.int64(2),
        "wq": np.eye(4, dtype=np.int8).reshape(4, 4, 1, 1),
    }
    nodes, value = [helper.make_node("DequantizeLinear", ["wq", "s", "z"], ["w"])], "x"
    for i in range(count):
        op, inputs, attributes = KINDS[kind][i % len(KINDS[kind])]
        real, result, made = (f"{part}{i}" for part in ("real", "result", "made"))
        if op == "QLinearConv":
            operands = [value, "s", "z", "wq", "s", "z", "s", "z"]
            nodes.append(helper.make_node(op, operands, [made], f"n{i}", **attributes))
            value = made
            continue
        nodes += [
            helper.make_node("DequantizeLinear", [value, "s", "z"], [real]),
            helper.make_node(op, [real, *inputs], [result], f"n{i}", **attributes),
            helper.make_node("QuantizeLinear", [result, "s", "z"], [made]),
        ]
        value = made
    ends = [helper.make_tensor_value_info(name, TensorProto.INT8, SHAPE) for name in ("x", value)]
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], tensors)
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return made.SerializeToString()


def measure(source: Path, seconds: float) -> tuple[str, float, float, int]:
    """How a compilation ended, its seconds, those of its processors, and the largest memory of its process in bytes."""
    begun = time.monotonic()
    command = [sys.executable, "-c", CODE, "compile", str(source), "-o", f"{source}.enf", "--no-host-trial"]
    path = os.pathsep.join(str(ROOT / room) for room in ("compiler", "enf", "runtime"))
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stderr=said)
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - begun > seconds:
                child.kill()
                seconds = float("inf")
            time.sleep(0.05)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").splitlines()
    taken = time.monotonic() - begun
    errors = [line for line in lines if line.startswith("ERROR: ")]
    outcome = "ok" if not status else (errors[-1] if errors else f"status {child.returncode}")
    return outcome, taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kinds", default=",".join(KINDS))
    p.add_argument("--counts", default="1000,4000,20000,100000")
    p.add_argument("--seconds", type=float, default=600.0, help="after so many a compilation is given up")
    p.add_argument("--write", nargs=3, metavar=("FILE", "KIND", "COUNT"), help="only write this model")
    options = p.parse_args()
    if options.write:
        path, kind, count = options.write
        Path(path).write_bytes(model(kind, int(count)))
        return
    print(
        "| chain | operators | model | compiled in | processor time | memory | |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds.split(","):
            for count in map(int, options.counts.split(",")):
                source = Path(folder) / "chain.onnx"
                # by another process: what a child begins with counts for its memory
                subprocess.run(
                    [sys.executable, __file__, "--write", str(source), kind, str(count)], check=True
                )
                outcome, taken, busy, memory = measure(source, options.seconds)
                size = source.stat().st_size / 1e6
                figures = f"{size:.1f} MB | {taken:.1f} s | {busy:.1f} s | {memory / 1e6:,.0f} MB"
                print(f"| {kind} | {count:,} | {figures} | {outcome} |")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
