"""Samples out of files: how many there are is known at once, and each is read when its turn comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from furiosa.runtime.errors import InvalidInput
from furiosa.runtime.samples import archives, images
from furiosa.runtime.samples.archives import Archive
from furiosa.runtime.samples.preprocessing import Preprocessing
from furiosa.runtime.samples.stored import Stored
from furiosa.runtime.tensor import TensorDesc

LABELS = "labels"  # the name of the array that holds what is right, one element for each sample
MAX_SAMPLES = 1 << 24
_ARRAYS = (".npy", ".npz")


class Sample(NamedTuple):
    """``arrays`` fit the model's inputs, in their order; ``label`` is what is right for it, or None; ``name`` says where it is from.

    ``number`` counts from 0 over all samples.
    """

    number: int
    name: str
    arrays: list[np.ndarray]
    label: np.ndarray | None


class _Group(Protocol):
    """Samples that are opened together."""

    name: str
    count: int
    has_labels: bool

    def name_of(self, number: int) -> str:
        """Where a sample is from, for sentences."""

    def read(self, numbers: range) -> Iterator[Sample]:
        """These of the samples, in this order, numbered from 0."""


class Samples:
    """Samples of files, in an order that the files' names alone decide.

    ``count`` is known without reading them; memory holds one at a time.
    """

    def __init__(self, groups: Sequence[_Group], labels: _Labels | None, is_finite: bool):
        self._groups, self._labels, self._is_finite = groups, labels, is_finite
        self.count = sum(g.count for g in groups)
        self.has_labels = labels is not None or all(g.has_labels for g in groups)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        return self.read()

    def names(self) -> Iterator[str]:
        """Where each sample is from."""
        for group in self._groups:
            yield from map(group.name_of, range(group.count))

    def read(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Sample]:
        """Every ``step``-th of some of the samples, one at a time; may be called again.

        Raises (while it iterates, too):
            InvalidInput: a damaged or changed file, NaN or infinity where that was excluded.
            PillowMissing: images, and Pillow is not installed.
            OSError: a file cannot be read.
        """
        wanted = range(self.count)[start:stop:step]
        with ExitStack() as stack:
            label = stack.enter_context(self._labels.open()) if self._labels else None
            first = 0
            for group in self._groups:
                for sample in group.read(_within(wanted, first, group.count)):
                    number = first + sample.number
                    if self._is_finite:
                        _check_finite(sample)
                    right = label(number) if label else sample.label
                    yield sample._replace(number=number, label=right)
                first += group.count


def open_samples(
    paths: Sequence[str],
    inputs: Sequence[TensorDesc],
    *,
    preprocessing: Preprocessing | None = None,
    is_finite: bool = False,
    with_labels: bool = False,
) -> Samples:
    """Samples for a model; looks into every file's header, so that what does not fit is told at once.

    Args:
        paths: .npz and .npy files and folders of them, or images and folders of images where ``preprocessing`` is given.  A folder stands for
            the files in and below it, by their names in the order of code points.  A .npz file has an array for each input, by its name or, as
            ``numpy.savez`` calls arrays without names, ``arr_0``, ``arr_1``, … in the order of the inputs; a .npy file is for a model of one
            input, or ``NAME=FILE.npy`` one of several that belong together.  ``labels=FILE.npy`` gives the labels of all samples.
        inputs: of one sample, of static shape.  An array of an input of shape [1, …] is one sample if it has this shape or […], and N if it has [N, …];
            for another first dimension, one with the shape itself and N with [N, *shape].  Element types are the input's, or such that it holds
            every value of exactly.
        is_finite: whether NaN and infinity are refused.
        with_labels: whether samples without labels are refused.

    Raises:
        InvalidInput: no samples, or a file that does not fit: another shape or element type, a missing input, inputs of different
            numbers of samples, damage.
        PillowMissing: images, and Pillow is not installed.
        OSError: a file cannot be read.
    """
    if not paths:
        raise InvalidInput("no samples are given: name .npz or .npy files, or folders of them")
    plain, together = _named(paths)
    label_file = None if any(d.name == LABELS for d in inputs) else together.pop(LABELS, None)
    groups: list[_Group] = []
    if together:
        _refuse_strangers(together, inputs)
        groups.append(_ArrayGroup(" and ".join(together.values()), partial(archives.npys, together), inputs))
    for path in plain:
        groups += _groups(path, inputs, preprocessing)
    count = sum(g.count for g in groups)
    if not 0 < count <= MAX_SAMPLES:
        words = "there is no sample in" if not count else f"{count} samples, more than {MAX_SAMPLES}, are in"
        raise InvalidInput(f"{words} {', '.join(paths)[:200]}")
    samples = Samples(groups, _Labels(label_file, count) if label_file else None, is_finite)
    if with_labels and not samples.has_labels:
        without = next(g.name for g in groups if not g.has_labels)
        raise InvalidInput(
            f"{without}: there are no labels; a .npz file has them in an array '{LABELS}', a folder of images in "
            f"{images.LABEL_FILE}, and {LABELS}=FILE.npy gives those of all samples"
        )
    return samples


def _named(paths: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The files without a name, and those that are given as NAME=FILE."""
    plain, named = [], {}
    for text in paths:
        name, separator, path = text.partition("=")
        if not separator or os.path.exists(text):
            plain.append(text)
        elif name in named:
            raise InvalidInput(f"{text}: '{name}' is given twice")
        else:
            named[name] = path
    return plain, named


