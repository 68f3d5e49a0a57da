"""One inference from files to files: what ``furiosa run`` and ``furiosa bundle run`` do."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping

import numpy as np

from furiosa.enf.outputs import replacing
from furiosa.enf.progress import Activity, now
from furiosa.runtime import session
from furiosa.runtime.bundle.reader import Bundle
from furiosa.runtime.errors import InvalidInput
from furiosa.runtime.model import find
from furiosa.runtime.samples import open_samples
from furiosa.runtime.samples.stored import read_npy
from furiosa.runtime.source import Source
from furiosa.runtime.tensor import TensorArray, rand

_SAFE_KEY = re.compile(r"[\w:.-]+(/[\w:.-]+)*", re.ASCII)


def model_of_bundle(bundle: str, name: str | None) -> str:
    """``bundle#name``; the name may be None where the bundle has only one model.

    Raises:
        BundleError: the bundle cannot be used.
        InvalidInput: it has several models and none is named.
        OSError: it cannot be opened.
    """
    if name is None:
        names = Bundle.open(bundle).names
        if len(names) != 1:
            raise InvalidInput(f"{bundle} has the models {', '.join(names)}: say which one by --model")
        name = names[0]
    return f"{bundle}#{name}"


def run(
    model: str | Source,
    inputs: list[str],
    seed: int | None,
    output: str | None,
    config: Mapping[str, object] | None = None,
    host_process: bool = False,
) -> None:
    """Runs a model once and prints a line for each output.

    Args:
        model: what ``session.create`` takes.
        inputs: .npy files in the model's order, or as ``name=file``; or one .npz file with all of them.
        seed: None, or random inputs of that seed.
        output: None, or a .npz file for the outputs, by their names.
        config, host_process: the compiler's options and where host clusters run, as ``session.create`` takes them.

    Raises:
        FuriosaRuntimeError: as ``session.create`` and ``Session.run``.
        InvalidInput: a file that is no array, a name that the model does not have or an input twice.
        OSError: a file cannot be read or written.
    """
    subject = model if isinstance(model, str) else model.name
    with (
        Activity(subject),
        session.create(model, compile_config=config or None, host_process=host_process) as sess,
    ):
        now("running")
        run_session(sess, inputs, seed, output)


def run_session(sess: session.Session, inputs: list[str], seed: int | None, output: str | None) -> None:
    """The same with a session; raises what ``Session.run`` raises, InvalidInput and OSError."""
    outputs = sess.run(input_arrays(sess, inputs, seed))
    for i, tensor in enumerate(outputs):
        print(f"{i} {tensor.desc.name!a} {tensor.shape} {tensor.numpy_dtype}: {_describe(tensor.view())}")
    if output is not None:
        _write_npz(output, outputs)


def input_arrays(sess: session.Session, inputs: list[str], seed: int | None) -> list[np.ndarray]:
    """The inputs of one inference; arguments and errors are those of ``run``."""
    if seed is None:
        return _read_inputs(sess, inputs)
    if seed < 0:
        raise InvalidInput(f"--random {seed}: a seed of 0 or more is expected")
    return [rand(desc, seed + i) for i, desc in enumerate(sess.inputs())]


def _read_inputs(sess: session.Session, inputs: list[str]) -> list[np.ndarray]:
    descs = sess.inputs()
    if len(inputs) == 1 and inputs[0].endswith(".npz"):
        samples = open_samples(inputs, descs)
        if samples.count != 1:
            raise InvalidInput(f"{inputs[0]}: there are {samples.count} samples, but one run takes one")
        return next(iter(samples)).arrays
    named = [text.partition("=") for text in inputs]
    if not all(separator for _, separator, _ in named):
        return [read_npy(path) for path in inputs]
    arrays = {find(descs, name).name: read_npy(path) for name, _, path in named}
    missing = [d.name for d in descs if d.name not in arrays]
    if missing or len(arrays) != len(named):
        raise InvalidInput(f"input '{missing[0]}' is missing" if missing else "an input is given twice")
    return [arrays[d.name] for d in descs]


def _describe(array: np.ndarray) -> str:
    if not array.size:
        return "empty"
    best = int(array.argmax())
    index = (
        best
        if max(array.shape, default=1) == array.size
        else tuple(map(int, np.unravel_index(best, array.shape)))
    )
    return f"min {array.min()}, max {array.max()} at {index}"


def _write_npz(path: str, outputs: TensorArray) -> None:
    """A .npz file with a fixed time in it; a name that makes no safe file name becomes ``output_<n>``."""
    with replacing(path) as f, zipfile.ZipFile(f, "w") as archive:
        used: set[str] = set()
        for i, tensor in enumerate(outputs):
            name = tensor.desc.name
            safe = _SAFE_KEY.fullmatch(name) and not {".", ".."} & set(name.split("/")) and name not in used
            key = name if safe else f"output_{i}"
            used.add(key)
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, tensor.view(), allow_pickle=False)
