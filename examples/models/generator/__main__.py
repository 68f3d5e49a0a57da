"""Command line: `python -m generator --model resnet50 --precision int8 --output resnet50_int8.onnx`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile

MODELS = ("resnet50", "ssd_mobilenet", "ssd_resnet34", "tiny")
PRECISIONS = ("float32", "int8")


def build(model: str, precision: str):
    """The `onnx.ModelProto` of one of MODELS in one of PRECISIONS."""
    network = getattr(importlib.import_module(f"generator.{model}"), model)()
    writer = importlib.import_module(f"generator.{precision}")
    return getattr(writer, f"{precision}_model")(network)


def main(arguments: list[str] | None = None) -> int:
    """Writes one model; returns the exit status (2 for bad arguments, 1 when the file cannot be written)."""
    parser = argparse.ArgumentParser(
        prog="generator", description="Generates an example model as an ONNX file."
    )
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--output", required=True, help="path of the ONNX file to write")
    options = parser.parse_args(arguments)
    data = build(options.model, options.precision).SerializeToString(deterministic=True)
    try:
        _write(options.output, data)
    except OSError as error:
        print(f"generator: cannot write {options.output}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _write(path: str, data: bytes) -> None:
    """Writes the file in one step, so that an interrupted run leaves no half of a model."""
    folder = os.path.dirname(path) or "."
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".generator-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


if __name__ == "__main__":
    sys.exit(main())
