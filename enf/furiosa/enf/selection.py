"""What of a source model is compiled, as command lines say it and as an ENF records it: shapes of open dimensions, cuts, a signature."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furiosa.enf.enf_pb2 import Selection


def add_options(p: ArgumentParser, inputs: str = "--inputs") -> None:
    """The options that say it, of every command that takes a model file; ``said`` reads them.

    Args:
        inputs: the option that cuts the beginning off, where a command has another ``--inputs``.
    """
    p.add_argument(
        "--input-shape",
        action="append",
        metavar="NAME=SHAPE",
        default=[],
        help="the shape of an input whose dimensions the model leaves open, e.g. images=1x3x640x640; may be repeated",
    )
    p.add_argument(
        "--dim",
        action="append",
        metavar="NAME=SIZE",
        default=[],
        help="the size of an open dimension by its name, which ONNX models have, e.g. height=640; may be repeated",
    )
    p.add_argument(
        inputs,
        dest="cut_inputs",
        action="append",
        metavar="NAME,...",
        default=[],
        help="cut the model: begin at these tensors (default: the inputs that the outputs need); may be repeated",
    )
    p.add_argument(
        "--outputs",
        dest="cut_outputs",
        action="append",
        metavar="NAME,...",
        default=[],
        help="cut the model: end at these tensors, e.g. before NonMaxSuppression (default: its outputs); may be repeated",
    )
    p.add_argument(
        "--signature",
        metavar="NAME",
        default="",
        help="the signature of a TFLite model to compile, with its names of inputs and outputs; needed where it has several",
    )


def said(options: Namespace) -> dict[str, object]:
    """What the options of ``add_options`` say, as keyword arguments of furiosa.compiler.selection.selection.

    Raises:
        ValueError: an option of another form, or a name that is given twice; a sentence.
    """
    return {
        "input_shapes": _pairs("--input-shape", options.input_shape, "1x3x640x640"),
        "dims": _pairs("--dim", options.dim, "640"),
        "inputs": options.cut_inputs,
        "outputs": options.cut_outputs,
        "signature": options.signature,
    }


def _pairs(option: str, texts: Iterable[str], example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in texts:
        name, _, value = pair.rpartition("=")  # names may have a "=", sizes have none
        if not name or not value:
            raise ValueError(f"{option} {pair!r} is not of the form NAME={example}")
        if name in found:
            raise ValueError(f"{option} is given twice for {name!r}")
        found[name] = value
    return found


def recorded(selection: Selection) -> dict[str, object]:
    """What an ENF's metadata says, as the same keyword arguments."""
    return {
        "input_shapes": {s.name: tuple(s.shape) for s in selection.input_shapes},
        "inputs": list(selection.inputs),
        "outputs": list(selection.outputs),
        "signature": selection.signature,
    }


def as_json(selection: Selection) -> dict[str, object]:
    """The same in types that JSON knows."""
    found = recorded(selection)
    return found | {"input_shapes": {name: list(shape) for name, shape in found["input_shapes"].items()}}


def text(selection: Selection) -> str:
    """The same in words."""
    parts = [f"{s.name} is {'x'.join(map(str, s.shape))}" for s in selection.input_shapes]
    parts += [f"from {', '.join(selection.inputs)}"] * bool(selection.inputs)
    parts += [f"to {', '.join(selection.outputs)}"] * bool(selection.outputs)
    parts += [f"signature {selection.signature}"] * bool(selection.signature)
    return "; ".join(parts) or "all of it, as it is"
