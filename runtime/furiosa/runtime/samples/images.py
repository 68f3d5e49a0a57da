"""Images as samples, through Pillow, which only who has images needs."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from furiosa.enf.files import FileChanged, open_file, read
from furiosa.runtime.errors import FuriosaRuntimeError, InvalidInput
from furiosa.runtime.samples.preprocessing import MAX_PIXELS, Preprocessing

if TYPE_CHECKING:
    from types import ModuleType

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm")
LABEL_FILE = "labels.txt"  # in a folder of images: a line "name label" for each
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM")  # other decoders of Pillow are never called
_MAX_FILE = 1 << 28  # bytes
_MAX_LABELS = 1 << 26  # bytes


class PillowMissing(FuriosaRuntimeError):
    """Images are read by Pillow, which is not installed."""


def pillow() -> ModuleType:
    """The module PIL.Image.

    Raises:
        PillowMissing: it is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise PillowMissing(
            "images are read by Pillow, which is not installed: pip install 'furiosa-rules[images]'"
        ) from None
    return Image


def read_image(path: str, preprocessing: Preprocessing) -> np.ndarray:
    """The tensor of an image file.

    Raises:
        InvalidInput: no image of a known kind, a damaged or a too large one.
        PillowMissing: Pillow is not installed.
        OSError: the file cannot be read.
    """
    module = pillow()
    content = open_file(path)
    if len(content) > _MAX_FILE:
        raise InvalidInput(f"{path}: an image of {len(content)} bytes is too large")
    try:
        data = read(content)
    except FileChanged as e:
        raise InvalidInput(f"{path}: {e.strerror}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd in a file; what is too large is refused here
        try:
            image = module.open(io.BytesIO(data), formats=_FORMATS)
            is_large = image.width * image.height > MAX_PIXELS
            if not is_large:
                image.load()
        # decoders raise what they like: SyntaxError, struct.error, zlib.error and others
        except MemoryError:
            raise
        except Exception as e:
            raise InvalidInput(f"{path} is not a whole image ({', '.join(_FORMATS)}): {_line(e)}") from e
    if is_large:
        raise InvalidInput(f"{path}: {image.height}x{image.width} pixels are more than {MAX_PIXELS}")
    return preprocessing.apply(image, path)


def read_labels(folder: str, files: Sequence[str]) -> list[int] | None:
    """The labels of a folder's images out of its labels.txt; None where there is none.

    Args:
        files: paths of the images, in or below the folder.

    Raises:
        InvalidInput: another line than "name label", or an image without one.
        OSError: the file cannot be read.
    """
    path = os.path.join(folder, LABEL_FILE)
    if not os.path.exists(path):
        return None
    labels = _parse_labels(path)
    names = [os.path.relpath(f, folder) for f in files]
    for name in names:
        if name not in labels:
            raise InvalidInput(f"{path}: there is no line for {name}")
    return [labels[name] for name in names]


def _parse_labels(path: str) -> Mapping[str, int]:
    content = open_file(path)
    if len(content) > _MAX_LABELS:
        raise InvalidInput(f"{path}: {len(content)} bytes are too many for labels")
    labels: dict[str, int] = {}
    for number, line in enumerate(read(content).decode("utf-8", "surrogateescape").splitlines(), 1):
        if not line.strip():
            continue
        name, _, label = line.rstrip().rpartition(" ")
        if not name or not label.isdecimal() or len(label) > 18:
            raise InvalidInput(f"{path}, line {number}: a name and the number of a class are expected")
        if labels.setdefault(name.strip(), int(label)) != int(label):
            raise InvalidInput(f"{path}, line {number}: {name.strip()} has two labels")
    return labels


def _line(e: Exception) -> str:
    return " ".join(str(e).split())[:150] or type(e).__name__
