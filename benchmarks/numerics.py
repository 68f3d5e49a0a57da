"""Writes docs/numerics.md: how many elements of each operator differ between the NPU and the reference runtimes.

    python -m benchmarks.numerics [OPERATOR ...]
    python -m benchmarks.numerics --models FOLDER

The page is written after each row, and rows that are not measured again stay as they are: all of it takes some five minutes.
The second form measures whole models, *_int8.onnx of benchmarks/exported.py.  Needs the packages of the tests, and PYTHONPATH=.:enf:compiler:runtime:examples/models.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import Counter
from pathlib import Path

from furiosa.compiler.ldfg.coverage import coverage
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf.outputs import replacing
from furiosa.runtime.compare.compare import compare
from furiosa.runtime.compare.reference import version
from tests.properties.numerics import COLUMNS, MODELS, RUNS, cases, lines, measure

PAGE = Path(__file__).resolve().parent.parent / "docs" / "numerics.md"
FORMATS = {"onnx": "ONNX", "tflite": "TFLite"}
NETWORKS = "networks"  # the third table

HEAD = f"""# Numerics

Where the numbers of the NPU are those of the reference runtime, and where not, operator by operator. Written by `benchmarks/numerics.py`, whose
tables are measured; a test measures some rows again, another fails where an operator of the compiler's tables has no row.

For each row {MODELS} models with arbitrary scales and {MODELS} with coarse ones are drawn from a fixed seed, of three sizes each, with scales and zero points all of
their own; each runs {RUNS} times, on values of the whole range. *Coarse*: the scales are powers of two, in every second model times one number that all
activations share, so that many results lie exactly in the middle between two integers (ties). ONNX: int8 and uint8 activations, int8 weights; TFLite: int8.
A name with a `+` is a model of several operators, or of one and what comes with it.

