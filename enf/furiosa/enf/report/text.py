"""Numbers, sizes and strangers' names as text of a page."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from furiosa.enf.errors import visible

_LONGEST = 1000  # characters of a name in a page


def text(name: object) -> str:
    """A name out of a stranger's file as HTML, and nothing else: what cannot be printed is written as an escape."""
    return escape(visible(bounded(str(name))))


def bounded(name: str) -> str:
    """A name, or of one without measure both ends: a page names the same tensor many times."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"


def short(name: str, longest: int) -> str:
    """What tells a layer from others: of a name that a converter joined with ``;`` the last part, of a long one its end."""
    last = name.rpartition(";")[2] or name
    return last if len(last) <= longest else f"…{last[1 - longest :]}"


def data(content: Any) -> str:
    """JSON that may stand in a script element: ASCII, and no character that means something to HTML."""
    plain = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def microseconds(us: float) -> str:
    """A time in three or four digits: ``0.42 µs``, ``251.5 µs``, ``9.55 ms``, ``1.20 s``."""
    for unit, size in (("s", 1e6), ("ms", 1e4)):
        if us >= size:
            return f"{figure(us / (1e6 if unit == 's' else 1e3))} {unit}"
    return f"{figure(us)} µs"


def figure(value: float) -> str:
    """A number to read: two decimals below 10, one below 1,000, none above."""
    return f"{value:,.{2 if value < 10 else 1 if value < 1000 else 0}f}"


def nbytes(n: float) -> str:
    """A size in binary units: ``512 B``, ``14.2 MiB``."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= size:
            return f"{figure(n / size)} {unit}"
    return f"{n:,.0f} B"


def count(n: float) -> str:
    """A count in decimal units: ``4.09 G``."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if n >= size:
            return f"{figure(n / (1e3 if unit == 'k' else size))} {unit}"
    return f"{n:,.0f}"


def percent(share: float) -> str:
    """A share, 0 to 1, as ``18 %``; below 10 % with a decimal, and what is not 100 % or 0 % never as that."""
    value = 100 * share
    digits = 1 if value < 10 else 0
    shown = round(value, digits)
    if share < 1 and shown >= 100:
        return "> 99 %"
    if share > 0 and shown == 0:
        return "< 0.1 %"
    return f"{shown:.{digits}f} %" if value else "0 %"
