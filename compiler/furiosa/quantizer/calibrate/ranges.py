"""What calibration gives: for each float tensor of a model the counts of its values; and the file that holds it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from furiosa.compiler.dfg.graph import Graph
from furiosa.compiler.errors import InvalidConfig, InvalidFormat, InvalidModel
from furiosa.compiler.selection import EVERYTHING, Selection, selection
from furiosa.quantizer.calibrate.histogram import BINS, Histogram
from furiosa.quantizer.graph.load import model_of
from furiosa.quantizer.samples import Sample

if TYPE_CHECKING:
    from furiosa.quantizer.calibrate.float_run import FloatRun

FORMAT, VERSION = "furiosa-calibration", 1
MAX_TENSORS = 1 << 18
MAX_BYTES = 1 << 30  # of the file
_EXPONENTS = range(-400, 200)
_LARGEST_INDEX = 1 << 40


@dataclass(slots=True)
class Calibration:
    """Counts of every float tensor of a model.

    ``model`` is the digest of the clean model that made them, ``selection`` what of the file it is, ``samples`` how many it saw.
    """

    model: str
    samples: int
    tensors: dict[str, Histogram]
    selection: Selection = EVERYTHING

    def merge(self, other: Calibration) -> None:
        """Adds what other samples gave; in whatever order, the end is the same.

        Raises:
            InvalidConfig: it is of another model.
        """
        if other.model != self.model or other.tensors.keys() != self.tensors.keys():
            raise InvalidConfig("the calibrations are of different models, or of different shapes of one")
        self.samples += other.samples
        for name, histogram in other.tensors.items():
            self.tensors[name].merge(histogram)


def digest(graph: Graph) -> str:
    """What a calibration and a model must have in common: SHA-256 of the clean model, in hexadecimal."""
    return hashlib.sha256(model_of(graph)).hexdigest()


def calibrate(
    graph: Graph,
    samples: Iterable[Sample],
    *,
    count: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
    run: FloatRun | None = None,
) -> Calibration:
    """Runs the float model over samples; what it takes of memory does not grow with their number.

    Args:
        graph: a clean graph (graph.load).
        samples: one array for each input, of its shape and dtype.
        count: how many there are, for ``tell``.
        tell: hears how far it is.
        run: the graph in onnxruntime, where it is there already.

    Raises:
        InvalidConfig: there is no sample.
        InvalidModel: a sample makes NaN or infinite values, or onnxruntime fails.
    """
    from furiosa.quantizer.calibrate.float_run import FloatRun, observed

    model = digest(graph)
    run = run or FloatRun(graph)
    found = Calibration(model, 0, {t.name: Histogram() for t in observed(graph)}, graph.selection)
    started = time.monotonic()
    for sample in samples:
        found.samples += 1
        try:
            for tensor, values in run.run(sample.arrays):
                found.tensors[tensor.name].add(values)
        except InvalidModel as e:
            raise InvalidModel(f"{sample.name}: {e}") from None
        tell(_progress(found.samples, count, time.monotonic() - started))
    if not found.samples:
        raise InvalidConfig("there is no sample to calibrate with: give at least one, better 100 or more")
    return found


def _progress(done: int, count: int | None, seconds: float) -> str:
    if count is None:
        return f"sample {done}"
    left = seconds / done * (count - done)
    return f"sample {done} of {count}, about {left:.0f} s left"


# -- the file ---------------------------------------------------------------------------------------------------------------


def to_json(calibration: Calibration) -> bytes:
    """One tensor a line: the ends, and the bins as pairs of a step from the bin before and a count."""
    chosen = calibration.selection
    head = {
        "format": FORMAT,
        "version": VERSION,
        "model": calibration.model,
        "input_shapes": {n: list(shape) for n, shape in sorted(chosen.input_shapes.items())},
        "inputs": list(chosen.inputs),
        "outputs": list(chosen.outputs),
        "samples": calibration.samples,
    }
    lines = [json.dumps(head)[:-1] + ', "tensors": {']
    rows = []
    for name, h in sorted(calibration.tensors.items()):
        steps = np.diff(h.index, prepend=0)
        bins = np.stack([steps, h.counts], axis=1).reshape(-1).tolist()
        row = {"min": h.low, "max": h.high, "zeros": h.zeros, "exponent": h.exponent, "bins": bins}
        rows.append(f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}")
    lines.append(",\n".join(rows))
    return "\n".join([*lines, "}}\n"]).encode("ascii")


def from_json(data: bytes, name: str) -> Calibration:
    """Reads what ``to_json`` writes, from anybody.

    Args:
        data: the bytes.
        name: what to call the file.

    Raises:
        InvalidFormat: it is none, or damaged.
    """
    try:
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise InvalidFormat(f"{name}: not a calibration file (its format is {content['format']!r})")
        if content["version"] != VERSION:
            raise InvalidFormat(
                f"{name}: version {content['version']!r} of calibration files is not known here: calibrate again"
            )
        rows = content["tensors"]
        if len(rows) > MAX_TENSORS or not isinstance(content["model"], str):
            raise ValueError("tensors")
        tensors = {tensor: _histogram(row) for tensor, row in rows.items()}
        chosen = selection(content["input_shapes"], None, content["inputs"], content["outputs"])
        return Calibration(content["model"], int(content["samples"]), tensors, chosen)
    except InvalidFormat:
        raise
    except (
        InvalidConfig,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as e:
        raise InvalidFormat(
            f"{name}: not a calibration file, or a damaged one ({type(e).__name__}): make it by furiosa calibrate"
        ) from None


def _histogram(row: Mapping[str, Any]) -> Histogram:
    h = Histogram()
    bins = np.asarray(row["bins"], np.int64).reshape(-1, 2)
    h.low, h.high, h.exponent = float(row["min"]), float(row["max"]), int(row["exponent"])
    h.zeros = int(row["zeros"])
    h.index, h.counts = np.cumsum(bins[:, 0]), np.ascontiguousarray(bins[:, 1])
    is_sound = (
        len(bins) <= BINS
        and 0 <= h.zeros < 1 << 52
        and (h.zeros or len(bins))
        and math.isfinite(h.low)
        and math.isfinite(h.high)
        and h.low <= h.high
        and h.exponent in _EXPONENTS
        and bool(np.all(bins[1:, 0] > 0))
        and bool(np.all((h.counts > 0) & (h.counts < 1 << 52)))
        and bool(np.all(np.abs(h.index) < _LARGEST_INDEX))
    )
    if not is_sound:
        raise ValueError("bins")
    return h
