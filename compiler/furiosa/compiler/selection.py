"""What of a model file is compiled: sizes for the dimensions that it leaves open, and where it begins and ends."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from furiosa.compiler.errors import InvalidConfig

MAX_SIZE = 2**31 - 1  # of one dimension
MAX_RANK = 64  # of NumPy's arrays
_SHOWN = 12  # names in an error

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a user chooses of a model file; nothing stands for the file as it is.

    ``input_shapes``: whole shapes by the names of inputs.  ``dims``: sizes by the names that the file gives to open dimensions.
    ``inputs`` and ``outputs``: names of tensors at which the model is cut, none for the file's own; a name that holds commas
    and is no tensor's stands for several.  ``signature``: the key of one of a TFLite model's signatures, empty for its only entry.
    """

    input_shapes: Mapping[str, Shape] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    signature: str = ""

    def __bool__(self) -> bool:
        return bool(self.input_shapes or self.dims or self.inputs or self.outputs or self.signature)


EVERYTHING = Selection()


def selection(
    input_shapes: Mapping[str, str | Sequence[int]] | None = None,
    dims: Mapping[str, str | int] | None = None,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
    signature: str = "",
) -> Selection:
    """The selection of an API: shapes are texts like "1x3x640x640" or sequences of whole numbers.

    Raises:
        InvalidConfig: a size that is none, or a value of another kind.
    """
    for what, value in (("inputs", inputs), ("outputs", outputs)):
        if isinstance(value, str) or not all(isinstance(n, str) and n for n in value):
            raise InvalidConfig(f"{what}: {value!r} is no list of tensor names")
    for what, value in (("input_shapes", input_shapes), ("dims", dims)):
        if value is not None and not (isinstance(value, Mapping) and all(isinstance(n, str) for n in value)):
            raise InvalidConfig(f"{what}: {value!r} is no dictionary of names")
    if not isinstance(signature, str):
        raise InvalidConfig(f"signature: {signature!r} is no name")
    return Selection(
        {n: _shape(n, s) for n, s in (input_shapes or {}).items()},
        {n: _size(f"dimension {n}", d) for n, d in (dims or {}).items()},
        tuple(inputs),
        tuple(outputs),
        signature,
    )


def _shape(name: str, value: str | Sequence[int]) -> Shape:
    sizes = value.split("x") if isinstance(value, str) else value
    if not isinstance(sizes, Sequence) or len(sizes) > MAX_RANK:
        raise InvalidConfig(f"the shape {value!r} of input {name!r} is not of the form 1x3x640x640")
    return tuple(_size(f"the shape {value!r} of input {name!r}", d) for d in sizes)


def _size(what: str, value: str | int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZE:
        raise InvalidConfig(f"{what}: {value!r} is no size from 1 to {MAX_SIZE}")
    return value


def written(shape: Iterable[int | str | None]) -> str:
    """A shape as ``--input-shape`` has it; "?" is an open dimension."""
    return "x".join(str(d) if isinstance(d, int) else "?" for d in shape)


def argument(option: str, text: str) -> str:
    """An option with its value as a shell takes it."""
    return f"{option} {shlex.quote(text)}" if set(text) - {"?"} - _PLAIN else f"{option} {text}"


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./-_")


def listed(names: Iterable[str]) -> str:
    """Names in an error, not too many."""
    every = [f"{n!r}" for n in names]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more


def unknown(option: str, name: str, what: str, known: Iterable[str]) -> InvalidConfig:
    """The error for a name that a model does not have, with those that are meant, perhaps."""
    import difflib

    known = list(known)
    close = difflib.get_close_matches(name, known, 5, 0.5) if len(name) < 1000 else []
    close += [n for n in known if n not in close and name and name in n][: 5 - len(close)]
    if close and len(known) > len(close):
        hint = f"did you mean {' or '.join(repr(n) for n in close)}?"
    else:
        hint = f"it has {listed(known)}" if known else "it has none"
    return InvalidConfig(f"{option}: the model has no {what} {name!r}; {hint}")


def names(option: str, texts: Iterable[str], known: Iterable[str], what: str = "tensor") -> tuple[str, ...]:
    """The tensors that are meant: a text is a name, or else several with commas between them.

    Raises:
        InvalidConfig: a name that is not among ``known``, or one that is given twice.
    """
    known = dict.fromkeys(known)
    found: dict[str, None] = {}
    for text in texts:
        for name in [text] if text in known else text.split(","):
            if name not in known:
                raise unknown(option, name, what, known)
            if name in found:
                raise InvalidConfig(f"{option}: the tensor {name!r} is named twice")
            found[name] = None
    return tuple(found)
