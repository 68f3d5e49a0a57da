"""Names of tensors and nodes in models that are written here."""

from __future__ import annotations


def unused(wanted: str, taken: set[str]) -> str:
    """The name, with a number behind it where it is taken; from then on it is."""
    name, n = wanted, 0
    while name in taken:
        n += 1
        name = f"{wanted}:{n}"
    taken.add(name)
    return name
