"""A defect anywhere in any command: one line, a documented exit code, no traceback, and no half-written file.

A hook raises an exception where the n-th function of this project is called.  A few moments of each command are tried, other
ones for each kind of exception; ``INTERNAL_ERRORS=200`` tries so many.
"""

from __future__ import annotations

import errno
import inspect
import json
import os
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Self

import numpy as np
import pytest

from furiosa.compiler.checks import budget, lint, reproduce
from furiosa.compiler.cli.main import main
from furiosa.enf import cli as enf_cli
from furiosa.enf import command
from furiosa.enf.outputs import is_temporary
from furiosa.quantizer.testing import network, samples
from furiosa.runtime.bundle import writer
from furiosa.runtime.cli import bundler_main
from furiosa.runtime.compare.cli import main as compare_main
from furiosa.runtime.deploy import program
from tests.reference import onnx_op

MOMENTS = int(os.environ.get("INTERNAL_ERRORS", "6"))
CODES = {0, 1, 2, 4, 5, 6, 7, 8, 12, 13, 130, 141, 255}  # docs/cli.md

# what tells of an error is left out: it is not to have one itself
PROJECT = re.compile(r"[/\\]furiosa[/\\](?!enf[/\\]errors)")

KINDS = (
    lambda: KeyError("\x1b[31m\nERROR: odd \udc80"),
    AssertionError,
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    MemoryError,
    RecursionError,
    BrokenPipeError,
    lambda: ImportError("libodd.so: cannot open shared object file"),
)

COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "compile": (main, ["compile", "m.onnx", "-o", "out.enf", "--report-json", "r", "--report", "p"]),
    "compile to a stage": (main, ["compile", "m.onnx", "-o", "out", "--target-ir", "lir"]),
    "auto batch size": (main, ["compile", "m.onnx", "-o", "out.enf", "--auto-batch-size"]),
    "tune": (main, ["tune", "m.onnx", "--batch-sizes", "1,2", "-o", "t.csv"]),
    "calibrate": (main, ["calibrate", "f.onnx", "--data", "x.npz", "-o", "c.json"]),
    "quantize": (main, ["quantize", "f.onnx", "--calibration", "r.json", "--method", "mse", "-o", "q.onnx"]),
    "run": (main, ["run", "m.enf", "--random", "1", "-o", "o.npz"]),
    "run a model": (main, ["run", "m.onnx", "--input", "x.npy"]),
    "compare": (main, ["compare", "m.onnx", "--json", "c.json", "--html", "c.html"]),
    "accuracy": (
        main,
        [
            "accuracy",
            "m.enf",
            "--data",
            "x.npy",
            "--metric",
            "sqnr",
            "--float-model",
            "m.onnx",
            "--json",
            "a.json",
        ],
    ),
    "bench": (main, ["bench", "m.enf", "-o", "b.json", "-T", "t.json"]),
    "bundle pack": (main, ["bundle", "pack", "-o", "w.tar", "--model", "a=m.enf", "--tree", "tree"]),
    "bundle verify": (main, ["bundle", "verify", "v.tar", "--stamp", "s"]),
    "bundle list": (main, ["bundle", "list", "v.tar"]),
    "bundle unpack": (main, ["bundle", "unpack", "v.tar", "-o", "tree"]),
    "bundle layer": (main, ["bundle", "layer", "v.tar", "-o", "l.tar"]),
    "bundle run": (main, ["bundle", "run", "v.tar", "--random", "1"]),
    "enf dump": (main, ["enf", "dump", "m.enf", "--commands"]),
    "enf verify": (main, ["enf", "verify", "m.enf", "--stamp", "s"]),
    "enf diff": (main, ["enf", "diff", "m.enf", "m.enf"]),
    "enf report": (main, ["enf", "report", "m.enf", "m.json", "--report", "p", "--chrome-trace", "t"]),
    "python -m furiosa.enf.cli": (enf_cli.main, ["dump", "m.enf"]),
    "python -m furiosa.runtime.bundle": (bundler_main, ["list", "v.tar", "--json"]),
    "python -m furiosa.runtime.compare": (compare_main, ["m.onnx"]),
    "run of an unpacked bundle": (lambda argv: program.main("v", argv), ["--random", "1"]),
    "budget": (budget.main, ["m.json", "--max-enf-bytes", "1000000"]),
    "lint": (lint.main, ["m.json", "--source", "m", "--label", "//:m", "--sarif", "f", "--json", "g"]),
    "reproduce": (reproduce.main, ["./compiler", "m.onnx", "--enf", "m.enf"]),
}


