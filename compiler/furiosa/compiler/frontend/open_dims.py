"""Fixes the open dimensions of a model's inputs by what the user says, and asks for what is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from furiosa.compiler.errors import InvalidConfig, InvalidModel
from furiosa.compiler.frontend import formulas
from furiosa.compiler.selection import Selection, Shape, argument, listed, unknown, written

# a size, the name of an open dimension, or None for an open one without a name
Dim = int | str | None
Declared = Mapping[str, Sequence[Dim] | None]  # by the names of inputs; None: not even the rank is known
Hint = Callable[[str, Sequence[Dim]], Shape | None]  # a usable shape of an input, where the model has one

# names that exporters write where they know none: two such dimensions need not be equal
_NO_NAMES = frozenset({"", "?", "-1", "none", "dynamic", "unk", "unknown", "any"})
_BATCH = re.compile(r".*batch.*", re.IGNORECASE)
_MAX_LISTED = 8  # inputs in one error


def named(name: str) -> str | None:
    """The name of an open dimension; None for what stands for no name."""
    return None if name.lower() in _NO_NAMES else name


def fix(declared: Declared, chosen: Selection, hint: Hint = lambda name, dims: None) -> dict[str, Shape]:
    """The shape of every input.

    A dimension takes the size that is given for its input or for its name; dimensions of one name are equal, whatever input
    they are of, and one whose name is arithmetic on others' follows from those (``2*sequence``).  An open dimension 0, and any
    that has a name like "batch", is 1 where nothing is said.

    Raises:
        InvalidConfig: what is given contradicts the model or itself, or names what the model does not have.
        InvalidModel: a dimension is still open; the error says which options are missing.
    """
    filled = partly(declared, chosen)
    missing = {name: dims for name, dims in filled.items() if not is_static(dims)}
    if missing:
        raise InvalidModel(_question(missing, hint))
    return {name: tuple(dims) for name, dims in filled.items()}


def partly(
    declared: Declared, chosen: Selection, *, with_batch: bool = True
) -> dict[str, Sequence[Dim] | None]:
    """The same as far as it goes; without ``with_batch`` no dimension is 1 where nothing is said.

    Raises:
        InvalidConfig: as ``fix``.
    """
    known = _names(declared)
    sizes = _bind(declared, chosen)
    elsewhere = {
        d
        for dims in declared.values()
        for d in (dims or ())[1:]
        if isinstance(d, str) and not _BATCH.fullmatch(d)
    }

    def size(axis: int, dim: Dim) -> Dim:
        if isinstance(dim, int):
            return dim
        if dim in sizes:
            return sizes[dim]
        parts = formulas.parts(dim, known) if dim is not None else []
        if parts:
            of_parts = {n: plain(known[n], n) for n in parts}
            is_known = all(isinstance(s, int) for s in of_parts.values())
            found = formulas.size(dim, of_parts) if is_known else None
            return dim if found is None else found
        return plain(axis, dim)

    def plain(axis: int, dim: Dim) -> Dim:
        if dim in sizes:
            return sizes[dim]
        is_batch = dim not in elsewhere if axis == 0 else dim is not None and _BATCH.fullmatch(dim)
        return 1 if is_batch and with_batch else dim

    return {
        name: chosen.input_shapes.get(name) or (dims and [size(axis, d) for axis, d in enumerate(dims)])
        for name, dims in declared.items()
    }


def _names(declared: Declared) -> dict[str, int]:
    """The names of open dimensions, each with the place where it stands first."""
    found: dict[str, int] = {}
    for dims in declared.values():
        for axis, d in enumerate(dims or ()):
            if isinstance(d, str):
                found.setdefault(d, axis)
    return found


def is_static(dims: Sequence[Dim] | None) -> bool:
    """Whether no dimension is open."""
    return dims is not None and all(isinstance(d, int) for d in dims)


def defaults(declared: Declared) -> dict[str, Shape]:
    """The shapes of those inputs that need no word of the user's."""
    found = {}
    for name, dims in declared.items():
        try:
            found |= fix({name: dims}, Selection())
        except InvalidModel:
            continue
    return found


