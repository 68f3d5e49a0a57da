"""The program ``run`` of an unpacked bundle with a runtime."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Sequence

# Imported here and not when needed, so that ``run.py`` sees wheels that cannot be loaded.
from furiosa.enf import leaving
from furiosa.runtime import run_files, session
from furiosa.runtime import source as sources
from furiosa.runtime.bundle import manifest as manifests
from furiosa.runtime.cli import Parser, add_run_arguments, plain, run_command
from furiosa.runtime.errors import BundleError, HostRuntimeMissing, InvalidInput
from furiosa.runtime.source import Source

_HOST_RUNTIMES = {"onnx": ("onnxruntime", "onnxruntime"), "tflite": ("ai_edge_litert", "LiteRT")}


def main(folder: str, argv: Sequence[str] | None = None) -> int:
    """``run --model NAME --input X.npy``: one inference of a model in ``folder``/models; returns the exit code."""
    if argv is None:
        leaving.on_signals()
    return run_command(lambda: _parser(folder), "run", argv)


def _parser(folder: str) -> Parser:
    text = "Runs a model of this bundle on the NPU simulator. No NPU hardware is used."
    parser = Parser(prog="run", description=text)
    parser.add_argument(
        "--model", metavar="NAME", help="which model; may be left out where there is only one"
    )
    add_run_arguments(parser)
    parser.set_defaults(run=_run, folder=folder)
    return parser


def _run(args: argparse.Namespace) -> None:
    name, source = _model(args.folder, args.model)
    with session.create(source, host_process=args.host_process) as sess:
        for format in sorted(sess.host_formats):
            module, runtime = _HOST_RUNTIMES[format]
            if importlib.util.find_spec(module) is None:
                raise HostRuntimeMissing(
                    f"model '{name}' runs partly on the host, by {runtime}, which this bundle does not hold: "
                    "compile a model that runs wholly on the NPU, or run this one where furiosa_rules is installed"
                )
        print(plain(f"'{name}' on the NPU simulator ({sess.target_npu}); no NPU hardware is used"))
        run_files.run_session(sess, args.input or [], args.random, args.output)


def _model(folder: str, name: str | None) -> tuple[str, Source]:
    """The model that is meant: its name, and its file, which has to be what the manifest says."""
    with open(os.path.join(folder, manifests.JSON_FILE), encoding="ascii") as f:
        digests = {model["name"]: model["sha256"] for model in json.load(f)["models"]}
    names = list(digests)
    if name is None:
        if len(names) != 1:
            raise InvalidInput(f"this bundle has the models {', '.join(names)}: say which one by --model")
        name = names[0]
    if name not in names:
        raise BundleError(f"this bundle has no model '{name}'; it has {', '.join(names)}")
    file = sources.read(os.path.join(folder, manifests.MODEL_FOLDER, f"{name}.enf"))
    return name, file._replace(sha256=digests[name])