class Injection:
    """A context in which a call of a function of this project raises an exception."""

    def __init__(self, moment: int | None = None, kind: Callable[[], Exception] = KeyError):
        self.calls, self.moment, self.kind = 0, moment, kind
        self.begun = False

    def __enter__(self) -> Self:
        sys.setprofile(self._hook)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _hook(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # a generator that is dropped is called once more, by the collector, where nothing can be raised
        if event != "call" or code.co_flags & inspect.CO_GENERATOR or not PROJECT.search(code.co_filename):
            return
        if not self.begun:  # what stands around a command is little more than the call of `command.run`
            self.begun = code is command.run.__code__
            return
        if code.co_filename == command.__file__:
            return
        self.calls += 1
        if self.calls == self.moment:
            sys.setprofile(None)
            raise self.kind()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its ENF and report, a float model and its calibration, a bundle packed and unpacked, an input, and a compiler."""
    folder = tmp_path_factory.mktemp("files")
    x = onnx_op.Operand((1, 3, 4, 4), "int8", 0.5, 3)
    model = onnx_op.build_qdq("Relu", [x], onnx_op.Operand((1, 3, 4, 4), "int8", 0.5, 3))
    (folder / "m.onnx").write_bytes(model)
    enf, report = str(folder / "m.enf"), str(folder / "m.json")
    assert main(["compile", str(folder / "m.onnx"), "-o", enf, "--report-json", report]) == 0
    writer.pack(str(folder / "v.tar"), [("m", enf)])
    assert main(["bundle", "unpack", str(folder / "v.tar"), "-o", str(folder / "v")]) == 0
    np.save(folder / "x.npy", np.zeros((1, 3, 4, 4), np.int8))
    (folder / "f.onnx").write_bytes(network())
    np.savez(folder / "x.npz", **samples(network(), 1)[0].arrays)
    calibration = ["--data", str(folder / "x.npz"), "-o", str(folder / "r.json")]
    assert main(["calibrate", str(folder / "f.onnx"), *calibration]) == 0
    compiler = folder / "compiler"
    compiler.write_text(f'#!/bin/sh\ncp {enf} "$(sed -n 4p "${{1#@}}")"\n')
    compiler.chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("FURIOSA_DEVICES", "NPU_DEVNAME", "FURIOSA_PROFILER_OUTPUT_PATH"):
        monkeypatch.delenv(name, raising=False)
    for path in files.iterdir():
        os.symlink(path, tmp_path / path.name)
    # the test's own stdout stays
    monkeypatch.setattr(command, "_abandon", lambda stream: None)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_defect_at_any_moment(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, argv = COMMANDS[name]
    before = sorted(os.listdir())
    with Injection() as counting:
        assert run(argv) == 0
    assert counting.calls > 10
    made = set(os.listdir()) - set(before)
    capfd.readouterr()
    rng = random.Random(name)
    for number in range(MOMENTS):
        for path in made:
            _remove(folder / path)
        # early moments are those of the command itself, late ones those of what it calls
        moment = int(counting.calls ** rng.random()) if number % 2 else rng.randint(1, counting.calls)
        kind = KINDS[number % len(KINDS)]
        with Injection(moment, kind):
            status = run(argv)
        _, err = capfd.readouterr()
        case = f"moment {moment} of {counting.calls}, {kind()!r}: {status}\n{err}"
        assert status in CODES, case
        assert "Traceback" not in err and "\x1b" not in err, case
        errors = [line for line in err.splitlines() if line.startswith("ERROR: ")]
        assert len(errors) == (status not in (0, 1, 141)), case
        # where closing a file was kept from beginning its temporary stays, until the next process writes there
        left = {path for path in os.listdir() if not is_temporary(path)} - set(before)
        assert left <= made, case


def _remove(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            _remove(inner)
        path.rmdir()
    elif path.exists():
        path.unlink()


def test_the_traceback_is_for_who_asks(capfd: pytest.CaptureFixture[str]) -> None:
    with Injection(30, AssertionError):
        assert main(["compile", "m.onnx", "-o", "out.enf", "-v"]) == 13
    assert "Traceback" in capfd.readouterr().err


def test_every_command_is_tried() -> None:
    from furiosa.compiler.cli.main import COMMANDS as KNOWN

    tried = {argv[0] for run, argv in COMMANDS.values() if run is main}
    assert tried == set(KNOWN)
    assert json.loads(Path("m.json").read_text())["operators"]
