"""What becomes of an image before a model sees it, as it is declared in JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

from furiosa.enf.files import open_file, read
from furiosa.runtime.errors import InvalidInput

if TYPE_CHECKING:
    from PIL.Image import Image

LAYOUTS = ("NCHW", "NHWC")
COLOURS = ("RGB", "BGR", "GRAY")
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
DTYPES = ("float32", "float16", "uint8", "int8")
MAX_PIXELS = 1 << 26  # of one image, before and after its size is changed
_MAX_JSON = 1 << 20  # bytes


@dataclass(frozen=True)
class Preprocessing:
    """From an image to a tensor [1, C, H, W] or [1, H, W, C]; what is not declared does not happen.

    In this order: colours are converted; ``size`` changes the size, a number that of the shorter side, a pair height and width;
    ``crop`` cuts height and width out of the middle; each value, 0 to 255, is divided by ``divisor``, ``mean`` taken off and divided by ``std`` in
    float32, a number for all channels or one for each, in the order of ``colour``; ``dtype`` rounds to even and saturates if it is
    an integer.  Sizes are in pixels.  An orientation that a camera noted in the file is not applied.
    """

    size: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    filter: str = "bilinear"
    layout: str = "NCHW"
    colour: str = "RGB"
    divisor: float = 1.0
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    dtype: str = "float32"

    @classmethod
    def read(cls, declared: str) -> Self:
        """Out of a JSON file, or out of JSON itself where ``declared`` begins with "{".

        Raises:
            InvalidInput: no object, an unknown key or a value that cannot be.
            OSError: the file cannot be read.
        """
        what, text = "the preprocessing", declared.encode()
        if not declared.lstrip().startswith("{"):
            what, content = declared, open_file(declared)
            if len(content) > _MAX_JSON:
                raise InvalidInput(f"{what}: {len(content)} bytes are too many for a preprocessing")
            text = read(content)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise InvalidInput(f"{what} is not JSON: {e}") from None
        if not isinstance(found, dict):
            raise InvalidInput(f'{what}: a JSON object is expected, like {{"size": 256, "crop": 224}}')
        known = [f.name for f in fields(cls)]
        for key in found:
            if key not in known:
                raise InvalidInput(f"{what}: {key!r} is no key of a preprocessing; known: {', '.join(known)}")
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items()})
        except InvalidInput as e:
            raise InvalidInput(f"{what}: {e.message}") from None

    def __post_init__(self) -> None:
        for name in ("size", "crop"):
            value = getattr(self, name)
            if value is not None and not _is_size(value):
                raise InvalidInput(
                    f"'{name}' is {value!r}, but must be a number of pixels or [height, width], "
                    f"of at most {MAX_PIXELS} pixels in all"
                )
        choices = {"layout": LAYOUTS, "colour": COLOURS, "filter": FILTERS, "dtype": DTYPES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InvalidInput(
                    f"'{name}' is {getattr(self, name)!r}, but must be one of {', '.join(known)}"
                )
        for name in ("mean", "std", "divisor"):
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) and name != "divisor" else (value,)
            if not all(map(_is_number, numbers)) or len(numbers) not in (1, self.channels):
                raise InvalidInput(
                    f"'{name}' is {value!r}, but must be a number"
                    + (f" or {self.channels}" * (name != "divisor"))
                )
            if name != "mean" and not all(abs(np.float32(v)) > 0 for v in numbers):
                raise InvalidInput(f"'{name}' is {value!r}, but nothing can be divided by 0")

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 1 if self.colour == "GRAY" else 3

    def apply(self, image: Image, what: str) -> np.ndarray:
        """The tensor of an image, of shape [1, C, H, W] or [1, H, W, C]; ``what`` names the image in sentences.

        Raises:
            InvalidInput: its pixels are no colours or grey of 8 bits, or it is smaller than what is cut out.
        """
        from PIL import Image as pillow

        if image.mode.startswith(("I", "F")):
            raise InvalidInput(f"{what}: an image of 8 bits a channel is expected, not of mode {image.mode}")
        image = image.convert("L" if self.colour == "GRAY" else "RGB")
        if self.size is not None:
            width, height = self._resized(*image.size)
            if width * height > MAX_PIXELS:
                raise InvalidInput(f"{what}: {height}x{width} pixels are more than {MAX_PIXELS}")
            image = image.resize((width, height), getattr(pillow.Resampling, self.filter.upper()))
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
        if self.crop is not None:
            pixels = _cropped(pixels, *_pair(self.crop), what)
        return self._normalised(pixels[..., ::-1] if self.colour == "BGR" else pixels)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that an image gets."""
        if isinstance(self.size, tuple):
            return self.size[1], self.size[0]
        shorter = min(width, height)
        # whole numbers, so that no processor rounds otherwise
        return tuple(
            self.size if side == shorter else side * self.size // shorter for side in (width, height)
        )

    def _normalised(self, pixels: np.ndarray) -> np.ndarray:
        real = pixels.astype(np.float32) / np.float32(self.divisor)
        real = (real - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        dtype = np.dtype(self.dtype)
        if dtype.kind != "f":
            limits = np.iinfo(dtype)
            real = np.clip(np.rint(real), limits.min, limits.max)
        result = real.astype(dtype)[None]
        return np.ascontiguousarray(result.transpose(0, 3, 1, 2) if self.layout == "NCHW" else result)


def _cropped(pixels: np.ndarray, height: int, width: int, what: str) -> np.ndarray:
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise InvalidInput(
            f"{what}: {height}x{width} pixels cannot be cut out of {pixels.shape[0]}x{pixels.shape[1]}; "
            "declare a larger 'size'"
        )
    return pixels[top : top + height, left : left + width]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _is_size(value: object) -> bool:
    if isinstance(value, tuple) and len(value) != 2:
        return False
    sides = value if isinstance(value, tuple) else (value, value)
    return all(type(v) is int and v > 0 for v in sides) and math.prod(sides) <= MAX_PIXELS
