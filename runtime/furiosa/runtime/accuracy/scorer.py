"""A user's own scorer: a program that gets a folder of predictions and prints a number."""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from furiosa.enf import interpreter, leaving
from furiosa.enf.command import OTHER
from furiosa.runtime.errors import FuriosaRuntimeError, InvalidInput

LABELS = "labels.npy"
_RUN = "sys.argv = sys.argv[1:]; import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
_SAFE = re.compile(r"[A-Za-z0-9_][\w.-]{0,99}", re.ASCII)


class ScorerFailed(FuriosaRuntimeError):
    """A user's scorer cannot be started, fails, or prints no number."""

    exit_code = OTHER


class Scorer:
    """Collects a model's predictions in a folder: ``NAME.npy`` of shape [N, …] for each output, ``labels.npy`` where there are labels.

    A name that makes no safe file name becomes ``output_0``, ``output_1``, …
    """

    def __init__(self, program: str, folder: str, names: Sequence[str], count: int):
        """Creates ``folder``; ``count`` samples will be added."""
        self._program, self._folder, self._count = program, folder, count
        safe = [bool(_SAFE.fullmatch(n)) and n != "labels" and names.count(n) == 1 for n in names]
        self._files = [
            f"{n if ok else f'output_{i}'}.npy" for i, (n, ok) in enumerate(zip(names, safe, strict=True))
        ]
        self._open: dict[str, BinaryIO] = {}
        self._kinds: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        os.mkdir(folder)

    def add(
        self, outputs: Sequence[np.ndarray], label: np.ndarray | None, wanted: Sequence[np.ndarray]
    ) -> None:
        """Writes one sample's; raises InvalidInput where one is of another shape than those before, OSError."""
        for name, array in zip(self._files, outputs, strict=True):
            # without the dimension of one sample
            self._write(name, array.reshape(array.shape[1:]) if array.shape[:1] == (1,) else array)
        if label is not None:
            self._write(LABELS, label)

    def value(self) -> float:
        """What the scorer prints last.

        Raises:
            ScorerFailed: it cannot be started, fails, or prints no number.
        """
        for file in self._open.values():
            file.close()
        program = os.path.abspath(self._program)
        words = interpreter.command(_RUN, program) if program.endswith(".py") else [program]
        try:
            with leaving.held():
                process = subprocess.Popen(
                    [*words, self._folder], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
                )
                leaving.undo(process.pid, process.kill)
        except OSError as e:
            raise ScorerFailed(f"the scorer {self._program} cannot be started: {e.strerror}") from None
        with process:
            printed = process.stdout.read()
        leaving.done(process.pid)
        if process.returncode:
            raise ScorerFailed(f"the scorer {self._program} ended with exit code {process.returncode}")
        return self._number(printed.decode("utf-8", "backslashreplace"))

    def _number(self, printed: str) -> float:
        last = (printed.split("\n") if not printed.endswith("\n") else printed[:-1].split("\n"))[-1].strip()
        try:
            value = float(last)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise ScorerFailed(
                f"the scorer {self._program} must print a number on its last line, but printed '{last[:80]}'"
            )
        return value

    def _write(self, name: str, array: np.ndarray) -> None:
        kind = array.shape, array.dtype
        if name not in self._open:
            self._kinds[name] = kind
            self._open[name] = file = open(os.path.join(self._folder, name), "wb")  # noqa: SIM115  closed by value
            header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, header | {"shape": (self._count, *array.shape)})
        if self._kinds[name] != kind:
            raise InvalidInput(
                f"{name}: {kind[0]} ({kind[1]}) of one sample, and {self._kinds[name]} of others"
            )
        self._open[name].write(np.ascontiguousarray(array).tobytes())
