"""The arguments of ``furiosa calibrate`` and ``furiosa quantize``."""

from __future__ import annotations

import argparse
from argparse import Namespace

from furiosa.compiler.cli.arguments import BadArguments, Parser, help_formatter, model_files, same, selection
from furiosa.enf.selection import add_options

# quantize.DEFAULT_METHOD and the names in calibrate.methods.METHODS and DEFAULT_PERCENTAGE, written again: importing them takes long
DEFAULT_METHOD = "min-max"
METHODS = tuple(
    f"{m}{end}" for m in ("min-max", "entropy", "percentile", "mse", "sqnr") for end in ("", "-sym")
)
DEFAULT_PERCENTAGE = 99.99
RANDOM_SAMPLES = 8


def _add_model(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="MODEL", help="a float .onnx file")
    p.add_argument(
        "--model-data",
        dest="data",
        action="append",
        metavar="[LOCATION=]FILE",
        default=[],
        help="a file of external data of the model that is not in its folder, as --data of furiosa compile; may be repeated",
    )
    p.add_argument(
        "--hermetic",
        action="store_true",
        help="read no files but those that are named, also of the model's folder; for build systems",
    )
    add_options(p)
    p.add_argument("-o", "--output", metavar="OUTPUT", required=True, help="what to write")


def _add_preprocessing(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--preprocessing",
        metavar="FILE.json|JSON",
        help="samples are images, and this says how they become tensors (docs/samples.md)",
    )


def parse_calibrate(argv: list[str]) -> Namespace:
    """The arguments of ``furiosa calibrate``, checked as far as can be without reading the model.

    Raises:
        CommandError: the exit status is 255.
    """
    p = Parser(
        prog="furiosa calibrate",
        description="Runs a float ONNX model over samples and counts the values of every tensor.",
        formatter_class=help_formatter,
    )
    _add_model(p)
    p.add_argument(
        "--data",
        dest="samples",
        action="append",
        metavar="FILE|FOLDER",
        default=[],
        help="samples: .npz, .npy, NAME=FILE.npy, a folder of these, or images with --preprocessing (docs/samples.md); may be repeated",
    )
    _add_preprocessing(p)
    p.add_argument(
        "--merge",
        action="append",
        metavar="CALIBRATION",
        default=[],
        help="add what another calibration of this model has counted; may be repeated, in any order",
    )
    options = _checked(p.parse_args(argv))
    if not (options.samples or options.merge):
        raise BadArguments("no samples are given, name them by --data FILE|FOLDER; see furiosa calibrate -h")
    _check_apart(options, [*options.samples, *options.merge])
    return options


def parse_quantize(argv: list[str]) -> Namespace:
    """The arguments of ``furiosa quantize``, checked as far as can be without reading the model.

    Raises:
        CommandError: the exit status is 255.
    """
    p = Parser(
        prog="furiosa quantize",
        description="Quantises a float ONNX model to int8, as an ONNX model with QuantizeLinear and DequantizeLinear.",
        formatter_class=help_formatter,
    )
    _add_model(p)
    p.add_argument(
        "--calibration",
        metavar="FILE|FOLDER",
        help="what furiosa calibrate wrote (.json), or samples to calibrate with; needed but for a model that holds ranges, as the vendor's quantizer writes it",
    )
    _add_preprocessing(p)
    p.add_argument(
        "--random",
        action="store_true",
        help=f"calibrate with {RANDOM_SAMPLES} random samples instead: a quick look at what runs where, accuracy means nothing",
    )
    p.add_argument(
        "--method",
        metavar="METHOD",
        default=DEFAULT_METHOD,
        help=f"how ranges are chosen: {', '.join(METHODS)} (default: {DEFAULT_METHOD})",
    )
    p.add_argument(
        "--percentage",
        type=float,
        metavar="P",
        default=DEFAULT_PERCENTAGE,
        help=f"of 100 values those within the range, of the percentile methods (default: {DEFAULT_PERCENTAGE})",
    )
    p.add_argument(
        "--exclude",
        action="append",
        metavar="NAME",
        default=[],
        help="an operator, or all of a type, that stays in float; may be repeated",
    )
    p.add_argument(
        "--io-type",
        dest="types",
        action="append",
        metavar="NAME=TYPE",
        default=[],
        help="an input or output that is int8 or uint8, with the scale of its tensor, instead of float; may be repeated",
    )
    options = _checked(p.parse_args(argv))
    options.types = _types(options.types)
    if options.random and options.calibration is not None:
        raise BadArguments("--calibration and --random exclude each other")
    if options.method not in METHODS:
        raise BadArguments(f"unknown method '{options.method}', known: {', '.join(METHODS)}")
    if not 0 < options.percentage <= 100:
        raise BadArguments(f"--percentage {options.percentage:g} is not above 0 and up to 100")
    _check_apart(options, [options.calibration] if options.calibration else [])
    return options


def _types(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, _, kind = text.rpartition("=")
        if not name or kind not in ("int8", "uint8"):
            raise BadArguments(f"--io-type {text!r} is not of the form NAME=int8 or NAME=uint8")
        if name in found:
            raise BadArguments(f"--io-type is given twice for {name!r}")
        found[name] = kind
    return found


def _checked(options: Namespace) -> Namespace:
    options.selection = selection(options)
    options.files = model_files(options)
    return options


def _check_apart(options: Namespace, read: list[str]) -> None:
    if any(same(options.output, other) for other in (options.source, *options.files.data, *read)):
        raise BadArguments(
            f"{options.output} is named twice: what is read and what is written must be different files"
        )