def _groups(path: str, inputs: Sequence[TensorDesc], preprocessing: Preprocessing | None) -> list[_Group]:
    if preprocessing is not None:
        return [_ImageGroup(path, inputs, preprocessing)]
    if not os.path.isdir(path):
        if path.endswith(_ARRAYS):
            return [_array_group(path, inputs)]
        if path.lower().endswith(images.SUFFIXES):
            raise InvalidInput(f"{path} is an image: say by a preprocessing how it becomes a tensor")
        raise InvalidInput(f"{path}: samples are .npy or .npz files, or folders of them")
    found = _files(path, _ARRAYS)
    if not found:
        hint = "; images need a preprocessing" if _files(path, images.SUFFIXES) else ""
        raise InvalidInput(f"{path}: there is no .npy or .npz file in this folder{hint}")
    return [_array_group(f, inputs) for f in found]


def _files(folder: str, suffixes: tuple[str, ...]) -> list[str]:
    """The files of these suffixes in and below a folder; links to other folders are not followed."""
    found = []
    for parent, _, names in os.walk(folder, onerror=_fail):
        relative = os.path.relpath(parent, folder)
        found += [os.path.join(relative, n) for n in names if n.lower().endswith(suffixes)]
    return [os.path.normpath(os.path.join(folder, name)) for name in sorted(map(os.path.normpath, found))]


def _fail(e: OSError) -> None:
    raise e


def _array_group(path: str, inputs: Sequence[TensorDesc]) -> _ArrayGroup:
    if path.endswith(".npz"):
        return _ArrayGroup(path, partial(archives.npz, path), inputs)
    if len(inputs) != 1:
        raise InvalidInput(
            f"{path}: the model has {len(inputs)} inputs, give them together as a .npz file or as NAME=FILE.npy each"
        )
    return _ArrayGroup(path, partial(archives.npys, {inputs[0].name: path}), inputs)


class _ArrayGroup:
    """The samples of one archive: element k of each array belongs to sample k."""

    def __init__(
        self, name: str, make: Callable[[], AbstractContextManager[Archive]], inputs: Sequence[TensorDesc]
    ):
        self.name, self._make, self._inputs = name, make, inputs
        with make() as archive:
            arrays, labels = self._open(archive)
            self.count = _count(arrays[0], inputs[0]) if inputs else 0
            self.has_labels = labels is not None

    def read(self, numbers: range) -> Iterator[Sample]:
        if not numbers:
            return
        with self._make() as archive:
            arrays, labels = self._open(archive)
            if _count(arrays[0], self._inputs[0]) != self.count:
                raise InvalidInput(
                    f"{self.name}: it was changed while it was read; replace files by renaming"
                )
            for k in numbers:
                values = [
                    _converted(a.part(k, d.shape), d) for a, d in zip(arrays, self._inputs, strict=True)
                ]
                yield Sample(k, self.name_of(k), values, labels.part(k, labels.shape[1:]) if labels else None)

    def name_of(self, number: int) -> str:
        return f"{self.name}, sample {number}" if self.count > 1 else self.name

    def _open(self, archive: Archive) -> tuple[list[Stored], Stored | None]:
        """The array of each input, and that of the labels.

        Raises:
            InvalidInput: a missing one, one that does not fit, or different numbers of samples.
        """
        arrays = []
        for i, desc in enumerate(self._inputs):
            name = desc.name if desc.name in archive.names else f"arr_{i}"
            if name not in archive.names:
                names = ", ".join(map(repr, archive.names[:20]))
                raise InvalidInput(
                    f"{self.name}: input '{desc.name}' is missing; the file has {names or 'nothing'}"
                )
            stored = archive.open(name)
            if _count(stored, desc) != _count(
                arrays[0] if arrays else stored, self._inputs[0] if arrays else desc
            ):
                raise InvalidInput(
                    f"{stored.what}: {_count(stored, desc)} samples, but {_count(arrays[0], self._inputs[0])} of "
                    f"input '{self._inputs[0].name}'"
                )
            arrays.append(stored)
        if LABELS not in archive.names or any(d.name == LABELS for d in self._inputs) or not arrays:
            return arrays, None
        labels = archive.open(LABELS)
        _check_labels(labels, _count(arrays[0], self._inputs[0]))
        return arrays, labels


