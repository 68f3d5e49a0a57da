"""Writes docs/numerics.md: how many elements of each operator differ between the NPU and the reference runtimes.

    python -m benchmarks.numerics [OPERATOR ...]

The page is written after each row, and rows that are not measured again stay as they are: all of it takes some five minutes.
Needs the packages of the tests, and PYTHONPATH=.:enf:compiler:runtime:examples/models.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

from furiosa.enf.outputs import replacing
from furiosa.runtime.compare.reference import version
from tests.properties.numerics import COLUMNS, MODELS, RUNS, cases, lines, measure

PAGE = Path(__file__).resolve().parent.parent / "docs" / "numerics.md"
FORMATS = {"onnx": "ONNX", "tflite": "TFLite"}

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
    return "".join(text) + REASONS


def main() -> None:
    """Measures the rows that are asked for, all without a name."""
    parser = argparse.ArgumentParser(description="Writes docs/numerics.md.")
    parser.add_argument("operator", nargs="*", help="a row to measure again (default: all)")
    wanted = parser.parse_args().operator
    names = [(f, name) for f in FORMATS for name in sorted(cases(f))]
    if unknown := sorted(set(wanted) - {name for _, name in names}):
        parser.error(f"no row is named '{unknown[0]}'")
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = {f: lines(old, f) for f in FORMATS}
    for source_format, name in names:
        if wanted and name not in wanted:
            continue
        start = time.monotonic()
        found[source_format][name] = measure(source_format, name).line()
        with replacing(str(PAGE)) as f:
            f.write(page(found).encode())
        print(f"{time.monotonic() - start:.1f} s", found[source_format][name], flush=True)


if __name__ == "__main__":
    main()
