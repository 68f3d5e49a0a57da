"""Open dimensions whose names are arithmetic on those of others, as exporters write them: ``2*sequence``, ``floor(height/2) + 1``."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from furiosa.compiler.selection import MAX_SIZE

if TYPE_CHECKING:
    from fractions import Fraction

_LONGEST = 100  # characters
# What arithmetic is written with.  Of anything else, such as quotes or "1or 2", Python's parser would warn on stderr.
_WRITTEN = re.compile(r"[\w\s+\-*/%(),]+")
_ODD_NUMBER = re.compile(r"\b\d\w*[A-Za-z_]")
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS = {
    "floor": math.floor,
    "ceil": math.ceil,
    "ceiling": math.ceil,
    "max": max,
    "min": min,
}


def parts(name: str, known: Collection[str]) -> list[str]:
    """The names on which a name is arithmetic, all of them ``known``; none where it is a name like any other."""
    tree = _tree(name)
    if tree is None or isinstance(tree, ast.Name) or not _is_arithmetic(tree):
        return []
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = dict.fromkeys(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions
    )
    return list(found) if all(n in known for n in found) else []


def size(name: str, sizes: Mapping[str, int]) -> int | None:
    """What the arithmetic of a name that has ``parts`` comes to; None where that is no size."""
    try:
        value = _value(_tree(name), sizes)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return int(value) if value == int(value) and 0 <= value <= MAX_SIZE else None


def _tree(name: str) -> ast.expr | None:
    if len(name) > _LONGEST or not _WRITTEN.fullmatch(name) or _ODD_NUMBER.search(name):
        return None
    try:
        return ast.parse(name, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_arithmetic(node: ast.expr) -> bool:
    match node:
        case ast.BinOp():
            return type(node.op) in _OPERATORS and _is_arithmetic(node.left) and _is_arithmetic(node.right)
        case ast.Call(func=ast.Name(id=function), keywords=[]):
            return function.lower() in _FUNCTIONS and bool(node.args) and all(map(_is_arithmetic, node.args))
        case ast.Constant(value=value):
            return type(value) is int
    return isinstance(node, ast.Name)


def _value(node: ast.expr, sizes: Mapping[str, int]) -> Fraction:
    from fractions import Fraction  # which takes milliseconds that few models need

    match node:
        case ast.BinOp():
            return Fraction(_OPERATORS[type(node.op)](_value(node.left, sizes), _value(node.right, sizes)))
        case ast.Call():
            return Fraction(_FUNCTIONS[node.func.id.lower()](*(_value(a, sizes) for a in node.args)))
        case ast.Constant():
            return Fraction(node.value)
    return Fraction(sizes[node.id])