class _ImageGroup:
    """Images, each a sample."""

    def __init__(self, path: str, inputs: Sequence[TensorDesc], preprocessing: Preprocessing):
        images.pillow()
        if len(inputs) != 1:
            raise InvalidInput(f"{path}: images are for models of one input, and this one has {len(inputs)}")
        self.name, self._desc, self._preprocessing = path, inputs[0], preprocessing
        if os.path.isdir(path):
            self._files = _files(path, images.SUFFIXES)
            self._labels = images.read_labels(path, self._files)
        elif path.lower().endswith(images.SUFFIXES):
            self._files, self._labels = [path], None
        else:
            raise InvalidInput(
                f"{path}: with a preprocessing, samples are images ({', '.join(images.SUFFIXES)})"
            )
        if not self._files:
            raise InvalidInput(f"{path}: there is no image in this folder ({', '.join(images.SUFFIXES)})")
        self.count, self.has_labels = len(self._files), self._labels is not None

    def name_of(self, number: int) -> str:
        return self._files[number]

    def read(self, numbers: range) -> Iterator[Sample]:
        for k in numbers:
            path = self._files[k]
            array = images.read_image(path, self._preprocessing)
            desc = self._desc
            if array.shape != desc.shape:
                raise InvalidInput(
                    f"{path}: the preprocessing makes {array.shape}, but input '{desc.name}' is {desc.shape}; "
                    "declare 'size', 'crop', 'layout' and 'colour' that fit"
                )
            _check_type(array.dtype, desc, path)
            label = np.asarray(self._labels[k]) if self._labels else None
            yield Sample(k, path, [_converted(array, desc)], label)


class _Labels:
    """A .npy file with the labels of all samples."""

    def __init__(self, path: str, count: int):
        self._path, self._count = path, count
        with self.open():
            pass

    def open(self) -> AbstractContextManager[Callable[[int], np.ndarray]]:
        """Gives what reads the label of a sample; raises InvalidInput and OSError."""
        return _opened_labels(self._path, self._count)


@contextmanager
def _opened_labels(path: str, count: int) -> Iterator[Callable[[int], np.ndarray]]:
    with archives.npys({LABELS: path}) as archive:
        stored = archive.open(LABELS)
        _check_labels(stored, count)
        yield lambda k: stored.part(k, stored.shape[1:])


def _check_labels(labels: Stored, count: int) -> None:
    if not labels.shape or labels.shape[0] != count:
        raise InvalidInput(
            f"{labels.what}: labels of shape {labels.shape} for {count} samples; the first dimension must be {count}"
        )


def _count(stored: Stored, desc: TensorDesc) -> int:
    """How many samples of an input an array holds.

    Raises:
        InvalidInput: it holds none: another shape, or another element type.
    """
    shape, single = stored.shape, desc.shape
    _check_type(stored.dtype, desc, stored.what, shape)
    if shape == single:
        return 1
    if single[:1] == (1,) and shape == single[1:]:
        return 1
    if single[:1] == (1,) and shape[1:] == single[1:] and len(shape) == len(single):
        return shape[0]
    if len(shape) == len(single) + 1 and shape[1:] == single:
        return shape[0]
    several = ", ".join(map(str, single[1:] if single[:1] == (1,) else single))
    raise InvalidInput(
        f"{stored.what}: expected {single} ({desc.numpy_dtype}) but got {shape} ({stored.dtype}); "
        f"N samples of input '{desc.name}' are (N, {several})"
    )


def _check_type(dtype: np.dtype, desc: TensorDesc, what: str, shape: tuple[int, ...] | None = None) -> None:
    if not np.can_cast(dtype, desc.numpy_dtype, "safe"):
        raise InvalidInput(
            f"{what}: expected {desc.shape} ({desc.numpy_dtype}) but got {shape or desc.shape} ({dtype}), "
            f"which may hold what {desc.numpy_dtype} does not; convert input '{desc.name}' with astype"
        )


def _converted(array: np.ndarray, desc: TensorDesc) -> np.ndarray:
    return array.reshape(desc.shape).astype(desc.numpy_dtype, copy=False)


def _check_finite(sample: Sample) -> None:
    for i, array in enumerate(sample.arrays):
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            bad = int(array.size - np.count_nonzero(np.isfinite(array)))
            raise InvalidInput(
                f"{sample.name}: {bad} of {array.size} elements of input {i} are NaN or infinite"
            )


def _refuse_strangers(together: dict[str, str], inputs: Sequence[TensorDesc]) -> None:
    names = [d.name for d in inputs]
    for name, path in together.items():
        if name not in names:
            raise InvalidInput(
                f"{name}={path}: the model has no input '{name}'; it has {', '.join(map(repr, names[:20]))}"
            )
        if not path.endswith(".npy"):
            raise InvalidInput(f"{name}={path}: a .npy file is expected")


def _within(wanted: range, first: int, count: int) -> range:
    """Of the wanted numbers those from ``first`` to ``first + count``, counted from ``first``."""
    skipped = max(0, -((wanted.start - first) // wanted.step))
    start = wanted.start + skipped * wanted.step
    return range(start - first, min(wanted.stop - first, count), wanted.step)
