"""The command ``furiosa compare``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from furiosa.enf import selection
from furiosa.enf.command import run
from furiosa.enf.target import TARGETS
from furiosa.runtime.cli import (
    Parser,
    add_host_process,
    add_preprocessing,
    chosen,
    plain,
    preprocessing,
    run_command,
)

PROG = "furiosa compare"
DIFFERENT = 1  # the exit code of diff(1) and of ``furiosa enf diff``
_MAX_LSB = 1 << 63


def main(argv: Sequence[str] | None = None) -> int:
    """``furiosa compare MODEL``; returns the exit code: 0 within the limit, 1 beyond it, else an error's."""
    return run_command(_parser, PROG, argv)


def _parser() -> Parser:
    text = "Runs a model on the NPU simulator and on its reference runtime and compares them layer by layer."
    p = Parser(prog=PROG, description=text, fromfile_prefix_chars="@")
    p.add_argument("model", metavar="MODEL", help="an .onnx or .tflite model, or an ENF with --source")
    p.add_argument("--source", metavar="MODEL", help="the model that the ENF was compiled from")
    p.add_argument(
        "--inputs",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="samples: .npy or .npz files or folders of them, or images (default: random)",
    )
    add_preprocessing(p)
    p.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="[LOCATION=]FILE",
        help="a file of the model's external data that is not in its folder, as of furiosa compile; may be repeated",
    )
    p.add_argument(
        "--hermetic", action="store_true", help="read no files of the model but itself and those of --data"
    )
    p.add_argument("--target-npu", choices=TARGETS, metavar="NPU", help=f"{' or '.join(TARGETS)}")
    p.add_argument(
        "--batch-size", type=_whole(1, 1 << 16), metavar="N", help="compile for N samples (default: 1)"
    )
    p.add_argument(
        "--compatibility",
        metavar="RELEASE",
        help="compile for the operators of a release of the vendor's SDK (default: latest)",
    )
    selection.add_options(p, inputs="--cut-inputs")
    p.add_argument(
        "--max-lsb",
        type=_whole(0, _MAX_LSB),
        default=0,
        metavar="N",
        help="how far any element may be off (default: 0)",
    )
    p.add_argument("--json", metavar="FILE", help="write the comparison as JSON")
    p.add_argument("--html", metavar="FILE", help="write the comparison as a page that needs nothing else")
    p.add_argument(
        "--junit-xml", metavar="FILE", help="write the verdict as a test's result for build systems"
    )
    p.add_argument(
        "--seed", type=_whole(0, 1 << 63), default=0, metavar="N", help="of random inputs (default: 0)"
    )
    add_host_process(p)
    p.set_defaults(run=_run)
    return p


def _whole(low: int, high: int):
    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not between {low} and {high}")
        return value

    return number


def _run(args: argparse.Namespace) -> int:
    if not args.host_process:
        return _compare(args)
    from furiosa.runtime.children import call

    # all of it: the reference is the same native code
    return call(lambda: run(lambda _: _compare(args), PROG, ()), "the comparison's process")


def _compare(args: argparse.Namespace) -> int:
    from furiosa.enf.outputs import replacing
    from furiosa.enf.progress import Activity
    from furiosa.runtime.compare.compare import compare
    from furiosa.runtime.compare.html import to_html
    from furiosa.runtime.compare.report import text, to_json, to_junit_xml

    with Activity(args.model):
        result = compare(
            args.model,
            args.source,
            args.inputs,
            preprocessing=preprocessing(args),
            target_npu=args.target_npu,
            batch_size=args.batch_size,
            data_files=args.data,
            is_hermetic=args.hermetic,
            compatibility=args.compatibility,
            chosen=chosen(args),
            max_lsb=args.max_lsb,
            seed=args.seed,
        )
    files = [(args.json, to_json), (args.html, to_html)]
    files.append((args.junit_xml, lambda c: to_junit_xml(c, os.environ.get("TEST_TARGET") or c.model)))
    for path, convert in files:
        if path is not None:
            with replacing(path) as f:
                f.write(convert(result))
    for line in text(result):
        print(plain(line))
    return 0 if result.is_right else DIFFERENT
