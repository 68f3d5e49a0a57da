"""The command ``furiosa accuracy``."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from furiosa.enf import selection
from furiosa.enf.command import run
from furiosa.runtime.cli import (
    Parser,
    add_host_process,
    add_preprocessing,
    chosen_for,
    plain,
    preprocessing,
    run_command,
)
from furiosa.runtime.errors import InvalidInput

if TYPE_CHECKING:
    from furiosa.runtime.accuracy.result import Result

PROG = "furiosa accuracy"
FAILED = 1  # the exit code where a gate is not passed
METRICS = ("top1", "top5", "miou", "agreement", "sqnr")
_MAX_SHARDS = 1 << 16

_TEXT = """\
Runs a compiled model on the NPU simulator over samples, and beside it, on the reference runtimes, the model that it was compiled from and the
float model, and says how good they are.  Exit code 1: not good enough (docs/measure.md).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """``furiosa accuracy MODEL --data FILE``; returns the exit code: 0 where all gates are passed, 1 where one is not, else an error's."""
    return run_command(_parser, PROG, argv)


def _parser() -> Parser:
    p = Parser(prog=PROG, description=_TEXT, fromfile_prefix_chars="@")
    p.add_argument("model", metavar="MODEL", help="an ENF, an .onnx or .tflite model, or BUNDLE.tar#NAME")
    p.add_argument(
        "--data",
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help="samples, with their labels: .npz or .npy files or folders of them, or images (docs/samples.md)",
    )
    add_preprocessing(p)
    p.add_argument("--float-model", metavar="MODEL", help="the float model, to compare with")
    p.add_argument(
        "--source", metavar="MODEL", help="the model that MODEL was compiled from, to compare with"
    )
    p.add_argument(
        "--model-data",
        action="append",
        default=[],
        metavar="[LOCATION=]FILE",
        help="a file of external data of these two that is not in their folder; may be repeated",
    )
    p.add_argument(
        "--hermetic", action="store_true", help="read no files of these two but those of --model-data"
    )
    group = p.add_mutually_exclusive_group()
    group.add_argument("--metric", choices=METRICS, help="what to measure (default: top1)")
    group.add_argument(
        "--scorer",
        metavar="PROGRAM",
        help="a program, or a Python file, that gets a folder of predictions and prints a number",
    )
    p.add_argument(
        "--output", metavar="NAME", help="the output that counts (default: the first; sqnr and scorer: all)"
    )
    p.add_argument("--min", type=_real, metavar="VALUE", help="fail below this value of the compiled model")
    p.add_argument(
        "--max-drop",
        type=_real,
        metavar="VALUE",
        help="fail where it is lower by more than this than the float model's, or, without one, the source's",
    )
    p.add_argument("--limit", type=_count, metavar="N", help="of all samples the first N")
    p.add_argument(
        "--shard", type=_shard, metavar="I/N", help="every N-th sample from number I, 0 to N - 1, on"
    )
    p.add_argument("--batch-size", type=_count, metavar="N", help="compile for N samples (default: 1)")
    p.add_argument("--json", metavar="FILE", help="write the result as JSON")
    selection.add_options(p)
    add_host_process(p)
    p.set_defaults(run=_run)
    return p


def _real(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    is_shard = all(t.isascii() and t.isdigit() and len(t) < 10 for t in (index, count))
    if not is_shard or not int(index) < int(count) <= _MAX_SHARDS:
        raise argparse.ArgumentTypeError(f"'{text}' is not I/N, with I from 0 to N - 1")
    return int(index), int(count)


def _run(args: argparse.Namespace) -> int:
    if not args.host_process:
        return _accuracy(args)
    from furiosa.runtime.children import call

    # all of it: the references are the same native code
    return call(lambda: run(lambda _: _accuracy(args), PROG, ()), "the process that measures")


def _accuracy(args: argparse.Namespace) -> int:
    from furiosa.enf import outputs
    from furiosa.enf.progress import Activity
    from furiosa.runtime.accuracy.result import text, to_json

    if args.max_drop is not None and args.max_drop < 0:
        raise InvalidInput(f"--max-drop {args.max_drop:g}: a drop is 0 or more")
    if "TEST_SHARD_STATUS_FILE" in os.environ and args.shard:
        # by which Bazel knows that a test takes only its part
        with outputs.replacing(os.environ["TEST_SHARD_STATUS_FILE"]):
            pass
    if args.json:
        outputs.check(args.json)
    with Activity(args.model):
        result = _evaluated(args)
    if args.json:
        with outputs.replacing(args.json) as f:
            f.write(to_json(result))
    for line in text(result):
        print(plain(line))
    return FAILED if result.failures else 0


def _evaluated(args: argparse.Namespace) -> Result:
    from furiosa.runtime import session
    from furiosa.runtime import source as sources
    from furiosa.runtime.accuracy.evaluate import Question, evaluate

    question = Question(
        data=args.data,
        metric=None if args.scorer else args.metric or "top1",
        scorer=args.scorer,
        float_model=args.float_model,
        source=args.source,
        output=args.output,
        preprocessing=preprocessing(args),
        min_value=args.min,
        max_drop=args.max_drop,
        shard=args.shard,
        limit=args.limit,
        model_data=args.model_data,
        is_hermetic=args.hermetic,
    )
    model = sources.read(args.model)
    config = chosen_for(args, model.name, model.is_enf) or None
    with session.create(model, compile_config=config, batch_size=args.batch_size) as sess:
        return evaluate(sess, question)