def _bind(declared: Declared, chosen: Selection) -> dict[str, int]:
    """The sizes of dimensions that have names."""
    known = _names(declared)
    for name in chosen.dims:
        if name not in known:
            raise unknown("--dim", name, "open dimension", known)
    sizes = dict(chosen.dims)
    origin = {name: f"--dim {name}={size}" for name, size in sizes.items()}
    for name, shape in chosen.input_shapes.items():
        if name not in declared:
            raise unknown("--input-shape", name, "input", declared)
        dims = declared[name]
        given = f"--input-shape {name}={written(shape)}"
        if dims is None:
            continue
        if len(dims) != len(shape):
            raise InvalidConfig(
                f"{given} has {len(shape)} dimensions; the input has {len(dims)}: {_described(dims)}"
            )
        for axis, (dim, size) in enumerate(zip(dims, shape)):
            if isinstance(dim, int):
                if dim != size:
                    hint = "; for a batch there is --batch-size" if axis == 0 else ""
                    raise InvalidConfig(
                        f"{given} contradicts the model, in which dimension {axis} is {dim}{hint}"
                    )
            elif dim is not None and sizes.setdefault(dim, size) != size:
                raise InvalidConfig(
                    f'{given} contradicts {origin[dim]}: both say what "{dim}" is, dimension {axis} of {_described(dims)}'
                )
            elif dim is not None:
                origin.setdefault(dim, given)
    for name, size in sizes.items():
        parts = formulas.parts(name, known)
        if parts and all(n in sizes for n in parts) and formulas.size(name, sizes) != size:
            others = " and ".join(dict.fromkeys(origin[n] for n in parts))
            raise InvalidConfig(f'{origin[name]} contradicts {others}: "{name}" is not {size} then')
    return sizes


def _described(dims: Sequence[Dim]) -> str:
    return f"[{', '.join('?' if d is None else str(d) for d in dims)}]"


def _question(missing: Mapping[str, Sequence[Dim] | None], hint: Hint) -> str:
    """What is open, and the options that say it, to be pasted."""
    hints = {name: hint(name, dims) if dims is not None else None for name, dims in missing.items()}
    is_known = all(hints.values())
    shapes = {name: written(hints[name] or dims or ["?"]) for name, dims in missing.items()}
    shapes = dict(list(shapes.items())[:_MAX_LISTED])
    options = [" ".join(argument("--input-shape", f"{n}={s}") for n, s in shapes.items())]
    bazel = [f"input_shapes = {json.dumps(shapes, ensure_ascii=False)}"]
    open_ = dict.fromkeys(d for dims in missing.values() for d in dims or () if not isinstance(d, int))
    for name in [n for n in open_ if n is not None and formulas.parts(n, open_)]:
        del open_[name]  # it follows from the others
    if open_ and None not in open_ and not is_known:
        options.append(" ".join(argument("--dim", f"{n}=?") for n in open_))
        bazel.append(f"dims = {json.dumps(dict.fromkeys(open_, '?'), ensure_ascii=False)}")
    numbers = "as the model's metadata has it" if is_known else "with a number in the place of each ?"
    return f"{_what(missing)}; add {' or '.join(options)}, {numbers} (Bazel and compile_config: {' or '.join(bazel)})"


def _what(missing: Mapping[str, Sequence[Dim] | None]) -> str:
    name, dims = next(iter(missing.items()))
    if dims is None:
        what = f'input "{name}" has a dynamic shape (not even a rank)'
    else:
        axes = [str(axis) for axis, d in enumerate(dims) if not isinstance(d, int)]
        which = (
            f"dimensions {', '.join(axes[:-1])} and {axes[-1]} are" if axes[1:] else f"dimension {axes[0]} is"
        )
        what = f'input "{name}" has the dynamic shape {_described(dims)}: {which} open'
    others = list(missing)[1:]
    return f"{what}, and so it is with {listed(others)}" if others else what