- **on the NPU**: the instructions that compute it, and whose arithmetic they follow where an instruction has several; each states its rule in [enf.md](enf.md#instructions).
- **in the reference**: the operators that onnxruntime runs after its own optimisation, with 8-bit integers or in float32; for TFLite whether XNNPACK or a builtin kernel of
  LiteRT does it.
- **reference**: elements that differ from the reference as `furiosa compare` runs it ([compare.md](compare.md)): onnxruntime with `session.qdqisint8allowed=1`, LiteRT with its default kernels.
- **unoptimised**: from onnxruntime with all optimisation of the graph off, that is the float32 operators one by one; from LiteRT's builtin kernels instead of XNNPACK.
- **unlike both**: elements that are neither. *nearest*: of these, the ones that are right by the real numbers, computed in float64 (what `furiosa compare` counts as right; ONNX only).

The largest difference is in LSB, steps of the output's last place.
"""

REASONS = """
## Why elements differ

**The reference computes in float32, the NPU in integers** (rows *float32* with elements unlike both). onnxruntime has no integer operator for a convolution
or product with an activation that the output's range does not imply, for `ConvTranspose`, `BatchNormalization`, or the sums of `ReduceSum` and `ReduceMean`: it
makes real numbers of the integers, adds them in float32, and quantises. Each addition rounds, in an order that depends on the vector length of the processor,
and a sum that lies next to the middle between two integers comes out on the one or the other side. The NPU adds integers, without any error, and rounds
once. With scales that are arbitrary hardly a sum lies so near to the middle; with coarse ones many lie exactly there. The column *nearest* says how many of the NPU's
numbers are the right ones.

To follow onnxruntime there, too, an instruction would have to add in float32 in the order of one processor's vectors. None does, and none is
planned: the numbers of another processor would then differ.

**A folded bias is rounded** (`Conv + BatchNormalization`: elements unlike both that are not nearest). The NPU takes the normalisation into the scale and the bias of
the convolution, and a bias is a whole number of steps of the sum, half of one off at most. A bias in real numbers would take another form of the instruction CONV2D. (Where a convolution or product has a real bias of its own, onnxruntime rounds it to the same whole
numbers.)

**The reference is not of one mind** (rows where the column *reference* has no difference and *unoptimised* has some). Integer operators round another way than the float32
operators that stand in the model (`QLinearAdd` adds its zero point before it rounds, say), XNNPACK another way than LiteRT's builtin kernels. The NPU follows
the reference as it runs by default.

**LiteRT's kernels of the type `BUILTIN_REF`** are not what *unoptimised* means here: that of SUM gives numbers that have nothing to do with the sum (LiteRT 2.3),
and operators such as ELU have none.
"""

MODELS_HEAD = """
## Networks

Of torchvision, exported by PyTorch (`torch.onnx.export`, `benchmarks/exported.py`) and quantised by onnxruntime's `quantize_static` with its default options, for `warboy-2pe`, three random inputs. **Their weights are
random** (the statistics of batch normalisations are those of noise), so this says how numbers compare, and nothing of accuracy. *Right*: the verdict of `furiosa compare` and of
[`npu_model_test`](rules.md). Elements: of all layers that are compared, each from the values before it.

"""
MODEL_COLUMNS = (
    "model",
    "multiply-accumulates on the NPU",
    "operators on the NPU",
    "on the host",
    "layers compared",
    "elements that differ",
    "end to end",
    "right",
)


def network_line(path: Path) -> str:
    """The line of one model."""
    lowering = Compilation(path.read_bytes(), Options()).run("ldfg").ldfg
    host = Counter(op.op_type for op, verdict in lowering.verdicts.items() if verdict.placed_on == "host")
    result = compare(str(path))
    tallies = [r.tally for r in result.layers if r.tally is not None]
    differing, elements = (sum(getattr(t, k) for t in tallies) for k in ("differing", "elements"))
    wholes = [o.whole.optimised for o in result.outputs if o.whole is not None and o.whole.optimised]
    cells = (
        f"`{path.stem}`",
        f"{coverage(lowering).share:.1%}",
        f"{len(lowering.verdicts) - sum(host.values()):,}",
        ", ".join(f"{n} {kind}" for kind, n in sorted(host.items())) or "none",
        f"{len(tallies)}",
        f"{differing:,} of {elements:,}" + (f", {max(t.largest for t in tallies)} LSB" if differing else ""),
        f"{sum(w.differing for w in wholes):,} of {sum(w.elements for w in wholes):,}",
        "yes" if result.is_right else "no",
    )
    return f"| {' | '.join(cells)} |"


def page(found: dict[str, dict[str, str]]) -> str:
    """The page with the lines that there are."""
    versions = " and ".join(map(version, FORMATS))
    text = [HEAD, f"\nMeasured with {versions}, on {platform.machine()}.\n"]
    for source_format, title in FORMATS.items():
        rows = [
            found[source_format][name]
            for name in sorted(cases(source_format))
            if name in found[source_format]
        ]
        head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
        body = "".join(f"{line}\n" for line in rows)
        text.append(f"\n## {title}\n\n<!-- {source_format} -->\n{head}{body}<!-- end -->\n")
    if found[NETWORKS]:
        body = "".join(f"{line}\n" for line in found[NETWORKS].values())
        head = f"| {' | '.join(MODEL_COLUMNS)} |\n|{'---|' * len(MODEL_COLUMNS)}\n"
        text.append(f"{MODELS_HEAD}<!-- {NETWORKS} -->\n{head}{body}<!-- end -->\n")
    return "".join(text) + REASONS


def main() -> None:
    """Measures the rows that are asked for, all without a name."""
    parser = argparse.ArgumentParser(description="Writes docs/numerics.md.")
    parser.add_argument("operator", nargs="*", help="a row to measure again (default: all)")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="measure the models in it instead")
    arguments = parser.parse_args()
    wanted = arguments.operator
    names = [(f, name) for f in FORMATS for name in sorted(cases(f))]
    if unknown := sorted(set(wanted) - {name for _, name in names}):
        parser.error(f"no row is named '{unknown[0]}'")
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = {f: lines(old, f) for f in (*FORMATS, NETWORKS)}
    if arguments.models is not None:
        for path in sorted(arguments.models.glob("*_int8.onnx")):
            found[NETWORKS][path.stem] = network_line(path)
            _write(found)
        return
    for source_format, name in names:
        if wanted and name not in wanted:
            continue
        start = time.monotonic()
        found[source_format][name] = measure(source_format, name).line()
        _write(found)
        print(f"{time.monotonic() - start:.1f} s", found[source_format][name], flush=True)


def _write(found: dict[str, dict[str, str]]) -> None:
    with replacing(str(PAGE)) as f:
        f.write(page(found).encode())


if __name__ == "__main__":
    main()
